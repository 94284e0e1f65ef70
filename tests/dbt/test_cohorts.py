"""Restated past days move first orders, and with them the cohorts."""

import copy
import random
from collections.abc import Iterator

import pytest
from known_shop import KnownShop, lines
from support import Dbt, database, deliverer, order

from local.postgres import EmbeddedPostgres

# The Mondays and Tuesdays of four weeks.
DAYS = [f"2024-02-{day:02}" for day in (5, 6, 12, 13, 19, 20, 26, 27)]


def plain(day: str, *customers: int) -> list[dict[str, object]]:
    return [order(f"{day} {number}", day, customer_id=number) for number in customers]


@pytest.fixture(scope="module")
def four_weeks_once(
    server: EmbeddedPostgres,
    template: str,
    dbt_parsed: Dbt,
    tmp_path_factory: pytest.TempPathFactory,
) -> KnownShop:
    with database(server, template, keep_as="four_weeks") as warehouse:
        shop = KnownShop(warehouse, deliverer(tmp_path_factory.mktemp("orders")))
        for number, day in enumerate(DAYS):
            shop.deliver(day, plain(day, *range(number // 3, 4)))
        dbt_parsed.run()
        shop.assert_marts_equal_a_fresh_build()
    return shop


@pytest.fixture
def four_weeks(server: EmbeddedPostgres, four_weeks_once: KnownShop) -> Iterator[KnownShop]:
    """A shop: customer 0 orders on the first three days, 1 on six, 2 and 3 on all eight."""
    with database(server, "four_weeks") as warehouse:
        shop = copy.deepcopy(four_weeks_once)
        shop.warehouse = warehouse
        yield shop


@pytest.mark.parametrize(
    ("day", "customers"),
    [(DAYS[0], [1, 2, 3]), (DAYS[2], [0, 3, 9]), (DAYS[0], []), (DAYS[5], []), (DAYS[-1], [0, 9])],
    ids=["first order later", "first order earlier", "first day emptied", "emptied", "last day"],
)
def test_a_restated_day_moves_all_that_follows(
    four_weeks: KnownShop, dbt_parsed: Dbt, day: str, customers: list[int]
) -> None:
    four_weeks.deliver(day, plain(day, *customers))
    dbt_parsed.run(ds=day)
    four_weeks.assert_marts_equal_a_fresh_build()


def test_restatements_in_random_order(shop: KnownShop, dbt: Dbt) -> None:
    chance = random.Random(2024)
    for day in DAYS:
        shop.deliver(day, lines(day, count=4))
    dbt.run()
    for number in range(1, 6):
        day = chance.choice(DAYS)
        shop.deliver(day, lines(day, seed=number, count=chance.randrange(5)))
        dbt.run(ds=day)
        shop.assert_marts_equal_a_fresh_build()


def test_weeks_and_months_side_by_side(shop: KnownShop, dbt: Dbt) -> None:
    # One customer orders in January, twice in the week that ends in February, and in March.
    for day in ("2024-01-10", "2024-01-30", "2024-02-01", "2024-03-05"):
        shop.deliver(day, plain(day, 1))
    periods = ["weekly", "monthly"]
    for first, last in (("2024-01-01", "2024-01-31"), ("2024-02-01", "2024-03-31")):
        dbt.run(ds_start=first, ds_end=last, retention_periods=periods)
    cohorts = (
        "select first_period_id, period_id, customers_count, first_returns_count, orders_count"
        " from mart.{} order by period_name, period_id"
    )
    for mart in ("f_customer_cohort", "f_item_cohort"):
        assert shop.warehouse.query(cohorts.format(mart)) == [
            ("2024-01", "2024-01", 1, 0, 2),
            ("2024-01", "2024-02", 1, 1, 1),
            ("2024-01", "2024-03", 1, 0, 1),
            ("2024-W02", "2024-W02", 1, 0, 1),
            ("2024-W02", "2024-W05", 1, 1, 2),
            ("2024-W02", "2024-W10", 1, 0, 1),
        ]
    shop.deliver("2024-01-10", [])
    dbt.run(ds="2024-01-10", retention_periods=periods)
    assert shop.warehouse.query(cohorts.format("f_customer_cohort")) == [
        ("2024-01", "2024-01", 1, 0, 1),
        ("2024-01", "2024-02", 1, 1, 1),
        ("2024-01", "2024-03", 1, 0, 1),
        ("2024-W05", "2024-W05", 1, 0, 2),
        ("2024-W05", "2024-W10", 1, 1, 1),
    ]


def test_an_item_nobody_orders_any_more_goes_from_its_dimension(shop: KnownShop, dbt: Dbt) -> None:
    shop.deliver(DAYS[0], [order("a", DAYS[0], item_id=7), order("b", DAYS[0])])
    dbt.run(ds=DAYS[0])
    shop.deliver(DAYS[0], [order("b", DAYS[0])])
    dbt.run(ds=DAYS[0])
    assert shop.warehouse.query("select item_id from mart.d_item") == [(1,)]
    shop.assert_marts_equal_a_fresh_build()
