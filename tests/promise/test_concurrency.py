"""Parallel runs: in every order of their steps the marts equal a fresh build."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from dbt_process import PATIENCE, DbtProcess
from gate import Started, gate_on_lock, gate_on_table, wait_blocked
from known_shop import WEEK, KnownShop, lines
from support import DATABASE, Dbt, Deliver, Warehouse, deliverer, order, run_command

pytestmark = pytest.mark.faults


def ended_well(*processes: Started | DbtProcess) -> None:
    for process in processes:
        process.ended_well()


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_one_day_twice_at_once(shop: KnownShop, tmp_path: Path, isolation: str) -> None:
    """With every default isolation level of the database."""
    shop.warehouse.query(
        f"alter database {DATABASE} set default_transaction_isolation = '{isolation}'"
    )
    day = WEEK[0]
    shop.deliver(day, lines(day))
    variables = ("--vars", f"{{ds: {day}}}")
    with gate_on_table(shop.warehouse, "before insert", "mart.f_sales") as gate:
        first = DbtProcess(*variables, folder=tmp_path)
        gate.wait(first)
        # The first run has read its batch. Only the second sees lines that are delivered now.
        shop.deliver(day, lines(day, seed=1, count=20))
        second = DbtProcess(*variables, folder=tmp_path)
        wait_blocked(shop.warehouse, 2)
        gate.open()
        ended_well(first, second)
    shop.assert_marts_equal_a_fresh_build()


def test_two_days_of_a_week_at_once(shop: KnownShop, tmp_path: Path) -> None:
    for day in WEEK[:2]:
        shop.deliver(day, lines(day))
    with gate_on_table(shop.warehouse, "before insert", "mart.f_customer_retention") as gate:
        first = DbtProcess("--vars", f"{{ds: {WEEK[0]}}}", folder=tmp_path)
        gate.wait(first)
        # The first run has read the week without the second day, and has not written it yet.
        second = DbtProcess("--vars", f"{{ds: {WEEK[1]}}}", folder=tmp_path)
        wait_blocked(shop.warehouse, 2)
        gate.open()
        ended_well(first, second)
    shop.assert_marts_equal_a_fresh_build()


def test_eight_days_in_parallel(shop: KnownShop, tmp_path: Path) -> None:
    days = [*WEEK, "2024-02-26"]
    for day in days:
        shop.deliver(day, lines(day))
    ended_well(*(DbtProcess("--vars", f"{{ds: {day}}}", folder=tmp_path) for day in days))
    shop.assert_marts_equal_a_fresh_build()


def test_a_backfill_over_a_day_that_is_being_run(shop: KnownShop, tmp_path: Path) -> None:
    for day in WEEK:
        shop.deliver(day, lines(day))
    with gate_on_table(shop.warehouse, "commit", "mart.f_sales") as gate:
        one = DbtProcess("--vars", f"{{ds: {WEEK[2]}}}", folder=tmp_path)
        gate.wait(one)
        backfill = DbtProcess(
            "--vars", f"{{ds_start: {WEEK[0]}, ds_end: {WEEK[-1]}}}", folder=tmp_path
        )
        wait_blocked(shop.warehouse, 2)
        gate.open()
        ended_well(one, backfill)
    shop.assert_marts_equal_a_fresh_build()


def test_two_first_builds_on_an_empty_schema(
    empty_database: Warehouse, deliver_into_empty: Deliver, tmp_path: Path
) -> None:
    shop = KnownShop(empty_database, deliver_into_empty)
    for day in WEEK[:2]:
        shop.deliver(day, lines(day))
    with gate_on_lock(empty_database, "mart.d_item") as gate:
        builds = [DbtProcess("--vars", f"{{ds: {day}}}", folder=tmp_path) for day in WEEK[:2]]
        # Both runs have looked and found no table.
        gate.wait(builds[0], number=2)
        gate.open()
        ended_well(*builds)
    shop.assert_marts_equal_a_fresh_build()


@pytest.fixture
def deliver_into_empty(empty_database: Warehouse, tmp_path: Path) -> Deliver:
    run_command("alembic", "upgrade", "head")
    return deliverer(tmp_path)


def test_a_reader_sees_a_day_before_or_after(shop: KnownShop, dbt: Dbt) -> None:
    day, date_id = WEEK[0], 20240219
    small, large = lines(day, count=5), lines(day, seed=1, count=400)
    shop.deliver(day, small)
    dbt.run(ds=day)
    seen: set[tuple[int, int, int]] = set()
    stop = threading.Event()

    def read() -> None:
        with closing(shop.warehouse.connect()) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not stop.is_set():
                cursor.execute(
                    "select (select count(*) from staging.user_order_log),"
                    " (select count(*) from mart.f_sales where date_id = %s),"
                    " (select coalesce(sum(new_customers_count + refunded_customer_count"
                    " + returning_customers_count), 0)::int from mart.f_customer_retention)",
                    (date_id,),
                )
                seen.add(cursor.fetchall()[0])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(6):
            shop.deliver(day, (large, small)[number % 2])
            dbt.run(ds=day)
    finally:
        stop.set()
        reader.join()
    shop.assert_marts_equal_a_fresh_build()
    assert {staged for staged, _, _ in seen} == {5, 400}
    assert {sold for _, sold, _ in seen} == {5, 400}
    assert len({retained for _, _, retained in seen}) == 2


def test_a_run_that_waits_too_long_says_for_whom(
    shop: KnownShop, dbt: Dbt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MART_LOCK_TIMEOUT", "200ms")
    shop.deliver(WEEK[0], lines(WEEK[0]))
    with closing(shop.warehouse.connect()) as other, other.cursor() as cursor:
        cursor.execute("set application_name = 'the other run'")
        cursor.execute("select pg_advisory_xact_lock(hashtext('mart.f_sales'))")
        done = dbt.invoke("run", ds=WEEK[0])
    messages = {result.node.name: str(result.message) for result in done.result}
    assert (
        "mart.f_sales is being replaced by another run: the other run, process"
        in (messages["f_sales"])
    )
    dbt.run(ds=WEEK[0])
    shop.assert_marts_equal_a_fresh_build()


def test_loads_of_one_day_at_once_leave_one_of_them_whole(
    warehouse: Warehouse, deliver: Deliver, tmp_path: Path
) -> None:
    day = WEEK[0]

    def load(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        deliverer(folder)(day, lines(day, seed=number, count=30 + number))

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(load, range(8))] == [None] * 8
    ((count, kinds),) = warehouse.query(
        "select count(*), count(distinct split_part(uniq_id, ' ', 2)) from staging.user_order_log"
    )
    assert kinds == 1
    assert count == warehouse.value(
        "select loaded from staging.delivery_day inner join staging.delivery using (delivery_id)"
    )
    assert warehouse.value("select count(*) from staging.delivery") == 8


def test_a_delivery_between_dimensions_and_facts_fails_loudly_and_heals(
    shop: KnownShop, dbt: Dbt, tmp_path: Path
) -> None:
    day = WEEK[0]
    shop.deliver(day, lines(day))
    with gate_on_lock(shop.warehouse, "mart.f_sales") as gate:
        process = DbtProcess("--vars", f"{{ds: {day}}}", folder=tmp_path)
        gate.wait(process)
        shop.deliver(day, [*lines(day), order("new", day, customer_id=4242)])
        gate.open()
        assert process.wait(PATIENCE) == 1
    dbt.run(ds=day)
    shop.assert_marts_equal_a_fresh_build()
