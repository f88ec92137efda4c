-- One numbered row of a drill; repeatable.
INSERT INTO pgvip.drill (run, n) VALUES (%s, %s) ON CONFLICT DO NOTHING
