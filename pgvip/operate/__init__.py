"""What operators order of the running daemon: checks beforehand, the order, its outcome."""
