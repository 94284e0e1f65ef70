"""Changes of published figures are logged, and nothing else is."""

from collections.abc import Iterator

import pytest
from known_shop import WEEK, KnownShop
from support import Dbt, database, deliverer, order

from local.postgres import EmbeddedPostgres

LOG = (
    "select period_id, item_id, measure, before_value::int, after_value::int, delivery_id"
    " from mart.restatement_log order by period_id, item_id nulls first, measure"
)
DAY = WEEK[3]


def sale(uniq_id: str, **values: object) -> dict[str, object]:
    return order(uniq_id, DAY, **{"quantity": 1, "payment_amount": 100, **values})


@pytest.fixture(scope="module")
def published_template(
    server: EmbeddedPostgres,
    template: str,
    dbt_parsed: Dbt,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    with database(server, template, keep_as="published_template") as warehouse:
        shop = KnownShop(warehouse, deliverer(tmp_path_factory.mktemp("orders")))
        # All days of a week and the day after it, with order lines on one day.
        shop.deliver(WEEK[0], [sale("a")], "2024-02-26")
        dbt_parsed.run()
        assert warehouse.query(LOG) == []
    return "published_template"


@pytest.fixture
def published(
    server: EmbeddedPostgres, published_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KnownShop]:
    """A shop whose first week is complete and published."""
    with database(server, published_template) as warehouse:
        yield KnownShop(warehouse, deliverer(tmp_path_factory.mktemp("orders")))


def last_delivery(shop: KnownShop) -> int:
    number: int = shop.warehouse.value("select max(delivery_id) from staging.delivery")
    return number


def test_a_changed_figure_is_logged_once(published: KnownShop, dbt_parsed: Dbt) -> None:
    published.deliver(DAY, [sale("a", payment_amount=120)])
    dbt_parsed.run(ds=DAY)
    number = last_delivery(published)
    logged = [
        ("2024-W08", None, "revenue", 100, 120, number),
        ("2024-W08", 1, "new_customers_revenue", 100, 120, number),
    ]
    assert published.warehouse.query(LOG) == logged
    # Nothing changes, so no row is logged.
    dbt_parsed.run()
    dbt_parsed.run("--empty")
    published.deliver(DAY, [sale("a", payment_amount=120)])
    dbt_parsed.run(ds=DAY)
    assert published.warehouse.query(LOG) == logged


def test_rows_that_come_and_go_are_logged_against_zero(
    published: KnownShop, dbt_parsed: Dbt
) -> None:
    published.deliver(DAY, [sale("b", item_id=2, status="refunded")])
    dbt_parsed.run(ds=DAY)
    number = last_delivery(published)
    assert published.warehouse.query(LOG) == [
        ("2024-W08", item_id, measure, before, after, number)
        for item_id, measure, before, after in (
            (None, "customers_count", 1, 0),
            (None, "orders_count", 1, 0),
            (None, "refunded_amount", 0, 100),
            (None, "refunded_customers_count", 0, 1),
            (None, "refunds_count", 0, 1),
            (None, "revenue", 100, 0),
            (1, "new_customers_count", 1, 0),
            (1, "new_customers_revenue", 100, 0),
            (2, "customers_refunded", 0, 1),
            (2, "refunded_amount", 0, 100),
            (2, "refunded_customer_count", 0, 1),
            (2, "refunded_quantity", 0, 1),
        )
    ]


def test_an_emptied_week_is_logged(published: KnownShop, dbt_parsed: Dbt) -> None:
    published.deliver(DAY, [])
    dbt_parsed.run(ds=DAY)
    assert published.warehouse.marts()["mart.f_customer_retention"] == []
    assert [row[1:5] for row in published.warehouse.query(LOG)] == [
        (None, "customers_count", 1, 0),
        (None, "orders_count", 1, 0),
        (None, "revenue", 100, 0),
        (1, "new_customers_count", 1, 0),
        (1, "new_customers_revenue", 100, 0),
    ]


def test_a_week_that_was_not_complete_is_not_logged(published: KnownShop, dbt_parsed: Dbt) -> None:
    # The week of this day has one delivered day and lacks six.
    for amount in (1, 2):
        published.deliver("2024-02-26", [order("b", "2024-02-26", payment_amount=amount)])
        dbt_parsed.run(ds="2024-02-26")
    assert published.warehouse.query(LOG) == []


def test_the_day_that_completes_a_week_is_no_restatement(shop: KnownShop, dbt: Dbt) -> None:
    shop.deliver(WEEK[0], [order(day, day) for day in WEEK[:-1]], WEEK[-2])
    dbt.run()
    shop.deliver(WEEK[-1], [order("last", WEEK[-1])])
    dbt.run(ds=WEEK[-1])
    assert shop.warehouse.query(LOG) == []
    shop.deliver(WEEK[-1], [])
    dbt.run(ds=WEEK[-1])
    assert [row[2:5] for row in shop.warehouse.query(LOG)] == [
        ("orders_count", 7, 6),
        ("revenue", 1260, 1080),
        ("returning_customers_revenue", 1260, 1080),
    ]


def test_months_asked_for_later_are_no_news(shop: KnownShop, dbt: Dbt) -> None:
    shop.deliver("2024-02-01", [order("a", "2024-02-01")], "2024-02-29")
    dbt.run()
    dbt.run(retention_periods=["weekly", "monthly"])
    assert shop.warehouse.query(LOG) == []
    shop.deliver("2024-02-01", [], "2024-02-29")
    dbt.run(ds="2024-02-01", retention_periods=["weekly", "monthly"])
    # The week begins in January, and no day of January was delivered.
    assert {row[0] for row in shop.warehouse.query(LOG)} == {"2024-02"}


@pytest.mark.parametrize("mart", ["f_customer_retention", "f_shop_retention"])
def test_a_change_that_is_not_committed_is_not_logged(
    published: KnownShop, dbt_parsed: Dbt, mart: str
) -> None:
    published.warehouse.query(
        "create function die() returns trigger language plpgsql as"
        " $$ begin raise 'died'; end $$;"
        f" create constraint trigger die after insert on mart.{mart}"
        " deferrable initially deferred for each row execute function die()"
    )
    published.deliver(DAY, [sale("a", payment_amount=120)])
    assert not dbt_parsed.invoke("run", "--select", mart, ds=DAY).success
    assert published.warehouse.query(LOG) == []
    published.warehouse.query("drop function die cascade")
    dbt_parsed.run(ds=DAY)
    assert len(published.warehouse.query(LOG)) == 2
