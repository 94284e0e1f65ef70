"""Repeated, reordered, corrected and emptied days: the marts equal a fresh build."""

import random

import pytest
from known_shop import WEEK, KnownShop, lines
from support import Dbt, order


@pytest.mark.parametrize("times", [2, 10])
def test_the_same_day_again(shop: KnownShop, dbt: Dbt, times: int) -> None:
    for _ in range(times):
        shop.deliver(WEEK[0], lines(WEEK[0]))
        dbt.run(ds=WEEK[0])
    shop.assert_marts_equal_a_fresh_build()


def test_a_day_and_then_a_backfill_that_holds_it(shop: KnownShop, dbt: Dbt) -> None:
    shop.deliver(WEEK[3], lines(WEEK[3]))
    dbt.run(ds=WEEK[3])
    for day in WEEK:
        shop.deliver(day, lines(day, seed=1))
    dbt.run(ds_start=WEEK[0], ds_end=WEEK[-1])
    shop.assert_marts_equal_a_fresh_build()


@pytest.mark.parametrize("arrange", [list, reversed, lambda days: random.Random(7).sample(days, 7)])
def test_days_in_any_order(shop: KnownShop, dbt: Dbt, arrange: object) -> None:
    for day in arrange(WEEK):  # type: ignore[operator]
        shop.deliver(day, lines(day))
        dbt.run(ds=day)
    shop.assert_marts_equal_a_fresh_build()


def test_a_corrected_file_changes_removes_and_adds_lines(shop: KnownShop, dbt: Dbt) -> None:
    day = WEEK[0]
    delivered = [
        order("changed", day, quantity=1, item_name="first name"),
        # The only line of its item, city and customer, which disappear with it.
        order("removed", day, item_id=9, city_id=9, customer_id=9),
    ]
    shop.deliver(day, delivered)
    dbt.run(ds=day)
    shop.deliver(
        day,
        [
            order("changed", day, quantity=5, item_name="second name"),
            order("added", day, item_id=8, customer_id=8),
        ],
    )
    dbt.run(ds=day)
    shop.assert_marts_equal_a_fresh_build()
    assert shop.warehouse.value("select count(*) from mart.d_item where item_id = 9") == 0


def test_an_emptied_day_and_an_emptied_week(shop: KnownShop, dbt: Dbt) -> None:
    for day in WEEK[:2]:
        shop.deliver(day, lines(day))
        dbt.run(ds=day)
    for day in WEEK[:2]:
        shop.deliver(day, [])
        dbt.run(ds=day)
        shop.assert_marts_equal_a_fresh_build()


@pytest.mark.parametrize(
    ("ordered", "refunded"),
    [("2024-02-25", "2024-02-26"), ("2024-02-29", "2024-03-01"), ("2024-12-29", "2024-12-30")],
    ids=["next week", "next month", "next ISO year"],
)
def test_a_refund_counts_in_its_own_period(
    shop: KnownShop, dbt: Dbt, ordered: str, refunded: str
) -> None:
    shop.deliver(ordered, [order("sale", ordered)])
    shop.deliver(refunded, [order("refund", refunded, status="refunded")])
    for day in (refunded, ordered):
        dbt.run(ds=day)
    shop.assert_marts_equal_a_fresh_build()


@pytest.mark.parametrize("history_first", [True, False])
def test_the_week_shared_by_history_and_increments(
    shop: KnownShop, dbt: Dbt, history_first: bool
) -> None:
    history = [line for day in WEEK[:4] for line in lines(day, seed=5)]

    def load_history() -> None:
        shop.deliver(WEEK[0], history, WEEK[3])
        dbt.run(ds_start=WEEK[0], ds_end=WEEK[3])

    def load_increments() -> None:
        for day in WEEK[3:]:
            shop.deliver(day, lines(day))
            dbt.run(ds=day)

    first, second = (
        (load_history, load_increments) if history_first else (load_increments, load_history)
    )
    first()
    second()
    shop.assert_marts_equal_a_fresh_build()
    # A later and shorter report of the history loses nothing.
    shop.deliver(WEEK[1], [line for day in WEEK[1:3] for line in lines(day, seed=6)], WEEK[2])
    dbt.run(ds_start=WEEK[1], ds_end=WEEK[2])
    shop.assert_marts_equal_a_fresh_build()
