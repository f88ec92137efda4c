-- Is the table of drills there, and ours to write?
SELECT coalesce(has_table_privilege(to_regclass('pgvip.drill'), 'INSERT'), false)
