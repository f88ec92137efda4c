-- Fails where the server may not read a file. Parameter: its path in the data directory.
SELECT length(pg_read_binary_file(%s, 0, 1, true))
