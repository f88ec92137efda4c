"""Probes observe: each looks at one thing and leaves an observation, never a judgement."""
