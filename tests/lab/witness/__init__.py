"""The witness against real PostgreSQL servers and real programs."""
