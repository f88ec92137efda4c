"""What makes two hosts a pair."""
