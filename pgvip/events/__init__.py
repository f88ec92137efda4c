"""The one table of events, and the log."""
