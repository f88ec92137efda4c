"""The version of what programs read: the JSON of all commands and of HTTP, and the names of the metrics."""

SCHEMA = 1
"""Grows when a key or metric is removed, or renamed, or changes its meaning or type. New ones leave it as it is."""
