-- Size of all databases, and of the WAL that a base backup takes along.
SELECT (SELECT sum(pg_database_size(oid)) FROM pg_database)::bigint,
       (SELECT sum(size) FROM pg_ls_waldir())::bigint
