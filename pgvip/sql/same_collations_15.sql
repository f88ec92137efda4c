-- The versions of the collations that this host has, by where they come from; "" where there is none to ask. Third
-- column: the version with which it was made, "" for not known.
SELECT 'libc', coalesce((SELECT pg_collation_actual_version(oid) FROM pg_collation
                          WHERE collprovider = 'c' AND collname ~ '^[a-z]{2}_' ORDER BY collname LIMIT 1), ''), ''
UNION ALL
SELECT 'ICU', coalesce((SELECT pg_collation_actual_version(oid) FROM pg_collation
                         WHERE collprovider = 'i' AND collname = 'und-x-icu' LIMIT 1), ''), ''
UNION ALL
SELECT 'database ' || datname, coalesce(pg_database_collation_actual_version(oid), ''), coalesce(datcollversion, '')
  FROM pg_database WHERE datallowconn
