-- What a rejoin needs to know of its source: role, cluster, timeline and its history, and the heartbeat's files.
SELECT r.in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_id,
       CASE WHEN r.in_recovery THEN '00000000' ELSE t.hex END AS timeline_hex,
       CASE WHEN r.in_recovery THEN NULL ELSE pg_current_wal_flush_lsn() END AS flush_lsn,
       CASE WHEN t.hex > '00000001'
            THEN convert_from(pg_read_binary_file('pg_wal/' || t.hex || '.history'), 'UTF8') ELSE '' END AS history,
       (SELECT coalesce(array_agg(d.oid || '/' || pg_relation_filenode(c.oid)), '{}')
          FROM pg_class AS c, pg_database AS d
         WHERE d.datname = current_database()
           AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'pgvip')
           AND c.relname = 'heartbeat') AS heartbeat_files
  FROM (SELECT pg_is_in_recovery() AS in_recovery OFFSET 0) AS r,
       LATERAL (SELECT CASE WHEN r.in_recovery THEN NULL
                            ELSE substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END AS hex OFFSET 0) AS t
