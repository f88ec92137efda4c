-- Failover slots: name, in use, copied from a primary, how far its user has come.
SELECT slot_name::text, active, synced, confirmed_flush_lsn::text
  FROM pg_replication_slots
 WHERE slot_type = 'logical' AND failover AND NOT temporary AND invalidation_reason IS NULL
   AND confirmed_flush_lsn IS NOT NULL
