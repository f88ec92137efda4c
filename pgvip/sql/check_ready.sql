SELECT count(*)::int FROM pg_ls_archive_statusdir() WHERE right(name, 6) = '.ready'
