-- Failover slots: name, in use, copied from a primary, how far its user has come. None before version 17.
SELECT slot_name::text, active, false, confirmed_flush_lsn::text FROM pg_replication_slots WHERE false
