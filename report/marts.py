"""Reads from the marts, in one snapshot, what the page shows.

Marts (PostgreSQL) -> `Marts` -> `report.page`. Only the marts count customers. This module and the
browser add up only money, and customers of different first weeks.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg2.extensions import cursor as Cursor

from loaders.warehouse import connect, explained

# The limits of a page, so that it stays below a megabyte and is drawn within half a second.
MOST_ITEMS = 50
MOST_WEEKS = 53
MOST_RESTATEMENTS = 20
# Number of weeks followed after the first one; the longest horizon on the page is shorter.
MOST_LAGS = 12

_DAYS = """
    select date_id, refunds_known, loaded_at from mart.f_delivery_day order by date_id
"""

_DELIVERIES = """
    select
        count(*) filter (where kind = 'increment'),
        count(*) filter (where kind = 'history'),
        coalesce(sum(received_count), 0),
        coalesce(sum(loaded_count), 0),
        coalesce(sum(repeated_count), 0),
        coalesce(sum(rejected_count), 0)
    from (
        select distinct delivery_id, kind, received_count, loaded_count, repeated_count,
            rejected_count
        from mart.f_delivery_day
    ) as deliveries
"""

_PERIODS = (
    "select min(period_id), max(period_id) from mart.f_shop_retention where period_name = 'weekly'"
)

_SHOP = """
    select period_id, customers_count, revenue, repeat_customers_count, refunded_customers_count
    from mart.f_shop_retention
    where period_name = 'weekly' and period_id between %(first)s and %(last)s
"""

_ITEM_COUNT = (
    "select count(distinct item_id) from mart.f_customer_retention where period_name = 'weekly'"
)

_LARGEST_ITEMS = """
    select item_id, item_name
    from mart.f_customer_retention
    left join mart.d_item using (item_id)
    where period_name = 'weekly' and period_id between %(first)s and %(last)s
    group by item_id, item_name
    order by sum(new_customers_revenue + returning_customers_revenue) desc, item_id
    limit %(most_items)s
"""

_ITEMS = """
    select
        item_id,
        period_id,
        new_customers_count + returning_customers_count,
        new_customers_revenue + returning_customers_revenue,
        returning_customers_count,
        refunded_customer_count
    from mart.f_customer_retention
    where period_name = 'weekly' and period_id between %(first)s and %(last)s
"""

# The cohorts of the weeks on the page, as many weeks as the page follows.
_SHOP_COHORTS = """
    select first_period_id, period_id, customers_count, first_returns_count, revenue
    from unnest(%(first_periods)s::varchar[], %(periods)s::varchar[])
        as pair (first_period_id, period_id)
    inner join mart.f_customer_cohort using (first_period_id, period_id)
    where period_name = 'weekly'
"""

_ITEM_COHORTS = """
    select item_id, first_period_id, period_id, customers_count, first_returns_count, revenue
    from unnest(%(first_periods)s::varchar[], %(periods)s::varchar[])
        as pair (first_period_id, period_id)
    inner join mart.f_item_cohort using (first_period_id, period_id)
    where period_name = 'weekly' and item_id = any(%(items)s::integer[])
"""

_ALL_ITEMS_COHORTS = """
    select
        first_period_id,
        period_id,
        sum(customers_count),
        sum(first_returns_count),
        sum(revenue)
    from unnest(%(first_periods)s::varchar[], %(periods)s::varchar[])
        as pair (first_period_id, period_id)
    inner join mart.f_item_cohort using (first_period_id, period_id)
    where period_name = 'weekly'
    group by first_period_id, period_id
"""

# Money of the days with known refunds, so that the share of a partly known week is right.
_KNOWN_MONEY = """
    select
        item_id,
        left(week_of_year_iso, 8),
        coalesce(sum(payment_amount) filter (where not refund_flag), 0),
        coalesce(-sum(payment_amount) filter (where refund_flag), 0)
    from mart.f_sales
    inner join mart.f_delivery_day using (date_id)
    inner join mart.d_calendar using (date_id)
    where refunds_known and date_id between %(first_day)s and %(last_day)s
    group by 1, 2
