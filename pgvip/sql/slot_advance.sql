-- On a standby: let go of WAL that the peer, our primary, certainly has. Parameter: the slot's name.
SELECT pg_replication_slot_advance(slot_name, pg_last_wal_replay_lsn())
  FROM pg_replication_slots
 WHERE slot_name = %s AND NOT active AND pg_is_in_recovery()
   AND wal_status IS DISTINCT FROM 'lost'
   AND restart_lsn < pg_last_wal_replay_lsn()
