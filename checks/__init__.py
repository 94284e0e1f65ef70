"""Checks for any warehouse: does it keep the promise, and are names that we need taken?

Run: `python -m checks prove`, with libpq's PG* variables in the environment.
"""
