-- What the local server says of itself; one row. Parameters: the peer's application_name; its address where its
-- standby may have any name, else NULL; the peer's slot.
-- pg_is_in_recovery() guards functions that one of the two states refuses.
SELECT r.in_recovery,
       CASE WHEN r.in_recovery THEN NULL
            ELSE substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END AS timeline_hex,
       CASE WHEN r.in_recovery THEN NULL ELSE pg_current_wal_flush_lsn() END AS flush_lsn,
       CASE WHEN r.in_recovery THEN pg_last_wal_receive_lsn() END AS receive_lsn,
       CASE WHEN r.in_recovery THEN pg_last_wal_replay_lsn() END AS replay_lsn,
       CASE WHEN r.in_recovery
            THEN greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                          (SELECT min_recovery_end_timeline FROM pg_control_recovery())) END AS control_timeline,
       -- received_tli is meaningless until the sender has spoken
       CASE WHEN receiver.latest_end_lsn IS NOT NULL THEN receiver.received_tli END AS received_timeline,
       receiver.status AS receiver_status,
       extract(epoch FROM clock_timestamp() - receiver.last_msg_receipt_time)::float8 AS message_age_s,
       CASE WHEN r.in_recovery THEN pg_is_wal_replay_paused() ELSE false END AS replay_paused,
       CASE WHEN r.in_recovery
            THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 END AS replay_age_s,
       current_setting('synchronous_standby_names') AS sync_names,
       current_setting('listen_addresses') AS listen_addresses,
       slot.wal_status,
       replica.state,
       replica.sync_state,
       replica.flush_lsn AS replica_flush_lsn,
       replica.replay_lsn AS replica_replay_lsn,
       extract(epoch FROM replica.flush_lag)::float8 AS replica_flush_lag_s,
       extract(epoch FROM replica.replay_lag)::float8 AS replica_replay_lag_s,
       -- by two clocks: that of this host and the standby's
       extract(epoch FROM clock_timestamp() - replica.reply_time)::float8 AS replica_reply_age_s,
       pg_size_bytes(current_setting('wal_segment_size')) AS segment_bytes,
       pg_conf_load_time()::text AS settings_read_at,
       -- of these, only what is in force counts: all but the delay need a restart
       (SELECT string_agg(key || ' = ' || quote_literal(current_setting(key)), ', ')
          FROM unnest(ARRAY['recovery_target', 'recovery_target_lsn', 'recovery_target_name',
                            'recovery_target_time', 'recovery_target_xid']) AS key
         WHERE current_setting(key) <> '') AS recovery_target,
       CASE WHEN r.in_recovery THEN current_setting('recovery_min_apply_delay') ELSE '0' END AS apply_delay
  FROM (SELECT pg_is_in_recovery() AS in_recovery OFFSET 0) AS r
  LEFT JOIN pg_stat_get_wal_receiver() AS receiver ON r.in_recovery
  LEFT JOIN (SELECT *
               FROM pg_stat_replication
              -- of this name, but by another role, is some other standby
              WHERE application_name = %s AND usename = 'pgvip_replication' OR client_addr = %s::inet
              ORDER BY backend_start DESC
              LIMIT 1) AS replica ON true
  LEFT JOIN pg_replication_slots AS slot ON slot.slot_name = %s
