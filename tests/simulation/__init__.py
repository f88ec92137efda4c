"""The real core of both hosts in one simulated world, driven by seeds."""
