"""Shops in every state that the page has to show, landed for real and built by dbt."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support import Dbt, Warehouse, deliverer, order

from loaders.order_file import REQUIRED_COLUMNS
from report import marts, page
from shop_api.generated import GeneratedSource
from shop_api.window import Window

MADE_AT = datetime(2024, 3, 3, 12, 30, tzinfo=UTC)
MONDAY = date(2024, 1, 1)
HOSTILE_NAMES = (
    "</script><script>window.hacked = 1</script>",
    '<img src=x onerror="window.hacked = 2">',
    "=HYPERLINK('http://example.invalid';'click')",
    "{{ 7 * 7 }} ${7 * 7} `7` \\u003c -->",
    "A" * 90,
    "&lt;b&gt; & \"quoted\", 'single'",
)

Lines = list[dict[str, Any]]


class Shop:
    """A shop that delivers to one warehouse, day by day."""

    def __init__(self, warehouse: Warehouse, dbt: Dbt, folder: Path) -> None:
        self.warehouse, self._dbt = warehouse, dbt
        self._deliver = deliverer(folder)

    def day(self, day: date, lines: Lines, *, known: bool = True) -> None:
        """Deliver one day; `known`: with a status column."""
        if not known:
            lines = [{k: v for k, v in line.items() if k != "status"} for line in lines]
        self._deliver(str(day), lines, allow_empty=True)

    def history(self, first: date, last: date, lines: Lines) -> None:
        self._deliver(str(first), lines, str(last))

    def build(self) -> None:
        """Build the marts."""
        self._dbt.run()


def lines(day: date, count: int, *, items: int = 4, customers: int = 60, **values: Any) -> Lines:
    """Return orders of a day, a tenth of them refunds; items differ in returning customers."""
    chance = random.Random(str(day))
    return [
        order(
            f"{day} {number}",
            str(day),
            item_id=(item := chance.randrange(items)),
            item_name=f"Item {item}",
            customer_id=chance.randrange(customers // (1 + item)),
            payment_amount=chance.randrange(100, 90_000) / 100,
            status=chance.choices(["shipped", "refunded"], [9, 1])[0],
            **values,
        )
        for number in range(count)
    ]


def demo(shop: Shop, today: date = date(2024, 3, 3), **options: Any) -> None:
    """Land what `make run` lands: the stand-in's history and a week of increments."""
    source, task = GeneratedSource(**options), SimpleNamespace(report_id="report")
    window = Window(today)

    def of(day: date) -> Lines:
        return [
            dict(
                zip(
                    [*REQUIRED_COLUMNS, "status"],
                    line.text(with_status=True).split(","),
                    strict=True,
                )
            )
            for line in source._day_lines(task, day)  # type: ignore[arg-type]
        ]

    plain = [
        {name: value for name, value in line.items() if name != "status"}
        for day in window.history_days()
        for line in of(day)
    ]
    shop.history(window.history_start, window.history_end, plain)
    for day in window.increment_days():
        shop.day(day, of(day), known=day != window.first_increment)
    shop.build()


def year(shop: Shop) -> None:
    """Half a year with restatements, two days of unknown refunds, and a missing week."""
    for number in range(26 * 7 - 2):
        day = MONDAY + timedelta(days=number)
        if number // 7 != 9:
            shop.day(day, lines(day, 40, items=8, customers=900), known=number not in (30, 31))
    shop.build()
    shop.warehouse.query(_RESTATEMENTS)


_RESTATEMENTS = """
    insert into mart.restatement_log
    select '2024-07-01T10:00:00Z'::timestamptz + n * interval '1 hour', 'weekly',
        '2024-W0' || 1 + n / 5, case when n % 3 > 0 then n % 3 end, 'returning_customers_count',
        n, n + 1.5, 100 + n
    from generate_series(0, 24) as n
"""


def empty(shop: Shop) -> None:
    """No day was ever delivered."""
    shop.build()


def emptied(shop: Shop) -> None:
    """One day was delivered, without an order."""
    shop.day(MONDAY, [])
    shop.build()


def one_week(shop: Shop) -> None:
    """One complete week."""
    for number in range(7):
        shop.day(day := MONDAY + timedelta(days=number), lines(day, 30))
    shop.build()


