-- What is wrong in the configuration files as they are now, reloaded or not; no row for nothing.
-- What only waits for a restart is no mistake: reading the files, which the first part does, marks it as pending.
WITH files AS MATERIALIZED (SELECT * FROM pg_show_all_file_settings())
SELECT coalesce(f.sourcefile, ''), coalesce(f.sourceline, 0), coalesce(f.name, ''), f.error
  FROM files AS f
 WHERE f.error IS NOT NULL
   AND (SELECT coalesce(bool_or(s.pending_restart), false) FROM pg_settings AS s WHERE lower(s.name) = lower(f.name))
       IS FALSE
UNION ALL
SELECT file_name, line_number, '', error FROM pg_hba_file_rules() WHERE error IS NOT NULL
UNION ALL
SELECT file_name, line_number, '', error FROM pg_ident_file_mappings() WHERE error IS NOT NULL
