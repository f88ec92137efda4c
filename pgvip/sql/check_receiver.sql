SELECT status, coalesce(sender_host, 'the primary') FROM pg_stat_get_wal_receiver()
 WHERE pid IS NOT NULL
