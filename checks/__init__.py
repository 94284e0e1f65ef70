"""Checks of a warehouse, anybody's: whether it keeps the promise, and what stands in the way.

Run: `python -m checks prove`, with libpq's PG* variables in the environment.
"""
