"""Takeover of an old warehouse: compared with a fresh one, with kills, and back again."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import old_pipeline
import pytest
from comparisons import (
    ADDED,
    NOT_YET,
    ONLY_FRESH,
    ONLY_TAKEN_OVER,
    TABLES,
    assert_refused,
    catalogue,
    contents,
    everything,
    taken_over,
    without_sequences,
)
from old_pipeline import DAYS, FIRST, LAST, QUERIES, orders_of, with_refunds
from support import DATABASE, ROOT, Dbt, Warehouse, database, deliverer, run_command

from checks import preflight
from checks.dbt import marts
from checks.prove import ProofError, prove
from loaders.errors import DeliveryRefused, TerminalError, TransientError
from local.postgres import EmbeddedPostgres
from migrations import takeover
from migrations.takeover import changes, old_warehouse
from migrations.takeover.tables import COLUMNS, OTHER_MARTS, RETENTION

NEW_DAY = LAST + timedelta(days=1)


def test_a_taken_over_warehouse_and_a_fresh_one_end_up_equal(
    any_server: EmbeddedPostgres, dbt_parsed: Dbt, tmp_path: Path
) -> None:
    deliver = deliverer(tmp_path)

    def later_deliveries() -> None:
        # A history over half of the old days, an increment of an old day, and a new day.
        history = [line for day in DAYS[7:] for line in orders_of(day, "new history")]
        deliver(str(DAYS[7]), history, str(LAST))
        dbt_parsed.run(ds_start=str(DAYS[7]), ds_end=str(LAST))
        for day in (DAYS[3], DAYS[9], NEW_DAY):
            deliver(str(day), with_refunds(orders_of(day, "increment")))
            dbt_parsed.run(ds=str(day))
        deliver(str(DAYS[8]), [line for day in DAYS[8:] for line in orders_of(day)], str(LAST))
        dbt_parsed.run(ds_start=str(DAYS[8]), ds_end=str(LAST))

    with database(any_server, "old_warehouse") as warehouse:
        # Like an operator: by the command line, with dbt as a separate program.
        plan = run_command("python", "-m", "migrations", "takeover", "--plan").stdout
        assert "refund_flag: false for 462 rows" in plan and "nothing was changed" in plan
        done = run_command("python", "-m", "migrations", "takeover").stdout
        assert done.endswith("done: this warehouse has the new shape\n")
        again = run_command("python", "-m", "migrations", "takeover").stdout
        assert again.endswith("this warehouse has the new shape: nothing to do\n")
        took_over = contents(warehouse, *TABLES, without=NOT_YET)
        later_deliveries()
        shape = catalogue(warehouse)
        later = contents(warehouse, *TABLES, without=["id"])
    with database(any_server, "template_warehouse") as warehouse:
        fresh_shape = catalogue(warehouse)
        history = [line for day in DAYS for line in orders_of(day)]
        deliver(str(FIRST), history, str(LAST))
        dbt_parsed.run()
        assert contents(warehouse, *TABLES, without=NOT_YET) == took_over
        later_deliveries()
        assert contents(warehouse, *TABLES, without=["id"]) == later
    assert later["mart.f_sales"] != took_over["mart.f_sales"]
    assert without_sequences(shape) - fresh_shape == ONLY_TAKEN_OVER
    assert fresh_shape - shape == ONLY_FRESH


def test_queries_of_old_return_the_same(old: Warehouse, dbt_parsed: Dbt, tmp_path: Path) -> None:
    old_pipeline.build_day(old, DAYS[4])  # the marts have this day twice, and keep it so
    before = {name: old.query(text) for name, text in QUERIES.items()}
    assert len(before) >= 10 and all(before[name] for name in before if "without" not in name)
    taken_over()
    assert {name: old.query(text) for name, text in QUERIES.items()} == before
    # A day with refunds does not change the results of earlier days either.
    deliverer(tmp_path)(str(NEW_DAY), with_refunds(orders_of(NEW_DAY)))
    dbt_parsed.run(ds=str(NEW_DAY))
    name = "revenue by day"
    assert [row for row in old.query(QUERIES[name]) if row[0] < NEW_DAY] == before[name]


def test_a_plan_changes_nothing(old: Warehouse) -> None:
    before = catalogue(old), everything(old)
    said = taken_over(plan=True)
    assert said[-1] == "nothing was changed"
    assert any("mart.f_sales.uniq_id: order key for 462 rows" in line for line in said)
    assert (catalogue(old), everything(old)) == before
    # The takeover does what the plan says, in the same order.
    announced = [line.strip() for line in said if line.startswith("  ")]
    assert len(announced) > 15
    assert [line for line in taken_over() if line in announced] == announced


def test_a_second_takeover_changes_nothing(old: Warehouse) -> None:
    taken_over()
    before = catalogue(old), everything(old)
    assert taken_over()[-1] == "this warehouse has the new shape: nothing to do"
    assert (catalogue(old), everything(old)) == before


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["old_warehouse", "last_scripts"])
def test_a_takeover_survives_a_kill_after_every_change(
    last_scripts_template: EmbeddedPostgres,
    dbt_here: None,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    # Several batches, so that a kill can come between two.
    monkeypatch.setattr(changes, "BATCH_ROWS", 100)
    with database(last_scripts_template, kind) as warehouse:
        taken_over()
        shape, rows = catalogue(warehouse), _without_times(warehouse)
    kills = []

    def dying(name: str) -> Callable[..., None]:
        change = getattr(old_warehouse.OldWarehouse, name)

        def run(self: old_warehouse.OldWarehouse, *arguments: Any) -> None:
            change(self, *arguments)
            kills.append((name, str(arguments)[:80]))
            raise Killed

        return run

    with database(last_scripts_template, kind) as warehouse:
        with monkeypatch.context() as patch:
            for name in ("alter", "alone", "write"):
                patch.setattr(old_warehouse.OldWarehouse, name, dying(name))
            for _ in range(200):
                try:
                    taken_over()
                    break
                except Killed:
                    continue
        assert (catalogue(warehouse), _without_times(warehouse)) == (shape, rows)
    assert len(kills) > 35, kills


def _without_times(warehouse: Warehouse) -> dict[str, list[Any]]:
    # A mart that is built again after a kill gets other ids.
    return {
        **everything(warehouse),
        **contents(warehouse, "staging.delivery", without=["finished_at"]),
        **contents(warehouse, "mart.f_delivery_day", without=["loaded_at"]),
        **contents(warehouse, "mart.f_customer_retention", without=["id"]),
    }


@pytest.mark.faults
def test_an_index_that_a_killed_run_left_half_built_is_built_anew(old: Warehouse) -> None:
    with closing(old.connect()) as reader:
        # Building the index waits for every session with a snapshot.
        reader.set_session(isolation_level="REPEATABLE READ")
        reader.cursor().execute("select 1")
        run = subprocess.Popen(
            [sys.executable, "-m", "migrations", "takeover"], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        half_built = (
            "select count(*) from pg_index where not indisvalid"
            " and indrelid = 'staging.user_order_log'::regclass"
        )
        _wait_for(lambda: old.value(half_built) == 1)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        # Its backend notices the kill within CONNECTION_CHECK, and the index stays unfinished.
        _wait_for(lambda: old.value(WORKING) == 0)
        assert old.value(half_built) == 1
        reader.rollback()
    taken_over()
    assert old.value(half_built) == 0
    assert any("INVALID" in row[2] for row in catalogue(old)) is False


WORKING = "select count(*) from pg_stat_activity where application_name = 'loaders'"


def _wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.faults
def test_a_long_reader_makes_the_takeover_wait_and_other_readers_not(old: Warehouse) -> None:
    slowest, stop = 0.0, threading.Event()

    def keep_reading() -> None:
        nonlocal slowest
        with closing(old.connect()) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not stop.is_set():
                started = time.monotonic()
                cursor.execute("select count(*) from mart.f_sales where date_id = 20240205")
                slowest = max(slowest, time.monotonic() - started)
                time.sleep(0.005)

    reading = threading.Thread(target=keep_reading)
    with closing(old.connect()) as long_reader:
        long_reader.cursor().execute("select count(*) from mart.f_sales")
        reading.start()
        taking_over = threading.Thread(target=taken_over)
        taking_over.start()
        time.sleep(4)
        assert taking_over.is_alive()
        assert "refund_flag" not in [
            name
            for (name,) in old.query(
                "select attname from pg_attribute where attrelid = 'mart.f_sales'::regclass"
            )
        ]
        long_reader.rollback()
    taking_over.join(60)
    stop.set()
    reading.join()
    assert not taking_over.is_alive()
    # READERS_WAIT is 0.2 s; the rest allows for a busy machine.
    assert slowest < 1.5


def test_sales_get_the_key_of_their_order_line(old: Warehouse) -> None:
    old_pipeline.build_day(old, DAYS[4])
    old.query("delete from mart.f_sales where id = (select min(id) from mart.f_sales)")
    day, rows = int(f"{DAYS[4]:%Y%m%d}"), len(orders_of(DAYS[4]))
    taken_over()
    keys = old.query(
        """
        select s.uniq_id, o.uniq_id, s.id, s.uniq_id = 'mart.f_sales.id=' || s.id
        from mart.f_sales s
        left join staging.user_order_log o on o.uniq_id = s.uniq_id and o.item_id = s.item_id
            and o.customer_id = s.customer_id and o.quantity = s.quantity
            and o.payment_amount = s.payment_amount and o.city_id = s.city_id
            and to_char(o.date_time, 'YYYYMMDD')::int = s.date_id
        where s.date_id = %s order by s.id
        """,
        (day,),
    )
    assert len(keys) == 2 * rows
    # The first copy has the keys of staging, the second has keys with the ids of its rows.
    assert {key for key, _, _, _ in keys[:rows]} == {line["uniq_id"] for line in orders_of(DAYS[4])}
    assert all(key == found for key, found, _, _ in keys[:rows])
    assert all(synthetic for _, _, _, synthetic in keys[rows:])
    assert old.value("select count(*) from mart.f_sales where uniq_id like 'mart.f%%'") == rows


@pytest.mark.faults
def test_sales_that_the_old_pipeline_adds_after_a_kill_get_a_key_too(
    old: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyed = next(number for number, step in enumerate(changes.CHANGES, 1) if step is KEYS_CHANGE)
    with monkeypatch.context() as patch:
        patch.setattr(changes, "CHANGES", changes.CHANGES[:keyed])
        taken_over()
    old.query(
        "insert into mart.f_sales (date_id, item_id, customer_id, city_id, quantity,"
        " payment_amount, refund_flag) select date_id, item_id, customer_id, city_id, quantity,"
        " payment_amount, false from mart.f_sales where date_id = 20240205"
    )
    taken_over()
    assert old.value("select count(*) from mart.f_sales where uniq_id like 'mart.f%%'") == 33


KEYS_CHANGE = next(step for step in changes.CHANGES if step.run is changes._order_keys)


def test_no_load_starts_before_the_ledger_is_there(
    old: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    last = next(
        number for number, step in enumerate(changes.CHANGES) if step.run is changes._ledger_tables
    )
    for steps in (0, last):
        with monkeypatch.context() as patch:
            patch.setattr(changes, "CHANGES", changes.CHANGES[:steps])
            taken_over()
        rows = contents(old, "staging.user_order_log")
        with pytest.raises(TerminalError, match="not prepared"):
            deliverer(tmp_path)(str(DAYS[0]), orders_of(DAYS[0], "increment"))
        assert contents(old, "staging.user_order_log") == rows


def test_days_that_differ_are_told_and_rebuilt_on_request_only(
    old: Warehouse, dbt_parsed: Dbt, tmp_path: Path
) -> None:
    twice, less, gone = DAYS[4], DAYS[5], DAYS[6]
    old_pipeline.build_day(old, twice)
    old.query(
        "delete from mart.f_sales where id in"
        " (select id from mart.f_sales where date_id = %s limit 3)",
        (int(f"{less:%Y%m%d}"),),
    )
    # Staging does not go as far back as the marts.
    old.query("delete from staging.user_order_log where date_time::date = %s", (gone,))
    expected = [
        f"  {twice}  mart.f_sales 66 rows, 33 not in staging;"
        " staging 33 rows, 0 not in mart.f_sales",
        f"  {less}  mart.f_sales 30 rows, 0 not in staging; staging 33 rows, 3 not in mart.f_sales",
        f"  {gone}  mart.f_sales 33 rows, 33 not in staging; staging 0 rows, 0 not in mart.f_sales",
    ]
    before = old.query(QUERIES["revenue by day"])
    for options in ({"plan": True}, {}, {}):
        said = taken_over(**options)
        assert [line for line in said if re.match("  2024", line)] == expected
        assert old.query(QUERIES["revenue by day"]) == before
    taken_over(rebuild=[twice])
    after = dict(old.query(QUERIES["revenue by day"]))
    assert after.pop(twice) * 2 == dict(before)[twice]
    assert after == {day: revenue for day, revenue in before if day != twice}
    with pytest.raises(TerminalError, match="would empty it in the marts"):
        taken_over(rebuild=[gone])
    # A run without a window rebuilds every day that staging has.
    dbt_parsed.run()
    rebuilt = dict(old.query(QUERIES["revenue by day"]))
    assert rebuilt[less] > after[less]
    assert rebuilt == {**after, less: rebuilt[less], twice: rebuilt[twice]}
    agree = "assert_f_sales_holds_what_staging_holds"
    assert dbt_parsed.invoke("test", "--select", agree).success
    # A day that a later delivery has emptied counts as empty.
    deliverer(tmp_path)(str(gone), [], allow_empty=True)
    dbt_parsed.run()
    assert gone not in dict(old.query(QUERIES["revenue by day"]))


@pytest.mark.faults
def test_a_proof_leaves_alone_what_is_as_the_old_pipeline_left_it(
    old: Warehouse, dbt_parsed: Dbt, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice, gone = DAYS[4], DAYS[6]
    old_pipeline.build_day(old, twice)
    old_pipeline.build_day(old, LAST)
    # The marts go back further than staging, and only they mention one item.
    old.query("delete from staging.user_order_log where date_time::date = %s", (gone,))
    old.query("insert into mart.d_item (item_id, item_name) values (77, 'of old')")
    old.query("update mart.f_sales set item_id = 77 where date_id = %s", (int(f"{gone:%Y%m%d}"),))
    old.query("update mart.d_calendar set day_name = 'Lundi' where day_name = 'Monday'")
    taken_over()
    with pytest.raises(ProofError, match="nothing to prove yet"):
        prove()
    deliverer(tmp_path)(str(NEW_DAY), with_refunds(orders_of(NEW_DAY, "increment")))
    dbt_parsed.run(ds=str(NEW_DAY))
    before = contents(old, *TABLES, without=["id"])
    assert prove(), capsys.readouterr().out
    said = capsys.readouterr().out
    assert f"left out, as the old pipeline left them: {twice}, {gone}, {LAST}\n" in said
    assert contents(old, *TABLES, without=["id"]) == before

    # The proof includes old days that agree, and days delivered since.
    old.query("update mart.f_sales set uniq_id = 'other' where id = 1")
    old.query(
        "update mart.f_sales set quantity = -9 where refund_flag and date_id = %s",
        (int(f"{NEW_DAY:%Y%m%d}"),),
    )
    assert not prove()
    said = capsys.readouterr().out
    assert "one after the other    changed f_sales" in said
    assert re.search(r"mart.f_sales, .* DIFFERS\n", said)


def test_the_ledger_knows_the_days_that_are_there(old: Warehouse, tmp_path: Path) -> None:
    taken_over()
    entry = old.query(
        "select kind, outcome, first_day, last_day, received, loaded, quantity, payment_amount"
        " from staging.delivery"
    )
    sums = old.query("select sum(quantity), sum(payment_amount) from staging.user_order_log")
    assert entry == [("history", "accepted", FIRST, LAST, 462, 462, *sums[0])]
    assert [day for (day,) in old.query("select day from staging.delivery_day order by 1")] == DAYS
    deliver = deliverer(tmp_path)
    first_key = "select min(uniq_id) from staging.user_order_log where date_time::date = %s"
    # An increment may replace an old day, and so may a history; a history may not replace an
    # increment.
    deliver(str(DAYS[0]), [{**orders_of(DAYS[0])[0], "uniq_id": "increment"}])
    history = [{**orders_of(day)[0], "uniq_id": f"history {day}"} for day in (DAYS[0], DAYS[1])]
    deliver(str(DAYS[0]), history, str(DAYS[1]))
    assert old.value(first_key, (DAYS[0],)) == "increment"
    assert old.value(first_key, (DAYS[1],)) == f"history {DAYS[1]}"
    # The other days are unchanged, and an empty file is still refused.
    assert old.value("select count(*) from staging.user_order_log") == 462 - 66 + 2
    with pytest.raises(DeliveryRefused, match="would empty"):
        deliver(str(DAYS[2]), [])


def test_a_uniq_id_may_stand_on_two_days_afterwards(old: Warehouse, tmp_path: Path) -> None:
    taken_over()
    line = orders_of(LAST)[0]
    deliverer(tmp_path)(str(NEW_DAY), [{**line, "date_time": f"{NEW_DAY}T00:00:00"}])
    count = "select count(*) from staging.user_order_log where uniq_id = %s"
    assert old.value(count, (line["uniq_id"],)) == 2


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("drop table mart.f_sales", "there is no table mart.f_sales"),
        ("drop schema staging cascade", "there is no table staging.user_order_log"),
        ("alter table mart.f_sales drop column city_id", "mart.f_sales has no column city_id"),
        (
            "alter table mart.f_sales alter column date_id type bigint",
            "mart.f_sales.date_id is bigint, not integer",
        ),
        ("alter table mart.d_item drop constraint d_item_item_id_key cascade", "is not unique"),
        ("alter table mart.f_sales drop constraint f_sales_item_id_fkey", "has no foreign key"),
        (
            "alter table mart.d_city rename to x; create view mart.d_city as select * from mart.x",
            "there is no table mart.d_city",
        ),
        # Altered by hand, so that no state of a takeover fits.
        (
            "alter table staging.user_order_log add status varchar(30)",
            "staging.user_order_log.status may be null",
        ),
        (
            "alter table staging.user_order_log add status varchar(30) not null default 'new'",
            "staging.user_order_log: 462 rows where status not in ('shipped', 'refunded')",
        ),
        (
            "alter table mart.f_sales add refund_flag boolean, add uniq_id varchar(32)",
            "mart.f_sales.refund_flag may be null",
        ),
        (
            "alter table mart.f_sales add refund_flag char not null default 'n',"
            " add uniq_id varchar(32)",
            "mart.f_sales.refund_flag is character(1), not boolean",
        ),
        (
            "alter table mart.f_sales add uniq_id varchar(32)",
            "mart.f_sales.uniq_id is there without mart.f_sales.refund_flag",
        ),
        # Rows that the new shape cannot hold.
        ("update staging.user_order_log set quantity = null", "462 rows where quantity is null"),
        ("update staging.user_order_log set quantity = 0", "462 rows where quantity is null or q"),
        ("update staging.user_order_log set payment_amount = -1", "462 rows where payment_amount"),
        ("update staging.user_order_log set date_time = '2050-01-01'", "462 rows where date_time"),
        ("update mart.f_sales set quantity = null where id = 1", "mart.f_sales: 1 rows where"),
        ("update mart.f_sales set payment_amount = -1 where id = 1", "mart.f_sales: 1 rows where"),
        ("insert into mart.d_city (city_name) values ('?')", "mart.d_city: 1 rows where city_id"),
        (
            "update mart.d_calendar set week_of_year_iso = '2024-W01-1'"
            " where date_actual = '2024-12-30'",
            "mart.d_calendar: 1 rows where week_of_year_iso",
        ),
        (
            "update mart.d_calendar set date_id = 7 where date_actual = '2024-02-25'",
            "mart.d_calendar: 1 rows where date_id",
        ),
        (
            "create view public.v as select upper(item_name) from mart.d_item",
            "mart.d_item.item_name: view v stands in its way",
        ),
        (
            "create table public.notes (uniq_id varchar(32) references staging.user_order_log)",
            "user_order_log_pk: constraint notes_uniq_id_fkey on table notes depends on it",
        ),
        (
            "create table public.prices (item_id int references mart.d_item (item_id))",
            "mart.d_item: constraint prices_item_id_fkey on table prices depends on it",
        ),
        (
            "create table public.shops (city_id int references mart.d_city (city_id))",
            "mart.d_city: constraint shops_city_id_fkey on table shops depends on it",
        ),
        (
            "create table public.letters (customer_id int) partition by list (customer_id);"
            " create table public.letters_0 partition of public.letters default;"
            " alter table public.letters add foreign key (customer_id)"
            " references mart.d_customer (customer_id) on delete cascade",
            "mart.d_customer: constraint letters_customer_id_fkey on table letters depends on it\n"
            "Nothing",
        ),
        (
            "create table public.claims (sale_id int references mart.f_sales)",
            "mart.f_sales: constraint claims_sale_id_fkey on table claims depends on it",
        ),
        (
            "alter table mart.d_customer add constraint home foreign key (city_id)"
            " references mart.d_city (city_id)",
            "mart.d_city: constraint home on table mart.d_customer depends on it",
        ),
        (
            "alter table mart.f_sales add channel text not null default '';"
            " alter table mart.f_sales alter channel drop default",
            "mart.f_sales.channel: not null, and nothing fills it",
        ),
        # Constraints that are in the way, which only a try shows.
        (
            "alter table mart.f_sales drop column id",
            "mart.f_sales has no column id",
        ),
        (
            "alter table mart.f_sales drop constraint f_sales_pkey",
            "mart.f_sales.id is not unique",
        ),
        (
            "create table public.items (item_id int primary key);"
            " insert into public.items select item_id from mart.d_item;"
            " alter table mart.f_sales drop constraint f_sales_item_id_fkey,"
            " add foreign key (item_id) references public.items",
            "mart.f_sales.item_id has no foreign key to mart.d_item",
        ),
        (
            "create table public.cities (city_id int primary key);"
            " insert into public.cities select city_id from mart.d_city;"
            " alter table mart.f_sales add foreign key (city_id) references public.cities",
            "mart.f_sales: there is a constraint f_sales_city_id_fkey of another kind",
        ),
        (
            "alter table staging.user_order_log alter item_name type varchar(200);"
            " update staging.user_order_log set item_name = repeat('x', 101) where item_id = 1",
            "rows where length(item_name) > 100",
        ),
        (
            "alter table staging.user_order_log alter uniq_id type varchar(64);"
            " update staging.user_order_log set uniq_id = uniq_id || 'x'",
            "462 rows where length(uniq_id) > 32",
        ),
        (
            "create type public.status as enum ('shipped', 'refunded');"
            " alter table staging.user_order_log add status public.status not null"
            " default 'shipped'",
            "staging.user_order_log.status is status, not character varying",
        ),
        # Sums that are too large for the retention mart.
        (
            "update mart.f_sales set payment_amount = 99999999.99, item_id = 1;"
            " insert into mart.f_sales (date_id, item_id, customer_id, city_id, quantity,"
            " payment_amount) select date_id, item_id, customer_id, city_id, quantity,"
            " payment_amount from mart.f_sales",
            "mart.f_sales: returning_customers_revenue of item 1 in 2024-W05 would be"
            " 46,199,999,995.38; mart.f_customer_retention has room for less than 10,000,000,000",
        ),
        # Relations with names that the takeover needs.
        (
            "alter table staging.user_order_log add check (quantity > 0)",
            "there is a constraint user_order_log_quantity_check of another kind",
        ),
        (
            "alter table mart.f_sales add constraint quantity_is_known check (quantity > -9)",
            "mart.f_sales: there is a constraint quantity_is_known of another kind",
        ),
        (
            "create index user_order_log_day_uniq_id on staging.user_order_log (uniq_id)",
            "there is an index staging.user_order_log_day_uniq_id of another kind",
        ),
        (
            "create table staging.delivery (n int)",
            "staging.delivery is there, and no migration of ours has made it",
        ),
        (
            "create table staging.alembic_version (version_num varchar(32) primary key);"
            " insert into staging.alembic_version values ('9999')",
            "staging.alembic_version says 9999",
        ),
        ("create view mart.f_customer_retention as select 1 as one", "is no plain table: view"),
        (
            "create materialized view mart.f_customer_retention as select 1 as one",
            "mart.f_customer_retention is no plain table: materialized view",
        ),
        (
            "create table mart.f_customer_retention (period_id integer)",
            "mart.f_customer_retention has no column new_customers_count",
        ),
        (
            "create view mart.f_sales__dbt_tmp as select 1 as one;"
            " create view public.rep as select * from mart.f_sales__dbt_tmp",
            "mart.f_sales__dbt_tmp: dbt drops what has this name",
        ),
        (
            "alter table mart.d_calendar alter epoch type integer using 0",
            "mart.d_calendar.epoch is integer, not bigint",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_refused_before_anything_is_touched(
    old: Warehouse, damage: str, sentence: str
) -> None:
    old.query(damage)
    assert_refused(old, sentence)


def test_a_table_of_the_shop_s_own_may_refer_to_the_calendar(old: Warehouse) -> None:
    old.query("create table public.holidays (day int references mart.d_calendar)")
    old.query("insert into public.holidays values (20240205)")
    taken_over()
    # The check also sees the keys between the warehouse's own tables.
    assert taken_over()[-1] == "this warehouse has the new shape: nothing to do"


def test_constraints_of_old_may_have_any_name(old: Warehouse) -> None:
    old.query(
        """
        alter table staging.user_order_log rename constraint user_order_log_pk to "Ключ ""1"" ";
        alter table mart.f_sales add constraint "Город, %s" foreign key (city_id)
        references mart.d_city (city_id) not valid
        """
    )
    assert taken_over()[-1] == "done: this warehouse has the new shape"


def test_another_user_s_tables_are_refused(old: Warehouse) -> None:
    old.query("create role reporting; grant usage, create on schema mart, staging to reporting")
    try:
        old.query("grant reporting to warehouse; alter table mart.d_item owner to reporting")
        old.query("revoke reporting from warehouse")
        with pytest.raises(TerminalError, match=r"mart\.d_item belongs to another user"):
            taken_over()
    finally:
        old.query("grant reporting to warehouse")
        old.query("reassign owned by reporting to warehouse; drop owned by reporting")
        old.query("drop role reporting")


def test_a_database_of_another_user_is_taken_over(old: Warehouse) -> None:
    old.query("create role provider; grant provider to warehouse")
    try:
        old.query(f"alter database {DATABASE} owner to provider; revoke provider from warehouse")
        assert not old.value("select has_database_privilege(current_database(), 'create')")
        assert taken_over()[-1] == "done: this warehouse has the new shape"
    finally:
        old.query("grant provider to warehouse")
        old.query(f"alter database {DATABASE} owner to warehouse; drop role provider")


def test_migrations_that_fail_are_told_in_a_sentence(
    old: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The checks beforehand cannot find everything that may go wrong.
    old.query("create table staging.delivery (n int)")
    monkeypatch.setattr(preflight, "staging_problems", lambda *_, **__: [])
    with pytest.raises(TerminalError, match='relation "delivery" already exists') as failed:
        taken_over()
    assert "the next run goes on from there" in str(failed.value)


def test_what_others_commit_while_it_waits_is_seen_whatever_the_database_says(
    old: Warehouse,
) -> None:
    old.query(f"alter database {DATABASE} set default_transaction_isolation = 'repeatable read'")
    with ThreadPoolExecutor() as pool, closing(old.connect()) as loader:
        loader.set_session(isolation_level="READ COMMITTED")
        cursor = loader.cursor()
        cursor.execute("select pg_advisory_xact_lock(hashtext('mart.f_sales'))")
        cursor.execute("update mart.f_sales set quantity = quantity + 1 where id = 1")
        going = pool.submit(taken_over)
        waiting = "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
        _wait_for(lambda: old.value(waiting))
        loader.commit()
        assert going.result()[-1] == "done: this warehouse has the new shape"
    assert old.value("select uniq_id from mart.f_sales where id = 1") == "mart.f_sales.id=1"


def test_a_fresh_warehouse_has_nothing_to_do(warehouse: Warehouse) -> None:
    before = catalogue(warehouse), everything(warehouse)
    assert taken_over()[-1] == "this warehouse has the new shape: nothing to do"
    assert (catalogue(warehouse), everything(warehouse)) == before


def test_cities_that_only_the_sales_know_are_added_and_told(old: Warehouse) -> None:
    old.query("update mart.f_sales set city_id = 99 where id in (1, 2)")
    old.query("delete from mart.d_city where city_id = 3")
    assert any(line.startswith("  mart.d_city: 2 rows more") for line in taken_over(plan=True))
    taken_over()
    assert old.query("select city_id, city_name from mart.d_city order by 1") == [
        (1, "Казань"),
        (2, "Ярославль"),
        (3, "Москва"),
        (99, None),
    ]


def test_rows_of_dimensions_that_nothing_mentions_stay(old: Warehouse) -> None:
    old.query("insert into mart.d_item (item_id, item_name) values (77, 'never sold')")
    before = contents(old, "mart.d_item", "mart.d_city", "mart.d_customer")
    taken_over()
    assert contents(old, "mart.d_item", "mart.d_city", "mart.d_customer") == before


@pytest.mark.faults
def test_two_takeovers_at_once_do_not_meet(old: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "OTHER_RUN_SECONDS", 0.1)
    with closing(old.connect()) as other:
        other.cursor().execute("select pg_advisory_lock(hashtext('takeover'))")
        before = catalogue(old)
        with pytest.raises(TransientError, match="another takeover is at work"):
            taken_over()
    assert catalogue(old) == before


@pytest.mark.faults
def test_who_is_in_the_way_is_named(old: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_warehouse, "PATIENCE_SECONDS", 1)
    with closing(old.connect()) as reader:
        reader.cursor().execute("set application_name = 'a long report'")
        reader.cursor().execute("select count(*) from mart.d_item")
        with pytest.raises(TransientError, match=r"mart\.d_item was in use .*a long report"):
            taken_over()
    taken_over()


def test_migrations_alone_do_not_touch_an_old_warehouse(old: Warehouse) -> None:
    before = catalogue(old), everything(old)
    done = run_command("alembic", "upgrade", "head", check=False)
    assert done.returncode and "python -m migrations takeover --plan" in done.stderr + done.stdout
    assert (catalogue(old), everything(old)) == before


# ------------------------------------------------------------------------------ way back


def _go_back(*, check: bool = True) -> str:
    done = run_command("python", "-m", "migrations", "takeover", "--back", check=check)
    assert (done.returncode == 0) == check
    return done.stderr


@pytest.mark.faults
@pytest.mark.parametrize("steps", [*range(0, len(changes.CHANGES), 4), len(changes.CHANGES)])
def test_the_way_back_is_open_after_any_step(
    old: Warehouse, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    _take_over_and_go_back(old, monkeypatch, steps)


def test_the_way_back_is_open_on_the_oldest_postgresql(
    old_debian_15: EmbeddedPostgres, dbt_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database(old_debian_15, "old_warehouse") as old:
        _take_over_and_go_back(old, monkeypatch, len(changes.CHANGES))


# The old index, and the one that replaces it.
CUSTOMER_INDEXES = {
    ("mart.f_sales", f"CREATE ON mart.f_sales USING btree ({columns})")
    for columns in ("customer_id", "customer_id, date_id, refund_flag")
}


def _take_over_and_go_back(old: Warehouse, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    before, rows = catalogue(old), contents(old, *TABLES[:-1])
    answers = {name: old.query(text) for name, text in QUERIES.items()}
    with monkeypatch.context() as patch:
        patch.setattr(changes, "CHANGES", changes.CHANGES[:steps])
        taken_over()
    _go_back()
    left = {row for row in catalogue(old) if not row[0].startswith((*ADDED, RETENTION))}
    # Columns stay longer, and tables keep their descriptions.
    changed = {row[2].split()[0] for row in left ^ before if row[1] == "column"}
    assert changed <= {"item_name", "city_name", "first_name", "last_name"}
    assert {row[1].split()[0] for row in left ^ before} <= {"column", "comment", "index"}
    assert {row[::2] for row in left ^ before if row[1] == "index"} <= CUSTOMER_INDEXES
    described = {row[0] for row in left ^ before if row[1].startswith("comment")}
    assert described <= {"staging.user_order_log", "mart.d_calendar"}
    assert contents(old, *TABLES[:-1]) == rows
    # The old pipeline and its queries work again.
    assert {name: old.query(text) for name, text in QUERIES.items()} == answers
    old_pipeline.load_day(old, NEW_DAY, orders_of(NEW_DAY))
    # Another takeover is possible.
    taken_over()
    assert old.value("select count(*) from staging.delivery_day") == len(DAYS) + 1
    assert old.value("select max(period_id) from mart.f_customer_retention") == "2024-W07"


@pytest.mark.faults
def test_a_delivery_that_comes_while_the_way_back_is_prepared_closes_it(
    old: Warehouse, tmp_path: Path
) -> None:
    taken_over()
    with closing(old.connect()) as reader:
        # Building an index concurrently waits for every session with a snapshot.
        reader.set_session(isolation_level="REPEATABLE READ")
        reader.cursor().execute("select 1")
        with ThreadPoolExecutor() as pool:
            going = pool.submit(_go_back, check=False)
            index = f"select to_regclass('{changes.BACK_KEY}') is not null"
            _wait_for(lambda: old.value(index))
            deliverer(tmp_path)(str(NEW_DAY), with_refunds(orders_of(NEW_DAY)))
            before = everything(old)
            reader.rollback()
        assert "something was loaded since" in going.result()
    assert everything(old) == before


@pytest.mark.faults
def test_the_takeover_goes_on_after_a_way_back_that_was_given_up(
    old: Warehouse, tmp_path: Path
) -> None:
    taken_over()
    before = catalogue(old), everything(old)
    with closing(old.connect()) as reader:
        reader.cursor().execute("select count(*) from mart.f_sales")
        assert "lock timeout" in _go_back(check=False)
    assert (catalogue(old), everything(old)) != before
    line = f"  {changes.BACK_KEY}: dropped, a way back has left it"
    assert line in taken_over(plan=True)
    assert line.strip() in taken_over()
    assert (catalogue(old), everything(old)) == before
    # This index would forbid a uniq_id on a second day.
    orders = [{**orders_of(LAST)[0], "date_time": f"{NEW_DAY}T00:00:00"}]
    assert deliverer(tmp_path)(str(NEW_DAY), orders)


def test_the_way_back_is_closed_once_something_was_loaded(old: Warehouse, tmp_path: Path) -> None:
    taken_over()
    deliverer(tmp_path)(str(NEW_DAY), with_refunds(orders_of(NEW_DAY)))
    before = catalogue(old), everything(old)
    assert "something was loaded since" in _go_back(check=False)
    assert (catalogue(old), everything(old)) == before


def test_no_mart_is_forgotten(dbt_parsed: Dbt) -> None:
    # The log of restated figures begins empty.
    assert {f"mart.{mart.name}" for mart in marts()} - {"mart.restatement_log"} == {
        *(table for table in COLUMNS if table.startswith("mart.")),
        *(RETENTION, *OTHER_MARTS),
    }
