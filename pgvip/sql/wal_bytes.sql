-- Bytes of a WAL segment, of the newest name that is there. Parameters: offset, length, an array of file names.
SELECT pg_read_binary_file('pg_wal/' || w.name, %s, %s, true)
  FROM (SELECT name FROM pg_ls_waldir() WHERE name = ANY (%s) ORDER BY name DESC LIMIT 1) AS w
