-- Take from pgvip's roles the rights that they have in this database. They own nothing here: see uninstall_others.sql.
-- Run by psql as a superuser, repeatable, in each database where they have rights.
SET client_min_messages = warning;
SET synchronous_commit = 'local';
SET lock_timeout = '10s';
SELECT 'DROP OWNED BY ' || quote_ident(rolname) FROM pg_roles
 WHERE rolname IN ('pgvip', 'pgvip_replication', 'pgvip_owner')
   AND NOT EXISTS (SELECT FROM pg_shdepend JOIN pg_database ON pg_database.oid = dbid
                    WHERE refclassid = 'pg_authid'::regclass AND refobjid = pg_roles.oid AND deptype = 'o'
                      AND datname = current_database()) \gexec
