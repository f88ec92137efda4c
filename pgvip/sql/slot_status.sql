-- Parameter: the slot's name.
SELECT wal_status, active, restart_lsn FROM pg_replication_slots WHERE slot_name = %s
