-- A physical slot as on the primary; nothing happens where it exists. Parameters: its name, whether it holds WAL, its name.
SELECT pg_create_physical_replication_slot(%s, %s)
 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s)
