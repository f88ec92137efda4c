-- Settings that wait for a restart: name, value in force, value in the files ("" where the files do not have it any more).
WITH files AS MATERIALIZED (SELECT name, setting, seqno FROM pg_show_all_file_settings() WHERE name IS NOT NULL)
SELECT s.name, s.setting,
       coalesce((SELECT f.setting FROM files AS f WHERE lower(f.name) = lower(s.name) ORDER BY f.seqno DESC LIMIT 1), '')
  FROM pg_settings AS s
 WHERE s.pending_restart
 ORDER BY s.name
