"""Ledger and quarantine, trimmed: what goes, and what stays because something may need it."""

from collections.abc import Sequence
from typing import Any

import pytest
from support import Deliver, Warehouse, order

from loaders import quarantine
from loaders.__main__ import main
from loaders.errors import DeliveryRefused, TerminalError
from loaders.trimming import trim

DAY = "2024-02-25"
GOOD = [order(f"good {number}", DAY) for number in range(60)]
BAD = [order("bad", DAY, quantity="many")]


@pytest.fixture
def old(warehouse: Warehouse, deliver: Deliver) -> Warehouse:
    """Deliveries of three years ago, by number.

    1 accepted and replaced, with a rejected line; 2 refused, its day has come since; 3 the one that
    the day comes from, with a rejected and a replayed line; 4 refused, its day has never come.
    """
    deliver(DAY, [*GOOD, *BAD])
    for day in (DAY, "2024-02-26"):
        with pytest.raises(DeliveryRefused):
            deliver(day, BAD if day == DAY else [order("bad", day, quantity="many")])
        if day == DAY:
            deliver(DAY, [*GOOD, *BAD, order("later", DAY, status="lost")])
    warehouse.query(
        "update staging.quarantine set replayed_at = now(), replayed_as = 'loaded'"
        " where delivery_id = 3 and reason = 'status';"
        "update staging.delivery set loaded = loaded + 1, rejected = rejected - 1"
        " where delivery_id = 3;"
        "update staging.delivery set finished_at = finished_at - interval '3 years',"
        " started_at = started_at - interval '3 years'"
    )
    return warehouse


def ledger(warehouse: Warehouse) -> Sequence[tuple[Any, ...]]:
    return warehouse.query(
        """
        select delivery_id, outcome, (
            select count(*) from staging.quarantine as lines
            where lines.delivery_id = delivery.delivery_id
        ) from staging.delivery order by 1
        """
    )


ALL = [(1, "accepted", 1), (2, "refused", 1), (3, "accepted", 2), (4, "refused", 1)]


def test_it_says_what_would_go_and_changes_nothing(
    old: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ledger(old) == ALL
    assert main(["trim", "--months", "24"]) == 0
    (since,) = old.query("select to_char(current_date - interval '24 months', 'YYYY-MM-DD')")[0]
    assert capsys.readouterr().out.splitlines() == [
        f"older than {since}:",
        "  2 deliveries that hold no day would go, with 2 rejected lines",
        "  1 lines that were replayed would go",
        "  1 deliveries that hold a day stay, with 1 rejected lines",
        "  1 refused deliveries that wait for a replay stay",
        "nothing was changed: --apply does it",
    ]
    assert ledger(old) == ALL


def test_what_is_old_and_not_needed_goes(
    old: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trim", "--months", "24", "--apply"]) == 0
    said = capsys.readouterr().out
    assert "2 deliveries that hold no day went, with 2 rejected lines" in said
    assert "nothing was changed" not in said
    assert ledger(old) == [(3, "accepted", 1), (4, "refused", 1)]
    assert trim(24, apply=True).splitlines()[1:3] == [
        "  0 deliveries that hold no day went, with 0 rejected lines",
        "  0 lines that were replayed went",
    ]


def test_what_is_younger_stays(old: Warehouse) -> None:
    trim(37, apply=True)
    assert ledger(old) == ALL


def test_what_stays_can_be_replayed_and_keeps_its_precedence(
    old: Warehouse, deliver: Deliver, tmp_path: Any
) -> None:
    trim(24, apply=True)
    export = tmp_path / "rejected.csv"
    quarantine.export(3, None, export)
    export.write_text(export.read_text().replace("many", "2"))
    assert "loaded 1 + repeated 0 + still rejected 0" in quarantine.replay(3, export)
    # A load that began before the delivery that holds the day leaves it alone, as ever.
    early = old.value(
        "select started_at - interval '1 hour' from staging.delivery where delivery_id = 3"
    )
    assert deliver(DAY, GOOD, started_at=early).days == []
    # The refused one waits for its whole file.
    text = export.parent / "whole.csv"
    deliver("2024-02-27", [order("w", "2024-02-27")])
    text.write_text((tmp_path / "orders.csv").read_text().replace("2024-02-27", "2024-02-26"))
    assert "increment 2024-02-26: loaded" in quarantine.replay_file(4, text)


@pytest.mark.parametrize("months", [0, -1, 1201])
def test_a_number_of_months_that_keeps_nothing(old: Warehouse, months: int) -> None:
    with pytest.raises(TerminalError, match="expected a number from 1 to 1200"):
        trim(months, apply=True)
    assert ledger(old) == ALL
