"""What is kept and what is sent: the record, one codec for both, one writer of files."""
