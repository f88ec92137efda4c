-- One small commit. The session's synchronous_commit is local: it never waits for the standby.
INSERT INTO pgvip.heartbeat AS h (id, beat, at)
VALUES (1, 1, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET beat = h.beat + 1, at = excluded.at
