-- Of a primary: its timeline (0 on a standby), and its physical slots: names, where they hold WAL from ("" for nothing).
SELECT CASE WHEN r.in_recovery THEN '0' ELSE substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END,
       s.names, s.positions
  FROM (SELECT pg_is_in_recovery() AS in_recovery OFFSET 0) AS r,
       (SELECT coalesce(array_agg(slot_name::text ORDER BY slot_name), '{}') AS names,
               coalesce(array_agg(coalesce(restart_lsn::text, '') ORDER BY slot_name), '{}') AS positions
          FROM pg_replication_slots
         WHERE slot_type = 'physical' AND NOT temporary AND wal_status IS DISTINCT FROM 'lost') AS s
