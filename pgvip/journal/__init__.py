"""What each host remembers of the pair: kept in files of its own, readable without the daemon and without a primary."""
