-- What is at the top of the data directory: name, and whether it is a directory.
SELECT f.name, (pg_stat_file(f.name, true)).isdir
  FROM pg_ls_dir('.', true, false) AS f(name)
 WHERE NOT starts_with(f.name, 'pgsql_tmp')
 ORDER BY f.name
