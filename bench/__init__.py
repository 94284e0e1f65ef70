"""What the pipeline costs, measured beside what else could do the work; docs/performance.md.

Run: `python -m bench`, or `python -m bench landing day --quick`.
"""
