-- The table that a file belongs to; a TOAST table's is its owner's. Parameters: tablespace (0: the database's), file.
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
  FROM (SELECT pg_filenode_relation(%s, %s)::oid AS oid) AS file
  JOIN pg_class AS c ON c.oid = coalesce((SELECT o.oid FROM pg_class AS o WHERE o.reltoastrelid = file.oid), file.oid)
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
