"""The texts of the page for every state of a warehouse."""

from datetime import timedelta
from pathlib import Path

import pytest
import shops
from screens import Look
from support import Dbt, Warehouse, order

pytestmark = pytest.mark.browser

SENTENCES = {
    "demo": ["Кефир 3% brings most customers back", "Refunds known: 2024-W09 (6/7 days)"],
    "year": ["The mean of all items is", "2024-W26 (5/7 days)", "0/7 days", "known 5/7"],
    "empty": ["There are no data yet", "Data to no data yet"],
    "emptied": ["There are no data yet", "1 of 1, Jan 1, 2024 to Jan 1, 2024"],
    "one_week": [
        "No item has 30 customers yet whose 1 week after the first order",
        "no first week with 1 week complete after it",
        "2024-W01",
    ],
    "no_complete_week": ["no complete week", "4/7 days", "dashed: incomplete week"],
    "refunds_unknown": ["unknown, not zero", "few data"],
    "hostile": ["item 6", '<img src=x onerror="window.hacked = 2">'],
    "at_the_cap": ["Shown: 50 items of 300, those with the most revenue; 53 weeks of 104"],
}


@pytest.mark.parametrize("state", shops.STATES)
def test_a_state_is_told(look: Look, state: str) -> None:
    screen = look(state)
    text = f"{screen.text('#head')} {screen.text('#app')}"
    assert [sentence for sentence in SENTENCES[state] if sentence not in text] == []
    assert not [word for word in ("NaN", "undefined", "null", "Infinity") if word in text]
    # Unknown figures are not shown, and not shown as zero.
    if state == "refunds_unknown":
        assert {row[-1] for row in screen.table("#refunds-table")[1:]} == {"?"}
        assert {row[-1] for row in screen.table("#items-table")[1:]} == {"unknown"}
    if state in ("one_week", "no_complete_week"):
        assert screen.text("#tile-back .value") == "–"


def test_few_data_is_labelled_and_ranked_last(look: Look) -> None:
    screen = look("refunds_unknown")
    *rows, _ = screen.table("#items-table")[1:]
    few = [int(row[3]) < 30 for row in rows]
    assert few == sorted(few) and len(set(few)) == 2
    assert ["few data" in row[0] for row in rows] == few
    assert [row[0][0].isdigit() for row in rows] == [not one for one in few]
    # One of them has a greater share than the first item. If it were ranked, it would lead.
    rates = [float(row[1].split("%")[0]) for row in rows]
    assert max(rates) != rates[0]
    assert screen.text("#answer").startswith(rows[0][0].split(". ")[1])
    screen.page.locator("#sort-rate").click()
    assert ["few data" in row[0] for row in screen.table("#items-table")[1:-1]] == few


def test_a_missing_week_has_no_rate_and_breaks_every_horizon_over_it(look: Look) -> None:
    screen = look("year")
    rows = {row[0].split("|")[0]: row[2:] for row in screen.table("#cohorts-table")[1:]}
    assert not any(rows["2024-W10"])
    assert sum(map(bool, rows["2024-W05"])) == 4
    assert sum(map(bool, rows["2024-W09"])) == 0
    assert sum(map(bool, rows["2024-W11"])) == 12


def test_the_last_restatements_are_listed_latest_first(look: Look) -> None:
    rows = look("year").table("#restatements-table")[1:]
    assert len(rows) == 20
    assert rows[0] == [
        "2024-07-02 10:00", "2024-W05", "whole shop",
        "returning_customers_count", "24", "25.5", "124",
    ]  # fmt: skip
    assert rows[1][2] == "Item 2"


def test_the_caps_leave_out_no_total(look: Look) -> None:
    """The mean has all 300 items in the 49 of 53 weeks that four complete weeks follow."""
    screen = look("at_the_cap")
    *rows, mean = screen.table("#items-table")[1:]
    assert len(rows) == 50
    assert mean[3] == f"{300 * 49 * 500:,}"
    assert {row[0].split(" ")[-1] for row in rows} == {str(n) for n in range(251, 301)}


def test_the_share_of_a_partly_known_week_is_of_its_known_days(
    warehouse: Warehouse, dbt: Dbt, look: Look, tmp_path: Path
) -> None:
    monday, shop = shops.MONDAY, shops.Shop(warehouse, dbt, tmp_path)
    shop.day(monday, [order("a", str(monday), payment_amount=1000)], known=False)
    tuesday = monday + timedelta(days=1)
    paid = [order(f"b {n}", str(tuesday), payment_amount=100, status="shipped") for n in range(2)]
    back = order("c", str(tuesday), payment_amount=20, status="refunded")
    shop.day(tuesday, [*paid, back])
    shop.build()
    path = tmp_path / "report.html"
    path.write_text(shops.render(), encoding="utf-8")
    screen = look(path)
    assert screen.text("#tile-refunded").endswith(
        "20 10.0% of the revenue of those days Refunds known: 2024-W01 (1/7 days)"
    )
    head, row, _ = screen.table("#refunds-table")
    assert (head[1], row[1:]) == ("W01|known 1/7", ["10.0%|20", "10.0%|20"])
    assert screen.table("#items-table")[1][5:] == ["1,200", "20", "10.0%"]
