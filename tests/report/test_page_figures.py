"""Every figure on the page equals one by SQL from `mart.f_sales`, for all items and for one."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
import shops
from screens import Look, Screen
from support import Warehouse

pytestmark = pytest.mark.browser

WEEKS = [f"2024-W0{number}" for number in range(5, 10)]
COMPLETE = WEEKS[1:4]
KNOWN = "2024-W09"
ALL = "All items"
KEFIR, KEFIR_ID = "Кефир 3%", 1

_LINES = """
    with lines as (
        select f_sales.*, left(week_of_year_iso, 8) as week,
            date_id between 20240226 and 20240302 as known
        from mart.f_sales inner join mart.d_calendar using (date_id)
    ),
    orders as (select * from lines where not refund_flag)
"""


def share(part: int | Decimal, whole: int | Decimal) -> str:
    if not whole:
        return "–"
    return tenths(float(part) / float(whole)) + "%"


def tenths(value: float) -> str:
    return str((Decimal(repr(value)) * 100).quantize(Decimal("0.1"), ROUND_HALF_UP))


def interval(k: int, n: int) -> str:
    """Return Wilson's interval: the shares p from which k of n is exactly 1.96 deviations away."""
    z2, p = NormalDist().inv_cdf(0.975) ** 2, k / n
    # (p - x)² = z² x (1 - x) / n, as a x² + b x + c = 0
    a, b, c = 1 + z2 / n, -2 * p - z2 / n, p * p
    root = (b * b - 4 * a * c) ** 0.5
    return f"{tenths(max(0.0, (-b - root) / (2 * a)))}–{tenths(min(1.0, (-b + root) / (2 * a)))}%"


def whole(value: int | Decimal) -> str:
    return f"{Decimal(value).quantize(Decimal(1), ROUND_HALF_UP):,}"


class Truth:
    """The figures by SQL, for the shop (`item` is None) or for one item."""

    def __init__(self, warehouse: Warehouse, item: int | None) -> None:
        self._warehouse = warehouse
        self._where = "true" if item is None else f"item_id = {item}"

    def row(self, query: str, **values: Any) -> Any:
        ((*row,),) = self._warehouse.query(_LINES + query.replace("ITEM", self._where), values)
        return row

    def week(self, week: str) -> tuple[int, int, Decimal, Decimal]:
        """Return customers, first-time customers, revenue, and revenue of first-time customers."""
        return tuple(
            self.row(
                """
                select count(distinct customer_id),
                    count(distinct customer_id) filter (where first = week),
                    coalesce(sum(payment_amount), 0),
                    coalesce(sum(payment_amount) filter (where first = week), 0)
                from (
                    select *, min(week) over (partition by customer_id) as first
                    from orders where ITEM
                ) as those where week = %(week)s
                """,
                week=week,
            )
        )

    def back(self, firsts: Sequence[str], horizon: int, *, by_item: bool = False) -> Any:
        """Return the customers with a first order in one of the weeks, and how many were back."""
        n = k = 0
        for first in firsts:
            following = WEEKS[WEEKS.index(first) + 1 :][:horizon]
            of_first = self.row(
                f"""
                select count(*), count(*) filter (where back) from (
                    select min(week) as first, bool_or(week = any(%(following)s)) as back
                    from orders where ITEM
                    group by customer_id {", item_id" if by_item else ""}
                ) as customers where first = %(first)s
                """,
                first=first,
                following=following,
            )
            n, k = n + of_first[0], k + of_first[1]
        return n, k

    def twice(self, weeks: Sequence[str]) -> Any:
        """Return customers of an item in a week, and those with more than one order of it."""
        return self.row(
            """
            select count(*), count(*) filter (where number > 1) from (
                select count(*) as number from orders
                where ITEM and week = any(%(those)s) group by week, item_id, customer_id
            ) as customers
            """,
            those=list(weeks),
        )

    def money(self, weeks: Sequence[str]) -> Any:
        """Return revenue, revenue of the days with known refunds, and the refunded amount."""
        return self.row(
            """
            select coalesce(sum(payment_amount) filter (where not refund_flag), 0),
                coalesce(sum(payment_amount) filter (where not refund_flag and known), 0),
                coalesce(-sum(payment_amount) filter (where refund_flag), 0)
            from lines where ITEM and week = any(%(those)s)
            """,
            those=list(weeks),
        )


