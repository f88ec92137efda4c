"""Random input for each reader of what comes from outside: it raises the errors of its contract, and nothing else."""