"""

_RESTATEMENTS = """
    select logged_at, period_id, item_id, item_name, measure, before_value, after_value, delivery_id
    from mart.restatement_log
    left join mart.d_item using (item_id)
    where period_name = 'weekly'
    order by logged_at desc, period_id desc, item_id nulls first, measure
    limit %(most_restatements)s
"""


@dataclass(frozen=True)
class Week:
    """An ISO week: its id like 2024-W09, its Monday, and how many of its days were delivered."""

    period_id: str
    monday: date
    delivered_days: int
    known_days: int


@dataclass
class Series:
    """The figures of the shop, of one item or of all items, one per week; money in hundredths.

    `back[c][k]` counts customers with first week `c` and second week `c + k + 1`.
    """

    customers: list[int]
    first_customers: list[int]
    revenue: list[int]
    first_revenue: list[int]
    repeat_customers: list[int]
    refunded_customers: list[int]
    known_revenue: list[int]
    refunded: list[int]
    back: list[list[int]]

    @classmethod
    def of(cls, weeks: int) -> "Series":
        """Return a series of zeros for this many weeks."""
        a, b, c, d, e, f, g, h = ([0] * weeks for _ in range(8))
        back = [[0] * min(MOST_LAGS, weeks - 1 - week) for week in range(weeks)]
        return cls(a, b, c, d, e, f, g, h, back)


@dataclass(frozen=True)
class Item:
    """An item with its figures; the name is None if the shop gave none."""

    item_id: int
    name: str | None
    series: Series


@dataclass(frozen=True)
class Restatement:
    """A published figure that a later delivery changed; of the whole shop if item is None."""

    logged_at: datetime
    period_id: str
    item_id: int | None
    item_name: str | None
    measure: str
    before: Decimal | None
    after: Decimal | None
    delivery_id: int | None


@dataclass(frozen=True)
class Deliveries:
    """The deliveries whose days the marts hold, each counted once."""

    increments: int
    histories: int
    received: int
    loaded: int
    repeated: int
    rejected: int


@dataclass(frozen=True)
class Marts:
    """Everything the page shows.

    `all_items` adds up all items, including those not shown: a customer counts once per item.
    """

    weeks: list[Week]
    shop: Series
    all_items: Series
    items: list[Item]
    item_count: int
    week_count: int
    first_day: date | None
    last_day: date | None
    delivered_days: int
    loaded_at: datetime | None
    deliveries: Deliveries
    restatements: list[Restatement] = field(default_factory=list)


def read() -> Marts:
    """Read the marts as the account that libpq's PG* variables name.

    Raises:
        TransientError: if the warehouse cannot be reached.
        TerminalError: if the marts are not there, or the account may not read them.
    """
    with explained(), closing(connect("report")) as connection:
        # One snapshot, so that the page never shows half of a run that commits meanwhile.
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            return _read(cursor)


def _read(cursor: Cursor) -> Marts:
    days = [(_day(date_id), known, at) for date_id, known, at in _rows(cursor, _DAYS)]
    all_weeks = _weeks(days, next(_rows(cursor, _PERIODS)))
    weeks = all_weeks[-MOST_WEEKS:]
    number = {week.period_id: index for index, week in enumerate(weeks)}
    parameters: dict[str, Any] = {
        "most_items": MOST_ITEMS,
        "most_restatements": MOST_RESTATEMENTS,
        "first": weeks[0].period_id if weeks else "",
        "last": weeks[-1].period_id if weeks else "",
    }
    shop, all_items = Series.of(len(weeks)), Series.of(len(weeks))
    items = {
        item_id: Item(item_id, (name or "").strip() or None, Series.of(len(weeks)))
        for item_id, name in _rows(cursor, _LARGEST_ITEMS, parameters)
    }

    for period, customers, revenue, repeat, refunded in _rows(cursor, _SHOP, parameters):
        _add_week(shop, number[period], customers, revenue, repeat, refunded)
    for item_id, period, customers, revenue, repeat, refunded in _rows(cursor, _ITEMS, parameters):
        of_item = [items[item_id].series] if item_id in items else []
        for series in (all_items, *of_item):
            _add_week(series, number[period], customers, revenue, repeat, refunded)

    pairs = [
        (first.period_id, period.period_id)
        for index, first in enumerate(weeks)
        for period in weeks[index : index + 1 + MOST_LAGS]
    ]
    cohorts = {
        "first_periods": [first for first, _ in pairs],
        "periods": [period for _, period in pairs],
        "items": list(items),
    }
    for cohort in _rows(cursor, _SHOP_COHORTS, cohorts):
        _add_cohort(shop, number, *cohort)
    for cohort in _rows(cursor, _ALL_ITEMS_COHORTS, cohorts):
        _add_cohort(all_items, number, *cohort)
    for item_id, *cohort in _rows(cursor, _ITEM_COHORTS, cohorts):
        _add_cohort(items[item_id].series, number, *cohort)

    if weeks:
        span = {
            "first_day": _date_id(weeks[0].monday),
            "last_day": _date_id(weeks[-1].monday + timedelta(days=6)),
        }
        for item_id, period, revenue, refunded in _rows(cursor, _KNOWN_MONEY, span):
            of_item = [items[item_id].series] if item_id in items else []
            for series in (shop, all_items, *of_item):
                series.known_revenue[number[period]] += _hundredths(revenue)
                series.refunded[number[period]] += _hundredths(refunded)

    return Marts(
        weeks=weeks,
        shop=shop,
        all_items=all_items,
        items=list(items.values()),
        item_count=next(_rows(cursor, _ITEM_COUNT))[0],
        week_count=len(all_weeks),
        first_day=days[0][0] if days else None,
        last_day=days[-1][0] if days else None,
        delivered_days=len(days),
        loaded_at=max((at for *_, at in days), default=None),
        deliveries=Deliveries(*(int(count) for count in next(_rows(cursor, _DELIVERIES)))),
        restatements=[Restatement(*line) for line in _rows(cursor, _RESTATEMENTS, parameters)],
    )


def _rows(
    cursor: Cursor, statement: str, parameters: Mapping[str, Any] | None = None
) -> Iterator[Any]:
    cursor.execute(statement, parameters)
    yield from cursor.fetchall()


def _add_week(
    series: Series, week: int, customers: int, revenue: Decimal, repeat: int, refunded: int
) -> None:
    series.customers[week] += customers
    series.revenue[week] += _hundredths(revenue)
    series.repeat_customers[week] += repeat
    series.refunded_customers[week] += refunded


def _add_cohort(
    series: Series,
    number: Mapping[str, int],
    first_period: str,
    period: str,
    customers: Decimal,
    first_returns: Decimal,
    revenue: Decimal,
) -> None:
    first, lag = number[first_period], number[period] - number[first_period]
    if lag == 0:
        series.first_customers[first] = int(customers)
        series.first_revenue[first] = _hundredths(revenue)
    else:
        series.back[first][lag - 1] = int(first_returns)


def _weeks(
    days: list[tuple[date, bool, datetime]], periods: tuple[str | None, str | None]
) -> list[Week]:
    """Return every week from the first to the last with a day or a figure, without gaps."""
    delivered: dict[date, list[bool]] = defaultdict(list)
    for day, known, _ in days:
        delivered[day - timedelta(days=day.weekday())].append(known)
    ends = [*delivered, *(date.fromisoformat(f"{period}-1") for period in periods if period)]
    if not ends:
        return []
    first, last = min(ends), max(ends)
    mondays = (first + timedelta(weeks=week) for week in range((last - first).days // 7 + 1))
    return [
        Week(f"{monday:%G-W%V}", monday, len(delivered[monday]), sum(delivered[monday]))
        for monday in mondays
    ]


def _day(date_id: int) -> date:
    return date(date_id // 10_000, date_id // 100 % 100, date_id % 100)


def _date_id(day: date) -> int:
    return int(f"{day:%Y%m%d}")


def _hundredths(amount: Decimal) -> int:
    return int(amount * 100)
