-- How archiving goes here, and how many files wait for it; one row.
SELECT a.last_archived_wal,
       extract(epoch FROM clock_timestamp() - a.last_archived_time)::float8 AS archived_ago_s,
       a.last_failed_wal,
       extract(epoch FROM clock_timestamp() - a.last_failed_time)::float8 AS failed_ago_s,
       coalesce(a.last_failed_time > coalesce(a.last_archived_time, '-infinity'), false) AS failing,
       w.files AS waiting_files,
       extract(epoch FROM clock_timestamp() - w.oldest)::float8 AS waiting_s,
       pg_is_in_recovery() AS in_recovery,
       a.failed_count AS failures
  FROM pg_stat_archiver AS a,
       (SELECT count(*) AS files, min(modification) AS oldest
          FROM pg_ls_archive_statusdir() WHERE right(name, 6) = '.ready') AS w