@pytest.fixture(scope="module")
def demo(demo_warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "report.html"
    path.write_text(shops.render(), encoding="utf-8")
    return path


# All weeks and the first horizon; one first week and a longer one.
CHOICES = [(WEEKS, COMPLETE[:2], 1), (COMPLETE, COMPLETE[:1], 2)]


@pytest.fixture(
    params=[(item, *choice) for item in (None, KEFIR_ID) for choice in CHOICES], ids=str
)
def chosen(
    request: pytest.FixtureRequest, demo_warehouse: Warehouse, demo: Path, look: Look
) -> tuple[Screen, Truth, Truth, list[str], list[str], int]:
    item, weeks, firsts, horizon = request.param
    screen = look(demo)
    labels = {w: w if w in COMPLETE else f"{w} ({3 if w == WEEKS[0] else 6}/7)" for w in WEEKS}
    screen.choose(
        item=ALL if item is None else KEFIR,
        within=f"{horizon} week{'s' if horizon > 1 else ''}",
        **{"from": labels[weeks[0]], "to": labels[weeks[-1]]},
    )
    return screen, Truth(demo_warehouse, item), Truth(demo_warehouse, None), weeks, firsts, horizon


def test_every_figure_on_the_page_is_what_sql_says(
    chosen: tuple[Screen, Truth, Truth, list[str], list[str], int], demo_warehouse: Warehouse
) -> None:
    screen, truth, shop, weeks, firsts, horizon = chosen
    assert_tiles(screen, truth, weeks, firsts, horizon)
    assert_weeks(screen, truth, weeks)
    assert_items(screen, shop, demo_warehouse, weeks, firsts, horizon)
    assert_cohorts(screen, truth, weeks)
    assert_refunds(screen, shop, demo_warehouse, weeks)


def assert_tiles(
    screen: Screen, truth: Truth, weeks: list[str], firsts: list[str], horizon: int
) -> None:
    n, k = truth.back(firsts, horizon)
    back = screen.text("#tile-back")
    assert f"{share(k, n)} n = {whole(n)} · 95%: {interval(k, n)}" in back
    assert all(week in back for week in (firsts[0], firsts[-1]))
    customers, new, *_ = truth.week("2024-W08")
    assert f"{whole(customers)} 2024-W08" in screen.text("#tile-customers")
    assert f"{whole(new)} for the first time, {whole(customers - new)} again" in screen.text(
        "#tile-customers"
    )
    before = screen.text("#tile-before")
    assert share(customers - new, customers) in before
    assert f"n = {whole(customers)} · 95%: {interval(customers - new, customers)}" in before
    _, known, refunded = truth.money(weeks)
    tile = screen.text("#tile-refunded")
    if KNOWN in weeks:
        assert f"{whole(refunded)} {share(refunded, known)} of the revenue" in tile
        assert "2024-W09 (6/7 days)" in tile
    else:
        assert "–" in tile
        assert "unknown, not zero" in tile


def assert_weeks(screen: Screen, truth: Truth, weeks: list[str]) -> None:
    screen.page.locator("#fold").click()
    expected = []
    for week in weeks:
        customers, new, revenue, of_new = truth.week(week)
        rated = week in COMPLETE
        expected.append(
            [
                week,
                {"2024-W05": "3/7", "2024-W09": "6/7"}.get(week, "7/7"),
                *(whole(n) for n in (customers, new, customers - new)),
                share(customers - new, customers) if rated else "–",
                *(whole(n) for n in (revenue, of_new, revenue - of_new)),
                share(revenue - of_new, revenue) if rated else "–",
            ]
        )
        bar = screen.page.locator(f"#chart-customers g[aria-label^='{week}']")
        label = bar.get_attribute("aria-label") or ""
        assert f"{whole(customers)}, of them {whole(new)} first order" in label
        assert (bar.get_attribute("class") == "incomplete") is not rated
    assert screen.table("#weeks-table table")[1:] == expected


def assert_items(
    screen: Screen,
    shop: Truth,
    warehouse: Warehouse,
    weeks: list[str],
    firsts: list[str],
    horizon: int,
) -> None:
    def cells(truth: Truth, *, by_item: bool = False) -> list[str]:
        n, k = truth.back(firsts, horizon, by_item=by_item)
        of, twice = truth.twice([week for week in weeks if week in COMPLETE])
        revenue, known, refunded = truth.money(weeks)
        money = [whole(refunded), share(refunded, known)] if KNOWN in weeks else ["unknown"] * 2
        return [
            f"{share(k, n)}|{interval(k, n)}",
            "",
            whole(n),
            f"{share(twice, of)}|n = {whole(of)}",
            whole(revenue),
            *money,
        ]

    expected = {
        name: cells(Truth(warehouse, item))
        for item, name in warehouse.query("select item_id, item_name from mart.d_item")
    }
    _, *rows, mean = screen.table("#items-table")
    assert mean == [ALL, *cells(shop, by_item=True)]
    assert {row[0].split(". ", 1)[1]: row[1:] for row in rows} == expected
    rates = [float(row[1].split("%")[0]) for row in rows]
    assert rates == sorted(rates, reverse=True)
    assert [row[0].split(".")[0] for row in rows] == [str(n + 1) for n in range(12)]


def assert_cohorts(screen: Screen, truth: Truth, weeks: list[str]) -> None:
    head, *rows, total = screen.table("#cohorts-table")
    lags = len(head) - 2
    assert head == ["First order in", "n", *(f"+{n + 1}" for n in range(lags))]
    assert lags == 2
    for week, row in zip(weeks, rows, strict=True):
        assert row[0].split("|")[0] == week
        assert row[1].split("|")[0] == whole(truth.week(week)[1])
        for lag in range(1, lags + 1):
            whole_span = week in COMPLETE and COMPLETE.index(week) + lag < len(COMPLETE)
            n, k = truth.back([week], lag)
            assert row[1 + lag] == (f"{share(k, n)}|{whole(k)}" if whole_span else "")
    for lag in range(1, lags + 1):
        n, k = truth.back(COMPLETE[: 3 - lag], lag)
        assert total[1 + lag] == f"{share(k, n)}|{whole(k)}"


def assert_refunds(screen: Screen, shop: Truth, warehouse: Warehouse, weeks: list[str]) -> None:
    def cells(truth: Truth) -> list[str]:
        _, known, refunded = truth.money([KNOWN])
        amount = f"|{whole(refunded)}" if refunded else ""
        shown = [f"{share(refunded, known)}{amount}" if week == KNOWN else "?" for week in weeks]
        return [*shown, f"{share(refunded, known)}|{whole(refunded)}" if KNOWN in weeks else "?"]

    _, *rows, total = screen.table("#refunds-table")
    assert total == [ALL, *cells(shop)]
    assert {name: row for name, *row in rows} == {
        name: cells(Truth(warehouse, item))
        for item, name in warehouse.query("select item_id, item_name from mart.d_item")
    }


def test_the_page_says_where_its_figures_come_from(
    demo_warehouse: Warehouse, demo: Path, look: Look
) -> None:
    screen = look(demo)
    received, loaded, repeated, rejected = demo_warehouse.query(
        "select sum(received), sum(loaded), sum(repeated), sum(rejected) from staging.delivery"
    )[0]
    assert screen.text("#trust-lines dd") == (
        f"{received:,} = {loaded:,} loaded + {repeated:,} repeated + {rejected:,} rejected"
    )
    assert screen.text("#trust-deliveries dd") == "7 increments, 1 history"
    assert screen.text("#trust-days dd") == "30 of 30, Feb 2, 2024 to Mar 2, 2024"
    assert screen.text("#trust-refunds dd") == "6 of 30 days shown"
    assert "Data to 2024-W09 (6/7 days)" in screen.text("#meta")
    assert "page made 2024-03-03 12:30 UTC" in screen.text("#meta")


def test_the_page_finds_the_item_that_brings_customers_back(
    demo_warehouse: Warehouse, demo: Path, look: Look
) -> None:
    """In the stand-in one item wins the most followers, and the page has to name it."""
    n, k = Truth(demo_warehouse, KEFIR_ID).back(COMPLETE[:2], 1)
    answer = look(demo).text("#answer")
    assert answer.startswith(
        f"{KEFIR} brings most customers back: {share(k, n)} of {n} customers ordered it again"
        f" in a later week, within 1 week (95% interval {interval(k, n)})."
    )
    lowest = float(interval(k, n).split("–")[0])
    rest = Truth(demo_warehouse, None).back(COMPLETE[:2], 1, by_item=True)
    assert lowest > 1.5 * 100 * rest[1] / rest[0]
