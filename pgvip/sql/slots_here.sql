-- Physical slots of this server: name, in use, where they hold WAL from, state of that WAL.
SELECT slot_name::text, active, restart_lsn::text, wal_status
  FROM pg_replication_slots
 WHERE slot_type = 'physical' AND NOT temporary
 ORDER BY slot_name
