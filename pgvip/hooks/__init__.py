"""Calling the operator's hooks."""
