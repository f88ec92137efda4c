"""The core decides: pure functions over frozen values; the standard library and nothing else."""
