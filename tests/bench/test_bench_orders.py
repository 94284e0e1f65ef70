"""The files of the bench: the loader finds the numbers of lines that were written."""

import csv
from pathlib import Path

import pytest
from support import ROOT, Deliver, Warehouse

from bench import landing
from bench.data import HEADER, write_orders
from bench.measure import Server
from local.postgres import EmbeddedPostgres


def test_a_clean_file_is_loaded_whole(
    warehouse: Warehouse, deliver: Deliver, tmp_path: Path
) -> None:
    file = write_orders(tmp_path / "orders.csv", 3, 200)
    counts = deliver(f"{file.first_day}", file.path, f"{file.last_day}").counts
    assert (counts.received, counts.loaded) == (600, 600)
    by_day = "select count(*) from staging.user_order_log group by cast(date_time as date)"
    assert warehouse.query(by_day) == [(200,)] * 3


def test_a_file_has_the_shape_of_the_services(tmp_path: Path) -> None:
    file = write_orders(tmp_path / "orders.csv", 2, 1_000)
    text = file.path.read_bytes()
    assert 150 < len(text) / file.lines < 165
    with file.path.open(newline="") as opened:
        lines = list(csv.DictReader(opened))
    assert list(lines[0]) == HEADER.split(",")
    assert [int(line["id"]) for line in lines] == [*range(1, 1_001), *range(1_001, 2_001)]
    assert len({line["uniq_id"] for line in lines}) == 2_000
    assert 0.02 < sum(line["status"] == "refunded" for line in lines) / 2_000 < 0.08


def test_a_dirty_file_holds_lines_of_every_reason(
    warehouse: Warehouse, deliver: Deliver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_orders(tmp_path / "orders.csv", 4, 1_000, repeated_share=0.6, rejected_share=0.01)
    result = deliver(f"{file.first_day}", file.path, f"{file.last_day}")
    counts = result.counts
    assert counts.received == file.lines == 4_000
    assert counts.repeated == file.repeated == 2_400
    assert counts.rejected == 40
    assert result.reasons == file.rejected

    monkeypatch.syspath_prepend(ROOT / "tests" / "loaders" / "files")
    from order_file_cases import CASES, REJECTED

    reasons = {
        part.partition(": ")[2]
        for case in CASES
        if case.outcome == REJECTED
        for part in case.says.split("; ")
    }
    assert set(file.rejected) == reasons


def test_long_lines_stay_few(tmp_path: Path) -> None:
    file = write_orders(tmp_path / "orders.csv", 1, 4_000, rejected_share=0.1)
    assert file.rejected["line_too_long"] == 10
    assert file.rejected["conflict"] == 20


def test_a_landing_that_loses_a_line_breaks_the_bench(
    server: EmbeddedPostgres, warehouse: Warehouse, tmp_path: Path
) -> None:
    bench, database = Server(server), warehouse.env["PGDATABASE"]
    file = write_orders(tmp_path / "orders.csv", 1, 100, repeated_share=0.5)
    sample = landing.land(bench, database, file)
    assert sample.peak_mb and sample.peak_mb > 10
    file.path.write_bytes(file.path.read_bytes().rpartition(b"\n1")[0] + b"\n")
    with pytest.raises(AssertionError, match=r"landed as .*, not as"):
        landing.land(bench, database, file)
