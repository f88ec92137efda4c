"""`pgvip check`: pre-flight and standing checks; one module for each subject, one small function for each check."""
