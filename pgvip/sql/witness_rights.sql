-- What the role of a witness may do beside calling its functions: nothing, or a sentence for each.
WITH me AS (SELECT * FROM pg_roles WHERE rolname = session_user),
tables AS (
    SELECT c.oid, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname = 'pgvip_witness' AND c.relkind IN ('r', 'p'))
SELECT 'is a superuser' FROM me WHERE rolsuper
UNION ALL SELECT 'may create roles' FROM me WHERE rolcreaterole
UNION ALL SELECT 'may create databases' FROM me WHERE rolcreatedb
UNION ALL SELECT 'may replicate' FROM me WHERE rolreplication
UNION ALL SELECT 'bypasses row security' FROM me WHERE rolbypassrls
UNION ALL SELECT 'is a member of ' || m.roleid::regrole FROM pg_auth_members AS m JOIN me ON me.oid = m.member
UNION ALL SELECT 'may create schemas in the database'
           WHERE has_database_privilege(session_user, current_database(), 'CREATE')
UNION ALL SELECT 'may create temporary tables' WHERE has_database_privilege(session_user, current_database(), 'TEMP')
UNION ALL SELECT 'may create in schema ' || nspname FROM pg_namespace
           WHERE nspname !~ '^pg_(temp|toast)' AND has_schema_privilege(session_user, oid, 'CREATE')
UNION ALL SELECT 'may ' || lower(p.what) || ' table ' || t.relname
            FROM tables AS t, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,TRIGGER}'::text[]) AS p(what)
           WHERE has_table_privilege(session_user, t.oid, p.what)
