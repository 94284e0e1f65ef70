"""Runs the whole project on one machine: database, report API stand-in and Airflow.

It keeps everything in the git-ignored folder `.local/`. `python -m local --help` lists the
commands; the Makefile has a target for each.
"""
