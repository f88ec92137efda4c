SELECT n FROM pgvip.drill WHERE run = %s
