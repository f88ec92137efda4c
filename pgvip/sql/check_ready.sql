SELECT count(*)::int FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'
