-- One small commit: the time, in microseconds since 1970. The session's synchronous_commit is local: it never waits for
-- the standby. setval writes WAL every time, and the row in place (manual, "Sequence Manipulation Functions").
SELECT setval('pgvip.heartbeat', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
