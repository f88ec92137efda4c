-- Logical slots of this server: name, in use, failover slot, synchronized from the primary (17 and newer; false before).
SELECT s.slot_name::text, s.active,
       coalesce((to_jsonb(s) ->> 'failover')::boolean, false), coalesce((to_jsonb(s) ->> 'synced')::boolean, false)
  FROM pg_replication_slots AS s
 WHERE s.slot_type = 'logical' AND NOT s.temporary
 ORDER BY s.slot_name
