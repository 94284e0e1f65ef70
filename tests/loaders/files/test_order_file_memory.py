"""Landing, exporting and replaying a file take the same memory whatever its size."""

import re
import tracemalloc
from datetime import date
from pathlib import Path

import pytest
from order_file_cases import DAY, HEADER, text
from support import Deliver, Warehouse, order, run_command

from loaders.order_file import OrderFile

# The large file has 29 MB, its rejected lines 15 MB.
SMALL, LARGE = 1_000, 300_000
BOUND = 8 * 2**20

# A separate process, so that its peak is that of these commands.
COMMANDS = """
import sys
from loaders.__main__ import main

delivery, file, rejected = sys.argv[1:]
for command in (
    ["replay", "--delivery", "1", "--file", file],
    ["show", "--delivery", delivery, "--output", rejected],
    ["replay", "--delivery", delivery],
):
    assert main(["quarantine", *command]) == 0
print(open("/proc/self/status").read())
"""


def write(path: Path, lines: int) -> str:
    """Write a file of which every second line is rejected."""
    before, after = text("KEY").split("KEY")
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{HEADER}\n")
        for number in range(lines):
            file.write(f"{before}{number}{after}{',' * (number % 2)}\n")
    return str(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_file(
    warehouse: Warehouse, deliver: Deliver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_REJECTED_SHARE", "1")
    deliver(DAY, [order("a", DAY)])
    peaks = []
    for delivery, lines in enumerate([SMALL, LARGE], start=2):
        file, rejected = write(tmp_path / "orders.csv", lines), str(tmp_path / "rejected.csv")
        done = run_command("python", "-c", COMMANDS, str(delivery), file, rejected)
        peaks += [1024 * int(kb) for kb in re.findall(r"VmHWM:\s+(\d+) kB", done.stdout)]

    ledger = "select received, rejected from staging.delivery where delivery_id > 1 order by 1"
    assert warehouse.query(ledger) == [(SMALL, SMALL // 2), (LARGE, LARGE // 2)]
    small, large = peaks
    assert large - small < BOUND, f"{small} bytes became {large}"


def test_memory_does_not_grow_with_a_line_that_does_not_end(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    with path.open("wb") as file:
        file.write(f"{HEADER}\n".encode())
        for _ in range(64):
            file.write(b"a" * 2**20)
    day = date.fromisoformat(DAY)

    tracemalloc.start()
    try:
        with OrderFile(path, day, day) as orders:
            assert [getattr(line, "reason", None) for line in orders] == ["line_too_long"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < BOUND