def no_complete_week(shop: Shop) -> None:
    """Parts of two weeks were delivered."""
    for number in range(3, 10):
        shop.day(day := MONDAY + timedelta(days=number), lines(day, 30))
    shop.build()


def refunds_unknown(shop: Shop) -> None:
    """Three weeks whose deliveries have no status."""
    for number in range(21):
        day = MONDAY + timedelta(days=number)
        shop.day(day, lines(day, 30), known=False)
    shop.build()


def hostile(shop: Shop) -> None:
    """Names that look like markup, script or formula; an item without a name."""
    for number in range(21):
        day = MONDAY + timedelta(days=number)
        named = lines(day, 60, items=7, customers=400)
        for line in named:
            line["item_name"] = (*HOSTILE_NAMES, " ")[line["item_id"]]
        shop.day(day, named)
    shop.build()


# 300 items in 104 weeks, each followed for ten. Written into the marts directly, because landing so
# many order lines would take minutes.
_AT_THE_CAP = """
    insert into mart.d_item (item_id, item_name)
    select n, 'Item with a name of usual length ' || n from generate_series(1, 300) as n;
    create temporary view weeks as
    select n, to_char(date '2022-01-03' + 7 * n, 'IYYY"-W"IW') as period_id
    from generate_series(0, 103) as n;
    insert into mart.f_customer_retention (new_customers_count, returning_customers_count,
        refunded_customer_count, period_name, period_id, item_id, new_customers_revenue,
        returning_customers_revenue, customers_refunded, refunded_quantity, refunded_amount)
    select 900 + (item_id * n) %% 300, 50, 20, 'weekly', period_id, item_id, 90000.50 + item_id,
        5000, 20, 20, 1999.99
    from weeks, mart.d_item;
    insert into mart.f_item_cohort (period_name, first_period_id, period_id, item_id,
        customers_count, first_returns_count, orders_count, revenue)
    select 'weekly', first.period_id, later.period_id, item_id, 500 - 30 * (later.n - first.n),
        case when later.n > first.n then 12 + (item_id + later.n) %% 7 else 0 end, 500, 45000.25
    from weeks as first
    inner join weeks as later on later.n between first.n and first.n + 12, mart.d_item;
    insert into mart.f_customer_cohort (period_name, first_period_id, period_id, customers_count,
        first_returns_count, orders_count, revenue)
    select 'weekly', first.period_id, later.period_id, 90000, 4000, 90000, 9000000
    from weeks as first inner join weeks as later on later.n between first.n and first.n + 12;
    insert into mart.f_shop_retention (period_name, period_id, customers_count,
        repeat_customers_count, refunded_customers_count, orders_count, refunds_count, revenue,
        refunded_amount)
    select 'weekly', period_id, 200000, 10000, 900, 300000, 900, 28500000, 200000 from weeks;
    insert into mart.f_delivery_day (date_id, kind, loaded_at, refunds_known, delivery_id,
        received_count, loaded_count, repeated_count, rejected_count)
    select to_char(date '2022-01-03' + n, 'YYYYMMDD')::integer, 'increment', now(), true, n, 1000,
        900, 90, 10
    from generate_series(0, 727) as n;
    insert into mart.d_city (city_id, city_name) values (1, 'City');
    insert into mart.d_customer (customer_id, first_name, last_name, city_id)
    values (1, 'A', 'B', 1);
    insert into mart.f_sales (date_id, item_id, customer_id, city_id, quantity, payment_amount,
        refund_flag, uniq_id)
    select date_id, item_id, 1, 1, case when refund then -1 else 1 end,
        case when refund then -10 - item_id %% 90 else 1000 end, refund,
        item_id || case when refund then ' refund' else '' end
    from mart.f_delivery_day, mart.d_item, (values (true), (false)) as kinds (refund)
    where date_id %% 7 = 0;
"""


def at_the_cap(shop: Shop) -> None:
    """More items and weeks than a page holds."""
    shop.build()
    shop.warehouse.query(_AT_THE_CAP, {})


STATES: dict[str, Callable[[Shop], None]] = {
    state.__name__: state
    for state in (
        demo,
        year,
        empty,
        emptied,
        one_week,
        no_complete_week,
        refunds_unknown,
        hostile,
        at_the_cap,
    )
}


def render() -> str:
    """Return the page of the warehouse that PG* name."""
    return page.render(marts.read(), MADE_AT)
