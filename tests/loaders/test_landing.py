"""Landing deliveries: which days are replaced, left alone and refused, and what is recorded."""

from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from support import Deliver, Warehouse, order

from loaders import warehouse as warehouse_module
from loaders.errors import DeliveryRefused, TerminalError, TransientError
from loaders.landing import MAX_ITEM_DAY_AMOUNT
from loaders.warehouse import clock, connect

UNIQ_IDS = "select array_agg(uniq_id::text order by date_time, uniq_id) from staging.user_order_log"
LEDGER = (
    "select kind, outcome, received, loaded, repeated, rejected, superseded"
    " from staging.delivery order by delivery_id"
)


def test_a_delivery_replaces_its_days_whole(warehouse: Warehouse, deliver: Deliver) -> None:
    deliver("2024-02-24", [order("a", "2024-02-24"), order("b", "2024-02-25")], "2024-02-25")
    deliver("2024-02-24", [order("c", "2024-02-24"), order("d", "2024-02-25")], "2024-02-25")
    assert warehouse.value(UNIQ_IDS) == ["c", "d"]


def test_repetitions_count_once_and_contradictions_are_rejected(
    warehouse: Warehouse, deliver: Deliver
) -> None:
    day = "2024-02-25"
    lines = [order(f"line {number}", day) for number in range(40)]
    contradiction = order("line 3", day, quantity=7)
    result = deliver(day, [*lines, lines[3], contradiction, contradiction])
    assert (result.counts.loaded, result.counts.repeated, result.counts.rejected) == (40, 1, 2)
    assert warehouse.query("select line_number, reason, raw_line from staging.quarantine") == [
        (
            number,
            "conflict",
            f"{number - 1},line 3,2024-02-25T00:00:00,1,Казань,100,Вера,Орлова,1,Кефир 1%,7,180",
        )
        for number in (43, 44)
    ]


def test_a_refused_delivery_keeps_its_contradictions_too(
    warehouse: Warehouse, deliver: Deliver
) -> None:
    day = "2024-02-25"
    deliver(day, [order("a", day, quantity=9)])
    # This does not contradict the rows in staging, because the delivery would replace them.
    lines = [
        order("a", day),
        order("a", day, quantity=7),
        order("a", day),
        order("b", "2024-02-30"),
    ]
    with pytest.raises(DeliveryRefused, match=r"2 of 4 lines rejected.* line 3 \(conflict\)"):
        deliver(day, lines)
    assert warehouse.query(LEDGER)[-1] == ("increment", "refused", 4, 1, 1, 2, 0)
    assert warehouse.query(
        "select line_number, reason, left(raw_line, 14) from staging.quarantine order by 1"
    ) == [(3, "conflict", "2,a,2024-02-25"), (5, "date_time", "4,b,2024-02-30")]
    assert warehouse.query("select quantity from staging.user_order_log") == [(9,)]


def test_the_same_uniq_id_on_two_days_is_kept_on_both(
    warehouse: Warehouse, deliver: Deliver
) -> None:
    deliver("2024-02-24", [order("a", "2024-02-24"), order("a", "2024-02-25")], "2024-02-25")
    assert warehouse.value(UNIQ_IDS) == ["a", "a"]


@pytest.mark.parametrize("increment_first", [True, False])
def test_history_leaves_alone_what_an_increment_delivered(
    warehouse: Warehouse, deliver: Deliver, increment_first: bool
) -> None:
    def increment() -> None:
        deliver("2024-02-25", [order("increment", "2024-02-25", status="refunded")])

    def history() -> None:
        lines = [order("history", "2024-02-24"), order("older", "2024-02-25")]
        deliver("2024-02-24", lines, "2024-02-25")

    for load in (increment, history) if increment_first else (history, increment):
        load()
    history()
    assert warehouse.value(UNIQ_IDS) == ["history", "increment"]
    assert warehouse.query(LEDGER)[-1] == ("history", "accepted", 1, 1, 0, 0, 1)


def test_history_does_not_fill_a_day_that_an_increment_delivered_empty(
    warehouse: Warehouse, deliver: Deliver
) -> None:
    deliver("2024-02-25", [])
    deliver("2024-02-25", [order("a", "2024-02-25"), order("b", "2024-02-26")], "2024-02-26")
    assert warehouse.value(UNIQ_IDS) == ["b"]


def test_a_later_and_shorter_history_loses_nothing(warehouse: Warehouse, deliver: Deliver) -> None:
    deliver("2024-02-01", [order("a", "2024-02-01"), order("b", "2024-02-02")], "2024-02-02")
    deliver("2024-02-02", [order("c", "2024-02-02"), order("d", "2024-02-03")], "2024-02-03")
    assert warehouse.value(UNIQ_IDS) == ["a", "c", "d"]


