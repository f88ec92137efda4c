-- Archived, failed, the last file that failed, whether the last attempt failed, age of the last success.
SELECT archived_count, failed_count, coalesce(last_failed_wal, ''),
       last_failed_time IS NOT NULL AND last_failed_time > coalesce(last_archived_time, '-infinity'),
       extract(epoch FROM clock_timestamp() - last_archived_time)::float8
  FROM pg_stat_archiver
