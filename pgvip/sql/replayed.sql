-- What a standby has replayed: its timeline, and the position in bytes; no row on a primary.
SELECT c.timeline, pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint
  FROM (SELECT greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                        (SELECT min_recovery_end_timeline FROM pg_control_recovery())) AS timeline) AS c
 WHERE pg_is_in_recovery() AND pg_last_wal_replay_lsn() IS NOT NULL
