-- How far this primary's WAL is flushed, and on which timeline.
SELECT substr(pg_walfile_name(position), 1, 8), position
  FROM (SELECT pg_current_wal_flush_lsn() AS position OFFSET 0) AS p
