-- Bytes of all databases, for the space that a clone needs.
SELECT sum(pg_database_size(oid))::float8 FROM pg_database
