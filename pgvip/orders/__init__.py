"""What operators order."""