def test_a_load_that_outlives_its_retry_changes_nothing(
    warehouse: Warehouse, deliver: Deliver
) -> None:
    began_first = clock()
    deliver("2024-02-25", [order("retry", "2024-02-25")])
    result = deliver("2024-02-25", [order("zombie", "2024-02-25")], started_at=began_first)
    assert result.counts.superseded == 1
    assert warehouse.value(UNIQ_IDS) == ["retry"]
    # If it counted as later than the retry, it would decide the day.
    later = clock() + timedelta(seconds=1)
    deliver("2024-02-25", [order("zombie", "2024-02-25")], started_at=later)
    assert warehouse.value(UNIQ_IDS) == ["zombie"]


@pytest.mark.parametrize("last_day", [None, "2024-02-26"])
def test_a_delivery_that_would_empty_a_day_is_refused_until_that_is_meant(
    warehouse: Warehouse, deliver: Deliver, last_day: str | None
) -> None:
    other_day = [order("b", last_day)] if last_day else []
    deliver("2024-02-25", [order("a", "2024-02-25"), *other_day], last_day)
    with pytest.raises(DeliveryRefused, match=r"empty 2024-02-25, which has .* --allow-empty"):
        deliver("2024-02-25", other_day, last_day)
    assert "a" in warehouse.value(UNIQ_IDS)
    assert [row[1] for row in warehouse.query(LEDGER)] == ["accepted", "refused"]
    deliver("2024-02-25", other_day, last_day, allow_empty=True)
    assert "a" not in (warehouse.value(UNIQ_IDS) or [])


def test_too_many_rejected_lines_refuse_the_delivery_and_keep_what_was_there(
    warehouse: Warehouse, deliver: Deliver
) -> None:
    day = "2024-02-25"
    deliver(day, [order("before", day)])
    lines = [order(f"line {number}", day) for number in range(19)]
    bad = order("bad", day, quantity=0)
    deliver(day, [*lines, bad])  # 5 % is not more than 5 %
    assert len(warehouse.value(UNIQ_IDS)) == 19
    with pytest.raises(DeliveryRefused) as refused:
        deliver(day, [bad, *lines[:-1]])
    assert "2 of 20" not in str(refused.value)
    assert "1 of 19 lines rejected, more than 5%" in str(refused.value)
    assert "the first is line 2 (quantity)" in str(refused.value)
    assert "line 18" in warehouse.value(UNIQ_IDS)
    assert warehouse.query(LEDGER)[-1] == ("increment", "refused", 19, 18, 0, 1, 0)
    assert warehouse.value("select count(*) from staging.quarantine") == 2
    deliver(day, [bad, *lines[:-1]], max_rejected_share=0.06)
    assert "line 18" not in warehouse.value(UNIQ_IDS)


def test_bad_lines_count_where_their_day_is_loaded_and_nowhere_else(
    warehouse: Warehouse, deliver: Deliver
) -> None:
    held, new = "2024-02-25", "2024-02-24"
    deliver(held, [order("increment", held)])
    many = [order(f"line {number}", held) for number in range(38)]
    deliver(new, [order("new", new), *many, order("bad", held, quantity=0)], held)
    assert warehouse.value(UNIQ_IDS) == ["new", "increment"]
    assert warehouse.query(LEDGER)[-1] == ("history", "accepted", 1, 1, 0, 0, 39)
    # Good lines of days that are left alone do not lower the share of the loaded day.
    with pytest.raises(DeliveryRefused, match="1 of 2 lines rejected"):
        deliver(new, [order("good", new), order("bad", new, quantity=0), *many], held)
    # A line whose day cannot be read counts.
    with pytest.raises(DeliveryRefused, match="1 of 2 lines rejected"):
        deliver(new, [order("good", new), order("bad", "2024-02-30"), *many], held)


def test_a_dry_run_tells_everything_and_changes_nothing(
    warehouse: Warehouse, deliver: Deliver
) -> None:
    day = "2024-02-25"
    deliver(day, [order("before", day)])
    before = warehouse.marts(), warehouse.query(LEDGER)
    result = deliver(day, [order("after", day), order("after", day)], dry_run=True)
    assert "received 2 = loaded 1 + repeated 1 + rejected 0" in result.describe()
    with pytest.raises(DeliveryRefused):
        deliver(day, [], dry_run=True)
    assert (warehouse.marts(), warehouse.query(LEDGER)) == before


