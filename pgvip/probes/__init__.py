"""Probes observe: each examines one thing and leaves an observation, never a judgement."""
