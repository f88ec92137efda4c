-- Rows of this drill, and of those that were interrupted. A drill takes minutes.
DELETE FROM pgvip.drill WHERE run = %s OR at < now() - interval '1 day'
