-- Name, kind, in use, temporary, state of its WAL, bytes of WAL that it keeps.
SELECT slot_name, slot_type, active, temporary, wal_status,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                            ELSE pg_current_wal_flush_lsn() END, restart_lsn)::bigint
  FROM pg_replication_slots
 ORDER BY slot_name
