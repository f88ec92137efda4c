-- How far this standby has received and flushed, or replayed where that is further.
SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
