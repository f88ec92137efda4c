-- Every standby: name, role, state, sync state, bytes that it has not flushed, seconds of replay lag.
SELECT application_name, usename, state, sync_state,
       CASE WHEN pg_is_in_recovery() THEN NULL
            ELSE pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn)::bigint END,
       extract(epoch FROM replay_lag)::float8
  FROM pg_stat_replication
