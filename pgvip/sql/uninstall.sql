-- Drop what setup.sql has made in this database, and nothing else: without CASCADE, so that what depends on it stops
-- this. Run by psql as a superuser, repeatable, on a read-write server.
SET client_min_messages = warning;
SET synchronous_commit = 'local';
SET lock_timeout = '10s';
BEGIN;
-- Earlier versions had a table.
SELECT format('DROP %s pgvip.heartbeat', CASE relkind WHEN 'r' THEN 'TABLE' ELSE 'SEQUENCE' END)
  FROM pg_class WHERE oid = to_regclass('pgvip.heartbeat') \gexec
DROP TABLE IF EXISTS pgvip.drill;
SELECT 'DROP FUNCTION pgvip.checkpoint()' WHERE to_regprocedure('pgvip.checkpoint()') IS NOT NULL \gexec
DROP SCHEMA IF EXISTS pgvip;
COMMIT;
