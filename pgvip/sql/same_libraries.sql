-- Libraries that databases and roles name: their settings are replicated.
SELECT split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
  FROM pg_db_role_setting, unnest(setconfig) AS setting
 WHERE split_part(setting, '=', 1) IN ('session_preload_libraries', 'local_preload_libraries')
