-- A primary's flushed, a standby's received position, as a number of bytes.
SELECT pg_wal_lsn_diff(CASE WHEN r.in_recovery
                            THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                            ELSE pg_current_wal_flush_lsn() END, '0/0')::bigint
  FROM (SELECT pg_is_in_recovery() AS in_recovery OFFSET 0) AS r
