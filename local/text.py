"""Prints time-stamped lines, and reads the ends of logs."""

import json
import sys
from datetime import datetime
from pathlib import Path


def say(text: str) -> None:
    """Print one line of progress with the time of day."""
    print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)


def complain(text: str) -> None:
    print(f"error: {text}", file=sys.stderr, flush=True)


def tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log as plain text; Airflow's task logs have JSON lines."""
    try:
        with log.open(errors="replace") as file:
            last = file.readlines()[-lines:]
    except FileNotFoundError:
        return "(no log)"
    return "\n".join("  " + _plain(line.rstrip()) for line in last)


def _plain(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict):
        return line
    errors = [
        f"{error.get('exc_type')}: {error.get('exc_value')}"
        for error in entry.get("error_detail") or []
        if isinstance(error, dict)
    ]
    return " ".join([str(entry.get("event", line)), *errors])
