"""The configuration file: read, checked, reloaded."""
