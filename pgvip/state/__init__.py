"""What is kept and what is sent: the record, and one codec for both."""
