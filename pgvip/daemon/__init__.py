"""The loop, its threads, and how they are put together."""
