-- Where synchronous_commit is below `on` for a database or a role: commits there are not protected.
SELECT coalesce(d.datname, 'all databases') AS database, coalesce(r.rolname, 'all roles') AS role, word AS setting
  FROM pg_db_role_setting AS s
  LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
  LEFT JOIN pg_roles AS r ON r.oid = s.setrole,
       unnest(s.setconfig) AS word
 WHERE word IN ('synchronous_commit=off', 'synchronous_commit=local', 'synchronous_commit=remote_write')
