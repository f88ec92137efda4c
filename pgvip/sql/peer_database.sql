-- Which cluster answers here, in which role, on which timeline; one row.
SELECT r.in_recovery,
       CASE WHEN r.in_recovery
            THEN greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                          (SELECT min_recovery_end_timeline FROM pg_control_recovery()))
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::int END AS timeline,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_id
  FROM (SELECT pg_is_in_recovery() AS in_recovery OFFSET 0) AS r
