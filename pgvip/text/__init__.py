"""How values are written for people, and how times are read."""
