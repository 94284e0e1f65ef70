"""Measures what the pipeline costs, compared with other tools; docs/performance.md.

Run: `python -m bench`, or `python -m bench landing day --quick`.
"""
