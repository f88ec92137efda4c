-- Before version 15 only a superuser may; this function is his (setup.sql).
SELECT pgvip.checkpoint()