def test_the_summary_groups_by_date_and_status(warehouse: Warehouse, deliver: Deliver) -> None:
    day = "2024-02-25"
    result = deliver(
        day,
        [
            order("a", day, status="shipped", quantity=2, payment_amount="10.50"),
            order("b", day, status="shipped", quantity=3, payment_amount="0"),
            order("c", day, status="refunded", quantity=1, payment_amount="7"),
        ],
    )
    printed = [line.split() for line in result.describe().splitlines()[-3:]]
    assert printed == [
        ["date", "status", "rows", "quantity", "payment_amount"],
        [day, "refunded", "1", "1", "7.00"],
        [day, "shipped", "2", "5", "10.50"],
    ]


def test_the_ledger_tells_where_a_day_came_from(warehouse: Warehouse, deliver: Deliver) -> None:
    day = "2024-02-25"
    deliver(day, [order("a", day, payment_amount="10.50")], sha256="f" * 64, source_file="x.csv")
    assert warehouse.query(
        "select report_id, increment_id, source_file, sha256, first_day::text, last_day::text,"
        " quantity::int, payment_amount::text, started_at < finished_at"
        " from staging.delivery_day inner join staging.delivery using (delivery_id)"
        " where day = %s",
        (day,),
    ) == [("report", f"increment of {day}", "x.csv", "f" * 64, day, day, 2, "10.50", True)]


def test_the_ledger_tells_whether_refunds_are_known(warehouse: Warehouse, deliver: Deliver) -> None:
    deliver("2024-02-23", [order("a", "2024-02-23")], "2024-02-24")
    deliver("2024-02-25", [order("b", "2024-02-25", status="")])
    with pytest.raises(DeliveryRefused):
        deliver("2024-02-26", [order("c", "2024-02-26", status="lost")])
    with pytest.raises(DeliveryRefused, match="would empty"):
        deliver("2024-02-25", [])
    known = "select refunds_known from staging.delivery order by delivery_id"
    assert warehouse.query(known) == [(False,), (True,), (True,), (False,)]


def test_the_result_tells_the_days_it_replaced(warehouse: Warehouse, deliver: Deliver) -> None:
    def days(*delivery: Any, **options: Any) -> tuple[list[str], str, str]:
        result = deliver(*delivery, **options)
        return [str(day) for day in result.days], str(result.first_day), str(result.last_day)

    first, second, third = (f"2024-02-{day}" for day in (23, 24, 25))
    began = clock()
    assert days(third, [order("a", third)]) == ([third], third, third)
    lines = [order(f"{number}", day) for number, day in enumerate((first, second, third))]
    assert days(first, lines, third) == ([first, second], first, second)
    # No day was replaced. Building the marts of the delivery's days does no harm.
    assert days(first, lines, third, started_at=began) == ([], first, third)


def test_no_period_of_the_marts_can_hold_more_than_its_type() -> None:
    assert 31 * MAX_ITEM_DAY_AMOUNT < 10**10 <= 31 * (MAX_ITEM_DAY_AMOUNT + Decimal("0.01"))


def amounts(day: str, *amounts: str) -> list[dict[str, Any]]:
    return [
        order(f"{number}", day, payment_amount=amount, status="refunded" if number % 2 else "")
        for number, amount in enumerate(amounts)
    ]


MOST = ("99999999.99", "99999999.99", "99999999.99")


def test_a_day_of_an_item_that_the_marts_cannot_hold_is_refused(
    warehouse: Warehouse, deliver: Deliver
) -> None:
    first, day = "2024-02-24", "2024-02-25"
    deliver(day, [order("before", day)])
    other = [order(f"other {n}", day, item_id=2, payment_amount=MOST[0]) for n in range(3)]
    with pytest.raises(DeliveryRefused) as refused:
        deliver(day, [*other, *amounts(day, *MOST, "22580645.20")])
    assert str(refused.value).splitlines()[0] == (
        "increment 2024-02-25 (orders.csv): the lines of item 1 on 2024-02-25 total"
        " 322,580,645.17, more than the 322,580,645.16 that the marts can hold of one item and day"
    )
    assert warehouse.value(UNIQ_IDS) == ["before"]
    assert [row[1] for row in warehouse.query(LEDGER)] == ["accepted", "refused"]
    # Exactly the limit, and the limit on the day before.
    deliver(day, [*other, *amounts(day, *MOST, "22580645.19")])
    deliver(first, amounts(first, *MOST, "22580645.19"))
    assert len(warehouse.value(UNIQ_IDS)) == 11


