-- Settings that pgvip depends on, for the checks of `init`, `join` and `status`.
SELECT name, setting
  FROM pg_settings
 WHERE name IN ('wal_level', 'max_wal_senders', 'max_replication_slots', 'synchronous_commit', 'fsync',
                'full_page_writes', 'hot_standby', 'wal_log_hints', 'data_checksums', 'archive_mode',
                'synchronous_standby_names', 'restart_after_crash', 'listen_addresses')
