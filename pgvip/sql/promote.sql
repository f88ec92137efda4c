-- Does not wait: its own wait polls in steps of 100 ms.
SELECT pg_promote(wait => false)
