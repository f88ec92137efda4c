"""What each host keeps of the past: bounded files that are readable without a primary and without the daemon."""
