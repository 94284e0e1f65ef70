"""Dimensions by window: a run reads few lines, and still the latest order line counts."""

from datetime import date

import pytest
from known_shop import WEEK, KnownShop, lines
from support import Dbt, order

NO_ORDER_LINE = date(1, 1, 1)
DIMENSIONS = ("d_item", "d_city", "d_customer")


def items(shop: KnownShop) -> list[tuple[object, ...]]:
    return shop.warehouse.query("select item_id, item_name, latest_order_date from mart.d_item")


@pytest.fixture
def week(shop: KnownShop, dbt: Dbt) -> KnownShop:
    """A shop with a week of orders in the marts."""
    for day in WEEK:
        shop.deliver(day, lines(day))
    dbt.run()
    return shop


def test_a_row_falls_back_to_the_latest_line_that_is_left(shop: KnownShop, dbt: Dbt) -> None:
    for day in WEEK[:3]:
        shop.deliver(day, [order("a", day, item_name=f"name of {day}")])
        dbt.run(ds=day)
    assert items(shop) == [(1, f"name of {WEEK[2]}", date.fromisoformat(WEEK[2]))]
    # Only the middle day is run again. The latest line still counts.
    shop.deliver(WEEK[1], [order("b", WEEK[1], item_name="corrected")])
    dbt.run(ds=WEEK[1])
    shop.assert_marts_equal_a_fresh_build()
    shop.deliver(WEEK[2], [])
    dbt.run(ds=WEEK[2])
    shop.assert_marts_equal_a_fresh_build()
    assert items(shop) == [(1, "corrected", date.fromisoformat(WEEK[1]))]


def test_within_a_range_the_latest_day_counts(shop: KnownShop, dbt: Dbt) -> None:
    for day in WEEK[:3]:
        shop.deliver(day, [order("a", day, item_name=f"name of {day}")])
    dbt.run(ds_start=WEEK[0], ds_end=WEEK[2])
    shop.deliver(WEEK[2], [order("a", WEEK[2], item_id=2)])
    # The item has lines in the range, but none on the day of its row.
    dbt.run(ds_start=WEEK[0], ds_end=WEEK[2])
    shop.assert_marts_equal_a_fresh_build()


def test_ids_stay_until_their_last_sale_is_gone(shop: KnownShop, dbt: Dbt) -> None:
    only = {"item_id": 9, "city_id": 9, "customer_id": 9, "item_name": "only"}
    for day in WEEK[:2]:
        shop.deliver(day, [order("a", day, **only)])
        dbt.run(ds=day)
    for day in WEEK[:2]:
        shop.deliver(day, [])
    # Sales of the other day still refer to them.
    dbt.run(ds=WEEK[1])
    assert items(shop) == [(9, "only", NO_ORDER_LINE)]
    dbt.run(ds=WEEK[0])
    shop.assert_marts_equal_a_fresh_build()
    assert items(shop) == []


def test_an_id_that_comes_back_before_it_is_pruned(shop: KnownShop, dbt: Dbt) -> None:
    for day in WEEK[:2]:
        shop.deliver(day, [order("a", day)])
        dbt.run(ds=day)
        shop.deliver(day, [])
    dbt.run(ds=WEEK[1])
    assert items(shop) == [(1, "Кефир 1%", NO_ORDER_LINE)]
    shop.deliver(WEEK[0], [order("b", WEEK[0], item_name="back")])
    dbt.run(ds=WEEK[0])
    shop.assert_marts_equal_a_fresh_build()


@pytest.mark.parametrize("first_command", ["with a window", "empty"])
def test_a_warehouse_from_before_the_column(week: KnownShop, dbt: Dbt, first_command: str) -> None:
    for mart in DIMENSIONS:
        week.warehouse.query(f"alter table mart.{mart} drop column latest_order_date")
    # Delivered before the new version, run after it.
    week.deliver(WEEK[-1], [order("a", WEEK[-1])])
    if first_command == "empty":
        dbt.run("--empty")
    dbt.run(ds=WEEK[-1])
    week.assert_marts_equal_a_fresh_build()
    indexes = "select count(*) from pg_indexes where indexdef like '%%(latest_order_date)'"
    assert week.warehouse.value(indexes) == 1


def test_rows_that_something_else_wrote_are_looked_up(week: KnownShop, dbt: Dbt) -> None:
    """For instance an old pipeline that had the warehouse back for a while."""
    for mart in DIMENSIONS:
        week.warehouse.query(f"update mart.{mart} set latest_order_date = null")
    week.warehouse.query("update mart.d_item set item_name = 'of an old line'")
    week.warehouse.query("insert into mart.d_city (city_id, city_name) values (77, 'nowhere')")
    dbt.run(ds=WEEK[0])
    week.assert_marts_equal_a_fresh_build()


def test_a_run_without_window_mends_what_is_wrong(week: KnownShop, dbt: Dbt) -> None:
    warehouse = week.warehouse
    warehouse.query("update mart.d_item set item_name = 'wrong'")
    warehouse.query("update mart.d_customer set latest_order_date = '2049-12-31'")
    warehouse.query("update mart.d_city set latest_order_date = '1970-01-01'")
    dbt.run()
    week.assert_marts_equal_a_fresh_build()


def test_a_run_again_writes_no_row(week: KnownShop, dbt: Dbt) -> None:
    versions = {
        mart: f"select xmin::text, ctid::text from mart.{mart} order by 2" for mart in DIMENSIONS
    }
    before = {mart: week.warehouse.query(query) for mart, query in versions.items()}
    dbt.run(ds=WEEK[-1])
    dbt.run()
    assert {mart: week.warehouse.query(query) for mart, query in versions.items()} == before


def test_only_a_run_without_window_looks_at_the_calendar(week: KnownShop, dbt: Dbt) -> None:
    warehouse = week.warehouse
    count = "select count(*) from mart.d_calendar"
    whole = warehouse.value(count)
    warehouse.query("delete from mart.d_calendar where date_id = 20490101")
    dbt.run(ds=WEEK[0])
    assert warehouse.value(count) == whole - 1
    dbt.run()
    assert warehouse.value(count) == whole
