-- Prepared transactions: name, database.
SELECT gid, database FROM pg_prepared_xacts ORDER BY prepared
