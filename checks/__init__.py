"""Checks for any warehouse: how is it, does it keep the promise, and are names that we need taken?

Run: `python -m checks doctor`, with libpq's PG* variables in the environment.
"""
