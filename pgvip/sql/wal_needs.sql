-- Who needs WAL from where on, as this server knows it: rows of (kind, name, position, state).
SELECT 'slot', slot_name::text, restart_lsn, coalesce(wal_status, '') FROM pg_replication_slots WHERE NOT temporary
UNION ALL
SELECT 'standby', coalesce(nullif(application_name, ''), host(client_addr), 'unknown'),
       least(coalesce(flush_lsn, sent_lsn), coalesce(replay_lsn, sent_lsn)), state
  FROM pg_stat_replication
UNION ALL
SELECT 'checkpoint', timeline_id::text, redo_lsn, '' FROM pg_control_checkpoint()
UNION ALL
SELECT 'role', CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END, NULL, ''
