-- Roles, schema and heartbeat row. Run by psql as a superuser, repeatable, on a read-write server.
-- psql variables: verifier, replication_verifier: SCRAM verifiers of the two passwords (never the passwords); empty for
-- a role that has no password.
SET client_min_messages = warning;
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';
SET synchronous_commit = 'local';

SELECT 'CREATE ROLE pgvip' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgvip') \gexec
SELECT 'CREATE ROLE pgvip_replication' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgvip_replication') \gexec
SELECT 'CREATE ROLE pgvip_owner' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgvip_owner') \gexec

-- REPLICATION: for the functions on slots, and pg_rewind's and pg_basebackup's own needs.
ALTER ROLE pgvip LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'verifier';
ALTER ROLE pgvip_replication LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'replication_verifier';
ALTER ROLE pgvip_owner NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
GRANT pg_monitor TO pgvip;
-- What a session cannot set for itself without a superuser's right: no default of a file or a database may keep pgvip
-- out, end its queries, or write each of them to the log.
-- pgoutput: every server has this small library, which does nothing when it is loaded. An empty list in its place is
-- what pg_dumpall, and so pg_upgrade, writes in a form that no server takes.
ALTER ROLE pgvip SET session_preload_libraries = 'pgoutput';
ALTER ROLE pgvip_replication SET session_preload_libraries = 'pgoutput';
ALTER ROLE pgvip SET log_statement = 'none';
ALTER ROLE pgvip SET log_duration = off;
ALTER ROLE pgvip SET log_min_duration_statement = -1;
-- From version 17 on an event trigger may run on login, and refuse it.
SELECT 'ALTER ROLE pgvip SET ' || setting
  FROM (VALUES ('transaction_timeout = 0'), ('event_triggers = off')) AS t (setting)
 WHERE current_setting('server_version_num')::int >= 170000 \gexec
SELECT 'GRANT pg_checkpoint TO pgvip' WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_checkpoint') \gexec
-- From version 16 on a few connections can be kept for us when clients have taken all others.
SELECT 'GRANT pg_use_reserved_connections TO pgvip'
 WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_use_reserved_connections') \gexec

-- Earlier versions had a table.
SELECT 'DROP TABLE pgvip.heartbeat' FROM pg_class WHERE oid = to_regclass('pgvip.heartbeat') AND relkind = 'r' \gexec
CREATE SCHEMA IF NOT EXISTS pgvip AUTHORIZATION pgvip_owner;
GRANT USAGE ON SCHEMA pgvip TO pgvip;
-- A sequence, whose one row is written in place: a row of a table leaves a dead one with every beat, and where something
-- holds the horizon (a forgotten transaction, a slot), all of them are read by the next.
CREATE SEQUENCE IF NOT EXISTS pgvip.heartbeat;
ALTER SEQUENCE pgvip.heartbeat OWNER TO pgvip_owner;
GRANT SELECT, UPDATE ON SEQUENCE pgvip.heartbeat TO pgvip;

-- What `pgvip drill` writes, as a client does; a drill deletes its rows.
CREATE TABLE IF NOT EXISTS pgvip.drill (
    run text NOT NULL,
    n   bigint NOT NULL,
    at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, n)
);
ALTER TABLE pgvip.drill OWNER TO pgvip_owner;
GRANT SELECT, INSERT, DELETE ON pgvip.drill TO pgvip;

CREATE OR REPLACE FUNCTION pgvip.checkpoint() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog AS 'BEGIN CHECKPOINT; END';
REVOKE ALL ON FUNCTION pgvip.checkpoint() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgvip.checkpoint() TO pgvip;

-- Wrong lines in the configuration files: while there is one, PostgreSQL applies no change.
GRANT EXECUTE ON FUNCTION pg_catalog.pg_show_all_file_settings() TO pgvip;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO pgvip;
SELECT 'GRANT EXECUTE ON FUNCTION pg_catalog.pg_ident_file_mappings() TO pgvip'
 WHERE current_setting('server_version_num')::int >= 150000 \gexec
GRANT EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, integer) TO pgvip;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO pgvip;
-- What pg_rewind needs of its source (manual, pg_rewind, Notes).
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean) TO pgvip;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_file(text, boolean) TO pgvip;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text) TO pgvip;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO pgvip;
