-- Who uses a slot now; no row when nobody does. Parameter: the slot's name.
SELECT slot.active_pid, coalesce(host(sender.client_addr), 'an unknown address'), coalesce(sender.application_name, '')
  FROM pg_replication_slots AS slot
  LEFT JOIN pg_stat_replication AS sender ON sender.pid = slot.active_pid
 WHERE slot.slot_name = %s AND slot.active
