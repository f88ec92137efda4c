-- Where every session of a database, or of the whole server, would be read-only by default.
SELECT coalesce(d.datname, 'all databases')
  FROM pg_db_role_setting AS s
  LEFT JOIN pg_database AS d ON d.oid = s.setdatabase,
       unnest(s.setconfig) AS word
 WHERE s.setrole = 0 AND word IN ('default_transaction_read_only=on', 'default_transaction_read_only=true')
