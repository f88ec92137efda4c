-- Is one of these WAL segments still in the server's pg_wal? Parameter: an array of file names.
SELECT EXISTS (SELECT FROM pg_ls_waldir() WHERE name = ANY (%s))
