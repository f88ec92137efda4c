"""pgvip: high availability for PostgreSQL on exactly two hosts, with two virtual addresses."""

__version__ = "0.1.0"
