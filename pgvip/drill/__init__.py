"""A rehearsed switchover, seen by a client."""
