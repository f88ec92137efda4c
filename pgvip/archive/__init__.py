"""The WAL archive commands that PostgreSQL calls."""
