"""Generated deliveries have the properties of real ones, and are repeatable."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from shop_client import Clock, ShopClient, distinct, download, rows

from shop_api.generated import CITIES, ITEMS, GeneratedSource

COLUMNS = (
    "id,uniq_id,date_time,city_id,city_name,customer_id,first_name,last_name,"
    "item_id,item_name,quantity,payment_amount"
)
FIRST_INCREMENT, LATER_INCREMENT = "2024-02-25", "2024-02-29"
FIRST_LINE_OF_SEED_7 = (
    "1,3dc0f299a076448436e56250a9f8bb0e,2024-02-02T00:00:00,2,Вол"
    "огда,1602,Борис,Рябов,0,Кефир 1%,2,180"
)
HISTORY_DAYS = [date(2024, 2, 2) + timedelta(days=n) for n in range(23)]
INCREMENT_DAYS = [date(2024, 2, 25) + timedelta(days=n) for n in range(7)]

Row = dict[str, str]


@pytest.fixture(scope="module")
def history(shop: ShopClient) -> list[Row]:
    return rows(shop.history())


@pytest.fixture(scope="module")
def increments(shop: ShopClient) -> dict[str, list[Row]]:
    report_id = shop.report()["report_id"]
    return {str(day): rows(shop.orders(str(day), report_id)) for day in INCREMENT_DAYS}


@pytest.fixture(scope="module")
def lines(history: list[Row], increments: dict[str, list[Row]]) -> list[Row]:
    """Return all distinct order lines of a report and its increments."""
    return [line for part in (history, *increments.values()) for line in distinct(part)]


def test_only_later_increments_have_a_status(
    history: list[Row], increments: dict[str, list[Row]]
) -> None:
    columns = COLUMNS.split(",")
    assert list(history[0]) == columns
    assert list(increments[FIRST_INCREMENT][0]) == columns
    later = [part for day, part in increments.items() if day != FIRST_INCREMENT]
    assert len(later) == 6
    for part in later:
        assert list(part[0]) == [*columns, "status"]


def test_files_are_utf_8_with_one_newline_a_line(start_shop: Any) -> None:
    with_lf = start_shop(GeneratedSource(orders_per_day=10)).orders(LATER_INCREMENT)
    with_crlf = start_shop(GeneratedSource(orders_per_day=10, newline="\r\n")).orders(
        LATER_INCREMENT
    )
    assert b"\r" not in with_lf
    assert with_lf.endswith(b"\n")
    assert with_crlf == with_lf.replace(b"\n", b"\r\n")
    assert b'"' not in with_lf
    assert "Казань" in with_lf.decode("utf-8")


def test_ids_restart_at_1_in_every_file(
    history: list[Row], increments: dict[str, list[Row]]
) -> None:
    for part in (history, *increments.values()):
        assert [row["id"] for row in part] == [str(n) for n in range(1, len(part) + 1)]


def test_every_file_holds_its_days_in_order(
    history: list[Row], increments: dict[str, list[Row]]
) -> None:
    def days(part: list[Row]) -> list[str]:
        return [first for first, second in pairwise([*(r["date_time"] for r in part), ""])
                if first != second]  # fmt: skip

    assert days(history) == [f"{day}T00:00:00" for day in HISTORY_DAYS]
    for day, part in increments.items():
        assert days(part) == [f"{day}T00:00:00"]


def test_a_day_has_some_200_lines_and_a_tail_that_repeats_them_in_a_cycle(
    history: list[Row], increments: dict[str, list[Row]]
) -> None:
    by_day = defaultdict(list)
    for row in (*history, *(row for part in increments.values() for row in part)):
        by_day[row["date_time"]].append(row["uniq_id"])
    assert len(by_day) == 30
    for uniq_ids in by_day.values():
        count = len(set(uniq_ids))
        first, tail = uniq_ids[:count], uniq_ids[count:]
        assert 150 <= count <= 250
        assert len(set(first)) == count
        assert 800 <= len(uniq_ids) <= 1190
        assert 0.47 <= len(tail) / len(uniq_ids) <= 0.92
        cycle = first[first.index(tail[0]) :]
        assert tail == [cycle[n % len(cycle)] for n in range(len(tail))]
    starts = {uniq_ids.index(uniq_ids[len(set(uniq_ids))]) for uniq_ids in by_day.values()}
    assert len(starts) > 10, "the tail starts at another place each day"


@pytest.mark.parametrize("count", [1, 3, 40, 2000])
def test_the_repeated_share_holds_for_small_and_large_shops(start_shop: Any, count: int) -> None:
    part = rows(start_shop(GeneratedSource(orders_per_day=count)).orders(LATER_INCREMENT))
    assert 0.75 * count <= len(distinct(part)) <= 1.25 * count
    assert 0.47 <= 1 - len(distinct(part)) / len(part) <= 0.92


def test_uniq_id_is_the_key_over_all_days(lines: list[Row]) -> None:
    uniq_ids = [line["uniq_id"] for line in lines]
    assert len(set(uniq_ids)) == len(uniq_ids)
    assert all(len(text) == 32 and set(text) <= set("0123456789abcdef") for text in uniq_ids)


def test_no_two_lines_agree_in_everything_but_uniq_id(start_shop: Any) -> None:
    # So many lines that some would repeat by chance if that were allowed.
    lines = distinct(rows(start_shop(GeneratedSource(orders_per_day=5000)).orders(LATER_INCREMENT)))
    seen = Counter(
        tuple(v for k, v in line.items() if k not in ("id", "uniq_id", "status")) for line in lines
    )
    assert seen.most_common(1)[0][1] == 1


def test_payment_is_quantity_times_the_fixed_price(shop: ShopClient, lines: list[Row]) -> None:
    prices = dict(
        line.split(",")
        for line in download(shop.report()["s3_path"]["price_log"]).decode().splitlines()
    )
    names = {line["item_id"]: line["item_name"] for line in lines}
    assert [names[str(n)] for n in range(12)] == list(prices)
    assert {line["quantity"] for line in lines} == set("12345")
    for line in lines:
        assert line["item_name"] == names[line["item_id"]]
        price = int(prices[line["item_name"]])
        assert int(line["payment_amount"]) == int(line["quantity"]) * price > 0


def test_some_names_exceed_the_old_columns(lines: list[Row]) -> None:
    assert max(len(line["item_name"]) for line in lines) > 50
    assert max(len(line["last_name"]) for line in lines) > 15


def test_three_cities_each_with_one_name(lines: list[Row]) -> None:
    cities = {(line["city_id"], line["city_name"]) for line in lines}
    assert cities == {(str(n), name) for n, name in enumerate(CITIES)}
    assert len(set(CITIES)) == 3
    assert len({name for name, _ in ITEMS}) == 12


def test_a_customer_keeps_the_name_and_changes_the_city(lines: list[Row]) -> None:
    names, cities = defaultdict(set), defaultdict(set)
    for line in lines:
        names[line["customer_id"]].add((line["first_name"], line["last_name"]))
        cities[line["customer_id"]].add(line["city_id"])
    assert 1500 < len(names) <= 2000
    assert max(map(len, names.values())) == 1
    assert sum(len(of) > 1 for of in cities.values()) > len(cities) / 2


def test_one_line_in_twenty_is_a_refund_with_a_key_of_its_own(
    increments: dict[str, list[Row]],
) -> None:
    part = [
        row for day, some in increments.items() if day != FIRST_INCREMENT for row in distinct(some)
    ]
    statuses = Counter(row["status"] for row in part)
    assert set(statuses) == {"shipped", "refunded"}
    assert 0.02 < statuses["refunded"] / len(part) < 0.09
    for row in part:
        assert int(row["quantity"]) > 0
        assert int(row["payment_amount"]) > 0


@pytest.mark.parametrize(("count", "least", "most"), [(200, 0.02, 0.08), (10, 0.005, 0.25)])
def test_some_customers_come_back_for_an_item_within_a_week(
    start_shop: Any, count: int, least: float, most: float
) -> None:
    history = rows(start_shop(GeneratedSource(orders_per_day=count)).history())
    pairs: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for line in distinct(history):
        year, week, _ = date.fromisoformat(line["date_time"][:10]).isocalendar()
        pairs[f"{year}-W{week:02d}"][line["customer_id"], line["item_id"]] += 1
    assert set(pairs) == {"2024-W05", "2024-W06", "2024-W07", "2024-W08"}
    for name in ("2024-W06", "2024-W07", "2024-W08"):
        returning = sum(orders > 1 for orders in pairs[name].values())
        assert least < returning / len(pairs[name]) < most


def test_items_differ_in_who_comes_back_in_a_later_week(start_shop: Any) -> None:
    weeks: dict[tuple[str, str], set[int]] = defaultdict(set)
    for line in distinct(rows(start_shop(GeneratedSource()).history())):
        week = date.fromisoformat(line["date_time"][:10]).isocalendar().week
        weeks[line["item_id"], line["customer_id"]].add(week)
    # First orders in weeks 6 and 7, which are complete and followed by a complete week.
    firsts, back = Counter[str](), Counter[str]()
    for (item, _), ordered in weeks.items():
        if (first := min(ordered)) in (6, 7):
            firsts[item] += 1
            back[item] += first + 1 in ordered
    shares = sorted(back[item] / firsts[item] for item in firsts)
    assert min(firsts.values()) > 100
    assert shares[0] < 0.06 and shares[-1] > 0.25
    assert len([share for share in shares if 0.08 < share < 0.25]) >= 4


def test_asking_twice_gives_the_same_bytes(shop: ShopClient, start_shop: Any) -> None:
    again = start_shop(GeneratedSource())
    assert shop.history() == again.history()
    for day in (FIRST_INCREMENT, LATER_INCREMENT):
        assert shop.orders(day) == again.orders(day)


def test_the_orders_of_a_seed_never_change(start_shop: Any) -> None:
    """Python versions give the same orders: the expected line was recorded once."""
    history = rows(start_shop(GeneratedSource(seed=7)).history())
    assert ",".join(history[0].values()) == FIRST_LINE_OF_SEED_7


def test_another_seed_gives_other_orders(shop: ShopClient, start_shop: Any) -> None:
    other = start_shop(GeneratedSource(seed=2)).orders(LATER_INCREMENT)
    assert uniq_ids(other).isdisjoint(uniq_ids(shop.orders(LATER_INCREMENT)))
    assert facts(other) != facts(shop.orders(LATER_INCREMENT))


def test_two_days_have_different_orders(shop: ShopClient) -> None:
    assert facts(shop.orders("2024-02-28")) != facts(shop.orders("2024-02-29"))


@pytest.mark.parametrize("today", [date(2024, 3, 4), date(2024, 3, 7)])
def test_a_day_holds_the_same_lines_in_history_and_increment(
    shop: ShopClient, start_shop: Any, today: date
) -> None:
    later = rows(start_shop(today=today).history())
    of_history = [row for row in later if row["date_time"] == "2024-02-25T00:00:00"]
    of_increment = rows(shop.orders("2024-02-25"))
    assert [without_id(row) for row in of_history] == [without_id(row) for row in of_increment]


def test_a_day_keeps_its_lines_when_its_status_appears(shop: ShopClient, start_shop: Any) -> None:
    first = rows(start_shop(today=date(2024, 3, 7)).orders("2024-02-29"))
    later = rows(shop.orders("2024-02-29"))
    assert "status" not in first[0]
    assert [without_id(row) for row in first] == [without_id(row) for row in later]


def test_fresh_orders_differ_from_report_to_report(start_shop: Any) -> None:
    clock = Clock()
    shop = start_shop(GeneratedSource(fresh_orders=True, orders_per_day=20), clock=clock)
    first = shop.report()
    clock.move(milliseconds=1)
    second = shop.report()
    parts = [shop.orders(LATER_INCREMENT, data["report_id"]) for data in (first, second)]
    assert uniq_ids(parts[0]).isdisjoint(uniq_ids(parts[1]))
    assert facts(parts[0]) != facts(parts[1])
    assert shop.orders(LATER_INCREMENT, first["report_id"]) == parts[0]
    histories = [download(data["s3_path"]["user_order_log"]) for data in (first, second)]
    assert uniq_ids(histories[0]).isdisjoint(uniq_ids(histories[1]))


def test_a_shop_without_orders_sends_the_header_alone(start_shop: Any) -> None:
    shop = start_shop(GeneratedSource(orders_per_day=0))
    assert shop.orders(LATER_INCREMENT).decode() == f"{COLUMNS},status\n"
    assert shop.history().decode() == f"{COLUMNS}\n"


@pytest.mark.parametrize("count", [-1, 5001])
def test_an_impossible_number_of_orders_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="allowed: 0 to 5000"):
        GeneratedSource(orders_per_day=count)


def test_the_other_files_have_the_shape_of_the_samples(shop: ShopClient) -> None:
    data = shop.report()
    increment = shop.increment(data["report_id"], LATER_INCREMENT)["data"]["s3_path"]

    prices = download(increment["price_log_inc"])
    assert prices == download(data["s3_path"]["price_log"])
    assert prices.decode().splitlines() == [f"{name},{price}" for name, price in ITEMS]

    for address, days in ((increment, 1), (data["s3_path"], 23)):
        suffix = "_inc" if days == 1 else ""
        activities = rows(download(address[f"user_activity_log{suffix}"]))
        assert ",".join(activities[0]) == "id,uniq_id,date_time,action_id,customer_id,quantity"
        assert [row["id"] for row in activities] == [str(n + 1) for n in range(11 * days)]
        assert len({row["uniq_id"] for row in activities}) == len(activities)
        assert {row["action_id"] for row in activities} <= set("0123")

        research = rows(download(address[f"customer_research{suffix}"]))
        assert ",".join(research[0]) == "date_id,category_id,geo_id,sales_qty,sales_amt"
        assert len(research) == 30 * days
        keys = {(row["date_id"], row["category_id"], row["geo_id"]) for row in research}
        assert len(keys) == len(research)
        for row in research:
            assert int(row["sales_amt"]) == int(row["sales_qty"]) * 1012
        assert len({row["date_id"] for row in research}) == days


def uniq_ids(content: bytes) -> set[str]:
    return {row["uniq_id"] for row in rows(content)}


def facts(content: bytes) -> list[tuple[str, str, str]]:
    """Return the orders without their keys."""
    return [
        (row["customer_id"], row["item_id"], row["quantity"]) for row in distinct(rows(content))
    ]


def without_id(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("id", "status")}
