-- Every receiver that calls itself by this name. Parameter: the peer's application_name.
SELECT pid, client_addr::text, usename, state, sync_state, flush_lsn, reply_time::text
  FROM pg_stat_replication
 WHERE application_name = %s
