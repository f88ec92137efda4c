-- Settings that a standby needs at least as high as its primary (manual, 27.4.3).
SELECT name, setting
  FROM pg_settings
 WHERE name IN ('max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions',
                'max_locks_per_transaction')
