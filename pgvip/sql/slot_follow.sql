-- On a standby: let a copy of a slot go on as far as its user has come on the primary. Parameters: position, slot's name.
SELECT pg_replication_slot_advance(s.slot_name, s.wanted)
  FROM (SELECT slot_name, restart_lsn, least(%s::pg_lsn, pg_last_wal_replay_lsn()) AS wanted
          FROM pg_replication_slots
         WHERE slot_name = %s AND NOT active AND pg_is_in_recovery() AND wal_status IS DISTINCT FROM 'lost'
        OFFSET 0) AS s
 WHERE s.restart_lsn < s.wanted
