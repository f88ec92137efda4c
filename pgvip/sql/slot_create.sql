-- A physical slot that holds WAL from now on; nothing happens where it exists. Parameter: its name, twice.
SELECT pg_create_physical_replication_slot(%s, true)
 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s)