def test_the_first_of_many_items_that_the_marts_cannot_hold_is_named(
    warehouse: Warehouse, deliver: Deliver
) -> None:
    days = ("2024-02-24", "2024-02-25")
    lines = [
        order(f"{item} {number}", day, item_id=item, payment_amount=MOST[0])
        for day in days
        for item in range(9, 2, -1)
        for number in range(4)
    ]
    with pytest.raises(DeliveryRefused, match="lines of item 3 on 2024-02-24 total 399,9"):
        deliver(days[0], lines, days[1])


@pytest.mark.parametrize(
    "statement",
    [
        "update staging.delivery set loaded = loaded + 1",
        "update staging.user_order_log set quantity = 0",
        "update staging.user_order_log set payment_amount = -1",
        "update staging.user_order_log set status = 'lost'",
        "update staging.user_order_log set date_time = '2050-01-01'",
        "insert into staging.user_order_log select * from staging.user_order_log",
    ],
)
def test_the_database_itself_refuses_what_must_not_be(
    warehouse: Warehouse, deliver: Deliver, statement: str
) -> None:
    deliver("2024-02-25", [order("a", "2024-02-25")])
    with pytest.raises(psycopg2.errors.IntegrityError):
        warehouse.query(statement)


def test_a_load_waits_for_another_and_names_it_when_it_takes_too_long(
    warehouse: Warehouse, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse_module, "LOCK_TIMEOUT", "100ms")
    with closing(warehouse.connect()) as other:
        lock = "select pg_advisory_xact_lock(hashtext('staging.user_order_log'))"
        other.cursor().execute(lock)
        with pytest.raises(TransientError, match=r"another load has held staging\.user_order_log"):
            deliver("2024-02-25", [order("a", "2024-02-25")])
    deliver("2024-02-25", [order("a", "2024-02-25")])


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_what_postgresql_asks_to_try_again_is_tried_again(
    warehouse: Warehouse, deliver: Deliver, code: str
) -> None:
    # The first two deletes of a load fail like a deadlock or a serialization failure.
    warehouse.query("create sequence failures")
    warehouse.query(
        "create function fail() returns trigger language plpgsql as $$ begin"
        f" if nextval('failures') <= 2 then raise sqlstate '{code}'; end if; return null; end $$"
    )
    warehouse.query(
        "create trigger fail before delete on staging.user_order_log execute function fail()"
    )
    deliver("2024-02-25", [order("a", "2024-02-25")])
    assert warehouse.value("select last_value from failures") == 3
    assert warehouse.query(LEDGER) == [("increment", "accepted", 1, 1, 0, 0, 0)]
    warehouse.query("alter sequence failures restart")
    warehouse.query("alter sequence failures minvalue -100 start -100 restart")
    with pytest.raises(TransientError, match="gave up after 4 tries"):
        deliver("2024-02-25", [order("b", "2024-02-25")])
    assert warehouse.value(UNIQ_IDS) == ["a"]


def test_a_warehouse_out_of_reach_is_a_transient_fault(
    warehouse: Warehouse, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    with pytest.raises(TransientError, match="the warehouse cannot be reached"):
        clock()


def test_a_warehouse_lost_before_the_first_question_is_a_transient_fault(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect()
    connection.close()
    monkeypatch.setattr(warehouse_module, "connect", lambda: connection)
    with pytest.raises(TransientError, match="the warehouse went away"):
        clock()


def test_what_the_warehouse_refuses_is_said_in_a_sentence(
    warehouse: Warehouse, deliver: Deliver
) -> None:
    warehouse.query("create unique index on staging.user_order_log (customer_id)")
    with pytest.raises(TerminalError) as error:
        deliver("2024-02-25", [order("a", "2024-02-25"), order("b", "2024-02-25")])
    assert str(error.value) == (
        "the warehouse refused: duplicate key value violates unique constraint"
        ' "user_order_log_customer_id_idx"'
    )
    assert warehouse.query(LEDGER) == []


def test_a_warehouse_lost_in_the_middle_keeps_what_it_had(
    warehouse: Warehouse, deliver: Deliver, tmp_path: Path
) -> None:
    deliver("2024-02-25", [order("before", "2024-02-25")])
    terminate = (
        "create function die() returns trigger language plpgsql as"
        " $$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$"
    )
    warehouse.query(terminate)
    warehouse.query(
        "create trigger die after insert on staging.user_order_log execute function die()"
    )
    with pytest.raises(TransientError, match="the warehouse went away"):
        deliver("2024-02-25", [order("after", "2024-02-25")])
    assert warehouse.value(UNIQ_IDS) == ["before"]
    assert len(warehouse.query(LEDGER)) == 1
