-- WAL clients of others that do not confirm what they are sent: a clean stop would wait for them.
-- 15 s: pg_receivewal reports every ten.
SELECT pid, coalesce(nullif(application_name, ''), usename, 'unknown') || coalesce(' at ' || client_addr::text, '') AS who
  FROM pg_stat_replication
 WHERE usename IS DISTINCT FROM 'pgvip_replication'
   AND state = 'streaming'
   AND NOT pg_is_in_recovery()
   AND coalesce(flush_lsn, write_lsn, '0/0') < pg_current_wal_flush_lsn()
   AND (pg_wal_lsn_diff(pg_current_wal_flush_lsn(), coalesce(flush_lsn, write_lsn, '0/0')) > 16 * 1024 * 1024
        OR coalesce(reply_time, backend_start) < clock_timestamp() - interval '15 s')
 ORDER BY pid
 LIMIT 10
