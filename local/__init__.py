"""Runs the whole project on one machine: database, report API stand-in and Airflow.

Everything it keeps lives in the git-ignored folder `.local/`; `python -m local --help` lists the
commands, the Makefile names them for people.
"""
