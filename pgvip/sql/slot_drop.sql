-- Parameter: the slot's name; one in use or not there is left alone.
SELECT pg_drop_replication_slot(slot_name)
  FROM pg_replication_slots
 WHERE slot_name = %s AND NOT active
