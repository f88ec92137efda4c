-- Whether this server is ready for a change of role; one row. Parameters: the peer's slot, the peer's application_name
-- (twice).
SELECT current_setting('server_version_num')::int / 10000 AS version,
       r.in_recovery,
       (CASE WHEN r.in_recovery THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
             ELSE pg_current_wal_flush_lsn() END)::text AS lsn,
       (CASE WHEN r.in_recovery THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END)::text AS replay_lsn,
       CASE WHEN r.in_recovery THEN pg_is_wal_replay_paused() ELSE false END AS replay_paused,
       current_setting('max_wal_senders')::int AS senders_max,
       (SELECT count(*)::int FROM pg_stat_get_wal_senders()) AS senders,
       current_setting('max_replication_slots')::int AS slots_max,
       (SELECT count(*)::int FROM pg_replication_slots) AS slots,
       EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s) AS peer_slot,
       coalesce((SELECT string_agg(slot_name, ', ' ORDER BY slot_name)
                   FROM pg_replication_slots WHERE slot_type = 'logical' AND NOT temporary), '') AS logical_slots,
       coalesce((SELECT state FROM pg_stat_replication
                  WHERE application_name = %s AND usename = 'pgvip_replication'
                  ORDER BY backend_start DESC LIMIT 1), '') AS replica_state,
       coalesce((SELECT sync_state FROM pg_stat_replication
                  WHERE application_name = %s AND usename = 'pgvip_replication'
                  ORDER BY backend_start DESC LIMIT 1), '') AS replica_sync,
       current_setting('data_checksums') = 'on' AS checksums,
       current_setting('wal_log_hints') = 'on' AS wal_log_hints,
       CASE WHEN a.last_failed_time > coalesce(a.last_archived_time, '-infinity')
            THEN a.last_failed_wal ELSE '' END AS archive_failing,
       (SELECT count(*)::int FROM pg_ls_archive_statusdir() WHERE right(name, 6) = '.ready') AS archive_ready,
       s.sessions,
       s.oldest_s,
       (SELECT count(*)::int FROM pg_prepared_xacts) AS prepared
  FROM (SELECT pg_is_in_recovery() AS in_recovery OFFSET 0) AS r,
       pg_stat_archiver AS a,
       (SELECT count(*)::int AS sessions,
               coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 AS oldest_s
          FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND usename IS DISTINCT FROM 'pgvip') AS s
