-- What others have made in the schema pgvip, or given to pgvip's roles, one a line: it would be lost with them. Run by
-- psql as a superuser; it changes nothing.
WITH ours (classid, objid) AS (
    VALUES ('pg_namespace'::regclass::oid, to_regnamespace('pgvip')::oid),
           ('pg_class'::regclass::oid, to_regclass('pgvip.heartbeat')::oid),
           ('pg_class'::regclass::oid, to_regclass('pgvip.drill')::oid),
           ('pg_proc'::regclass::oid, to_regprocedure('pgvip.checkpoint()')::oid)
), roles AS (
    SELECT oid, rolname FROM pg_roles WHERE rolname IN ('pgvip', 'pgvip_replication', 'pgvip_owner')
)
SELECT format('%s in schema pgvip', pg_describe_object(classid, objid, objsubid))
  FROM pg_depend AS d
 WHERE refclassid = 'pg_namespace'::regclass AND refobjid = to_regnamespace('pgvip') AND deptype = 'n'
   AND NOT EXISTS (SELECT FROM ours WHERE ours.classid = d.classid AND ours.objid = d.objid)
UNION
SELECT format('%s, which depends on one of pgvip''s', pg_describe_object(d.classid, d.objid, d.objsubid))
  FROM pg_depend AS d JOIN ours ON d.refclassid = ours.classid AND d.refobjid = ours.objid
 WHERE d.deptype = 'n' AND ours.classid <> 'pg_namespace'::regclass
   AND NOT EXISTS (SELECT FROM ours AS o WHERE o.classid = d.classid AND o.objid = d.objid)
UNION
SELECT format('%s of role %s', CASE WHEN s.dbid IN (0, this.oid) THEN pg_describe_object(s.classid, s.objid, s.objsubid)
                                    ELSE format('an object in database %s', that.datname) END, roles.rolname)
  FROM pg_shdepend AS s JOIN roles ON s.refclassid = 'pg_authid'::regclass AND s.refobjid = roles.oid
       JOIN pg_database AS this ON this.datname = current_database()
       LEFT JOIN pg_database AS that ON that.oid = s.dbid
 WHERE s.deptype = 'o'
   AND NOT EXISTS (SELECT FROM ours WHERE s.dbid = this.oid AND ours.classid = s.classid AND ours.objid = s.objid)
 ORDER BY 1;
