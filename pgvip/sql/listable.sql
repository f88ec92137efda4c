-- Fails where the server may not read a directory. Parameter: its path in the data directory.
SELECT count(*) FROM pg_ls_dir(%s, true, false)
