-- A standby's end of WAL (bytes), the timeline it is on, and whether it streams; a primary says only that it is none.
SELECT r.in_recovery,
       CASE WHEN r.in_recovery
            THEN pg_wal_lsn_diff(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0') END::bigint,
       CASE WHEN r.in_recovery
            THEN greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                          (SELECT min_recovery_end_timeline FROM pg_control_recovery())) END,
       EXISTS (SELECT FROM pg_stat_get_wal_receiver() WHERE status = 'streaming')
  FROM (SELECT pg_is_in_recovery() AS in_recovery OFFSET 0) AS r
