"""Every file of the table is landed for real, on a day that has order lines already."""

import re
from pathlib import Path
from typing import Any

import pytest
from order_file_cases import CASES, DAY, LOADED, REFUSED, REJECTED, Case
from support import Deliver, Warehouse, order

from loaders.errors import DeliveryRefused
from loaders.order_file import MAX_LINE_LENGTH

LEDGER = """
    select outcome, refusal, received, loaded, repeated, rejected, unknown_columns
    from staging.delivery where delivery_id = 2
"""
QUARANTINE = """
    select line_number, reason, raw_line from staging.quarantine
    where delivery_id = 2 order by line_number
"""
STAGING = "select t.*::text from staging.user_order_log as t order by 1"
STANDING = "select day, delivery_id from staging.delivery_day order by day"


def test_the_table_is_as_large_as_it_should_be() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 150
    assert {case.outcome for case in CASES} == {LOADED, REJECTED, REFUSED}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_becomes_of_the_file(
    warehouse: Warehouse, deliver: Deliver, tmp_path: Path, case: Case
) -> None:
    deliver(DAY, [order(f"previous {number}", DAY) for number in range(3)])
    previous = warehouse.query(STAGING), warehouse.query(STANDING)
    path = tmp_path / "user_order_log_inc.csv"
    path.write_bytes(case.file)

    refusal = None
    try:
        deliver(case.first_day, path, case.last_day)
    except DeliveryRefused as refused:
        refusal = str(refused).splitlines()[0]

    ((outcome, ledger_refusal, *counts, unknown_columns),) = warehouse.query(LEDGER)
    assert tuple(counts) == case.counts
    assert counts[0] == sum(counts[1:])
    assert unknown_columns == list(case.unknown_columns)
    quarantine = warehouse.query(QUARANTINE)
    assert len(quarantine) == counts[3]
    for number, _, raw_line in quarantine:
        assert raw_line == _raw_line(case.file, number)

    if case.outcome == REFUSED:
        assert outcome == "refused"
        assert ledger_refusal == case.says
        assert refusal == f"increment {DAY} (user_order_log_inc.csv): {case.says}"
        assert (warehouse.query(STAGING), warehouse.query(STANDING)) == previous
        return
    assert (outcome, ledger_refusal, refusal) == ("accepted", None, None)
    assert warehouse.value("select count(*) from staging.user_order_log") == (
        counts[1] + _previous_lines_kept(warehouse)
    )
    if case.outcome == REJECTED:
        assert "; ".join(f"line {number}: {reason}" for number, reason, _ in quarantine) == (
            case.says
        )
    else:
        assert quarantine == []
    if case.outcome == LOADED and case.column:
        assert _stored(warehouse, case.column) == case.says


def _previous_lines_kept(warehouse: Warehouse) -> Any:
    """Count the lines from before the delivery that are still in staging."""
    return warehouse.value(
        """
        select count(*) from staging.user_order_log
        inner join staging.delivery_day on day = cast(date_time as date)
        where delivery_id = 1 and uniq_id like 'previous%'
        """
    )


def _stored(warehouse: Warehouse, column: str) -> Any:
    return warehouse.value(
        f"select coalesce({column}::text, 'no value') from staging.user_order_log"
        " where uniq_id = 'case'"
    )


def _raw_line(file: bytes, number: int) -> str:
    """Return a line of the file as quarantine keeps it."""
    raw = re.split(rb"\r\n|\r|\n", file)[number - 1]
    text = raw.decode("utf-8", "backslashreplace").replace("\0", r"\x00")
    return text[:MAX_LINE_LENGTH]
