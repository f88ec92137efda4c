-- Sessions that keep replay from going on; no row while it waits for none.
-- What a lock conflict waits for is known; else it is whoever has a snapshot. (The startup process is not among
-- pg_blocking_pids().)
SELECT a.pid,
       coalesce(a.usename, a.backend_type) || coalesce(' in ' || a.datname, '') AS who
  FROM pg_stat_activity AS startup, pg_stat_activity AS a
 WHERE startup.backend_type = 'startup'
   AND a.backend_type IN ('client backend', 'parallel worker', 'walsender')
   AND a.pid <> pg_backend_pid()
   AND CASE WHEN startup.wait_event_type = 'Lock'
            THEN EXISTS (SELECT FROM pg_locks AS wanted, pg_locks AS held
                          WHERE wanted.pid = startup.pid AND NOT wanted.granted
                            AND held.pid = a.pid AND held.granted AND held.locktype = wanted.locktype
                            AND held.database = wanted.database AND held.relation = wanted.relation)
            WHEN left(startup.wait_event, 16) = 'RecoveryConflict' OR left(startup.wait_event_type, 6) = 'Buffer'
            THEN a.backend_xmin IS NOT NULL OR a.xact_start IS NOT NULL
            ELSE false END
