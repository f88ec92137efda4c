-- SHA-256 of stretches of WAL, each of the newest file that is there, NULL without one. Parameters: arrays of file names
-- without their timeline, offsets and lengths; an array of timelines, as in the names.
SELECT sha256(pg_read_binary_file('pg_wal/' || f.name, p.at, p.bytes, true))
  FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS p(rest, at, bytes, n)
  LEFT JOIN LATERAL (SELECT w.name FROM pg_ls_waldir() AS w, unnest(%s::text[]) AS t(timeline)
                      WHERE w.name = t.timeline || p.rest ORDER BY w.name DESC LIMIT 1) AS f ON true
 ORDER BY p.n
