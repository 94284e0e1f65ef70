"""Counts what was tried against the promise, and prints the numbers at the end."""

from collections import Counter

import pytest

COUNTED = {
    "test_a_killed_load": "kills of a load",
    "test_killed_models": "kills of a model run",
    "test_the_server_goes_away": "servers or backends taken away under a model",
    "test_in_the_middle_of_a_copy": "ends in the middle of a copy",
    "test_a_full_disk": "full disks",
    "test_concurrency.py": "interleavings of runs and loads",
    "test_sequences.py": "fixed sequences",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    tried = Counter(
        name for report in passed for part, name in COUNTED.items() if part in report.nodeid
    )
    for report in passed:
        for name, value in report.user_properties:
            if name == "tried":
                tried.update(value)
    if tried:
        terminalreporter.section("tried against the promise")
        for name, number in tried.items():
            terminalreporter.write_line(f"{number:5} {name}")
