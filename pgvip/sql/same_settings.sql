-- What can be set, and what it is without pgvip.conf, which each host's daemon writes for itself. Columns: the value as
-- the files have it, "" for not at all; the value in force, in the base unit; what holds without a file; unit; type;
-- whether a restart is pending; whether each change needs one.
WITH files AS MATERIALIZED (
    SELECT DISTINCT ON (lower(name)) lower(name) AS name, setting
      FROM pg_show_all_file_settings()
     WHERE name IS NOT NULL AND right(sourcefile, 11) <> '/pgvip.conf'
     ORDER BY lower(name), seqno DESC
)
SELECT s.name, f.name IS NOT NULL, coalesce(f.setting, ''), coalesce(s.setting, ''), coalesce(s.boot_val, ''),
       coalesce(s.unit, ''), s.vartype, s.pending_restart, s.context = 'postmaster'
  FROM pg_settings AS s
  LEFT JOIN files AS f ON f.name = lower(s.name)
 WHERE s.context <> 'internal'
