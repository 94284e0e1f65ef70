"""Kills at named points, from before the download to after the last model; then a plain re-run."""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

import psycopg2
import pytest
from dbt_process import DbtProcess
from gate import (
    Started,
    StoppingProxy,
    gate_on_lock,
    gate_on_table,
    kill,
)
from known_shop import KnownShop, lines
from support import Dbt, Warehouse, order, write_orders

from loaders.order_file import REQUIRED_COLUMNS
from local.postgres import EmbeddedPostgres
from shop_api.generated import GeneratedSource
from shop_api.server import serve
from shop_api.shop import Shop as ReportService

pytestmark = pytest.mark.faults

TODAY = date(2024, 3, 3)
DAY = "2024-02-26"
KEY = "a-key"


LOADER_POINTS: dict[str, tuple[str, str]] = {
    "before the report is asked for": ("call", "/generate_report"),
    "while the report is made": ("call", "/get_report"),
    "before the increment is known": ("call", "/get_increment"),
    "before the file is sent": ("call", "/s3-sprint3/"),
    "in the middle of the file": ("half", "/s3-sprint3/"),
    "after the copy, before the lock": ("lock", "staging.user_order_log"),
    "before the old rows go": ("before delete", "staging.user_order_log"),
    "after the old rows went": ("before insert", "staging.user_order_log"),
    "after the new rows came": ("after insert", "staging.user_order_log"),
    "before the ledger": ("before insert", "staging.delivery"),
    "after the ledger": ("before insert", "staging.delivery_day"),
    "at the load's commit": ("commit", "staging.delivery"),
}
DBT_POINTS: dict[str, tuple[str, str]] = {
    "before a dimension": ("lock", "mart.d_item"),
    "in the middle of a dimension": ("before insert", "mart.d_customer"),
    "between dimensions and facts": ("lock", "mart.f_sales"),
    "before the old facts go": ("before delete", "mart.f_sales"),
    "after the old facts went": ("before insert", "mart.f_sales"),
    "at the facts' commit": ("commit", "mart.f_sales"),
    "between the facts": ("lock", "mart.f_customer_retention"),
    "after the old periods went": ("before insert", "mart.f_customer_retention"),
    "before the dimensions are pruned": ("before delete", "mart.d_item"),
    "at the last commit": ("commit", "mart.f_customer_retention"),
}


@pytest.fixture
def delivered(
    shop: KnownShop,
    dbt: Dbt,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[KnownShop]:
    """A warehouse with a day for which the report service has other orders."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    shop.deliver(DAY, lines(DAY))
    dbt.run(ds=DAY)
    monkeypatch.setenv("REPORT_API_KEY", KEY)
    monkeypatch.setenv("REPORT_API_NICKNAME", "shop")
    monkeypatch.setenv("REPORT_API_COHORT", "1")
    yield shop


@contextmanager
def stopped_at(
    warehouse: Warehouse, point: tuple[str, str], begin: Callable[[], Started | DbtProcess]
) -> Iterator[Started | DbtProcess]:
    """Yield the process when it has reached the point; afterwards remove what stopped it."""
    kind, where = point
    with ExitStack() as stack:
        gate = stack.enter_context(
            gate_on_lock(warehouse, where)
            if kind == "lock"
            else gate_on_table(warehouse, kind, where)
        )
        process = begin()
        gate.wait(process)
        yield process


def service() -> ReportService:
    return ReportService(
        GeneratedSource(orders_per_day=20), today=TODAY, api_key=KEY, running_seconds=0
    )


def assert_no_orphans(warehouse: Warehouse) -> None:
    """Check that a killed run leaves no table, no lock, and no temporary file."""
    give_up_at = time.monotonic() + 30
    while orphans := warehouse.query(
        "select relname::text from pg_class where relname like '%%dbt_tmp%%' union all"
        " select objid::text from pg_locks where locktype = 'advisory' and database ="
        " (select oid from pg_database where datname = current_database())"
    ):
        # The backend of a killed client notices after some seconds.
        assert time.monotonic() < give_up_at, orphans
        time.sleep(0.2)
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


@pytest.mark.parametrize(
    ("point", "how"),
    [(point, signal.SIGKILL) for point in LOADER_POINTS]
    # SIGTERM is tried where it makes a difference: on the network, while waiting, and at the end.
    + [
        (point, signal.SIGTERM)
        for point, (kind, _) in LOADER_POINTS.items()
        if kind in ("half", "lock", "commit")
    ],
)
def test_a_killed_load_changes_nothing_and_is_loaded_again(
    delivered: KnownShop,
    dbt: Dbt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    how: signal.Signals,
) -> None:
    kind, where = LOADER_POINTS[point]
    warehouse = delivered.warehouse
    before = warehouse.marts()
    load = ("python", "-m", "loaders", "increment", "--date", DAY)
    with serve(service()) as url:
        monkeypatch.setenv("REPORT_API_URL", url)
        if kind in ("call", "half"):
            with StoppingProxy(url, where, halfway=kind == "half") as proxy:
                monkeypatch.setenv("REPORT_API_URL", proxy.url)
                monkeypatch.setenv("REPORT_STORAGE_URL", proxy.url)
                load_process = Started(*load, folder=tmp_path)
                assert proxy.reached.wait(60), load_process.said()
                kill(load_process, how)
            monkeypatch.setenv("REPORT_API_URL", url)
            monkeypatch.delenv("REPORT_STORAGE_URL")
        else:
            with stopped_at(
                warehouse, (kind, where), lambda: Started(*load, folder=tmp_path)
            ) as process:
                kill(process, how)
        assert_no_orphans(warehouse)
        # PostgreSQL carries out a requested commit even if the client has died.
        if kind != "commit":
            assert warehouse.marts() == before
        Started(*load, folder=tmp_path).ended_well()
    columns = (*REQUIRED_COLUMNS, "status")
    staged = warehouse.query(
        f"select {', '.join(columns)} from staging.user_order_log".replace(
            "date_time", "date_time::text"
        )
    )
    assert len(staged) > 12  # as many as were there before
    delivered.accepted(DAY, [dict(zip(columns, row, strict=True)) for row in staged])
    dbt.run(ds=DAY)
    delivered.assert_marts_equal_a_fresh_build()


@pytest.mark.parametrize(
    ("point", "how"),
    [
        *((point, signal.SIGKILL) for point in DBT_POINTS),
        ("after the old facts went", signal.SIGTERM),
    ],
)
def test_killed_models_are_built_again(
    delivered: KnownShop, dbt: Dbt, tmp_path: Path, point: str, how: signal.Signals
) -> None:
    delivered.deliver(DAY, lines(DAY, seed=1, count=15))
    with stopped_at(
        delivered.warehouse,
        DBT_POINTS[point],
        lambda: DbtProcess("--vars", f"{{ds: {DAY}}}", folder=tmp_path),
    ) as process:
        kill(process, how)
    assert_no_orphans(delivered.warehouse)
    dbt.run(ds=DAY)
    delivered.assert_marts_equal_a_fresh_build()


@pytest.mark.parametrize("how", ["pg_ctl stop -m immediate", "pg_terminate_backend"])
@pytest.mark.parametrize("point", ["in the middle of a dimension", "after the old facts went"])
def test_the_server_goes_away_under_a_model(
    delivered: KnownShop,
    dbt: Dbt,
    tmp_path: Path,
    server: EmbeddedPostgres,
    how: str,
    point: str,
) -> None:
    delivered.deliver(DAY, lines(DAY, seed=1, count=15))
    warehouse = delivered.warehouse
    kind, table = DBT_POINTS[point]
    process: Started | DbtProcess
    try:
        with gate_on_table(warehouse, kind, table) as gate:
            process = DbtProcess("--vars", f"{{ds: {DAY}}}", folder=tmp_path)
            gate.wait(process)
            take_away(warehouse, server, gate.waiting(), how)
    except psycopg2.errors.UndefinedObject:
        pass
    assert process.wait(60) != 0, process.said()
    dbt.run(ds=DAY)
    delivered.assert_marts_equal_a_fresh_build()


def take_away(
    warehouse: Warehouse, server: EmbeddedPostgres, backends: list[int], how: str
) -> None:
    if how == "pg_terminate_backend":
        for backend in backends:
            assert warehouse.value("select pg_terminate_backend(%s)", (backend,))
    else:
        server.stop("immediate")
        server.start()


@pytest.mark.parametrize("how", ["pg_ctl stop -m immediate", "pg_terminate_backend", "SIGKILL"])
def test_in_the_middle_of_a_copy(
    delivered: KnownShop,
    dbt: Dbt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: EmbeddedPostgres,
    how: str,
) -> None:
    warehouse = delivered.warehouse
    before = warehouse.marts()
    # Larger than the pipe, so that COPY waits for the stopped writer.
    big = [order(f"{number:032}", DAY) for number in range(100_000)]
    path = write_orders(tmp_path / "big.csv", big)
    script = (
        "import os, signal, sys\n"
        "from datetime import date\n"
        "from pathlib import Path\n"
        "from loaders import landing, warehouse\n"
        "from loaders.deliveries import Delivery\n"
        "from loaders.order_file import OrderFile\n"
        "class Stopping(OrderFile):\n"
        "    stopped = False\n"
        "    def __iter__(self):\n"
        "        for lines in super().__iter__():\n"
        "            if not self.stopped and lines.line_number > 50_000:\n"
        "                self.stopped = True\n"
        "                os.kill(os.getpid(), signal.SIGSTOP)\n"
        "            yield lines\n"
        f"day = date.fromisoformat({DAY!r})\n"
        "landing.land(Delivery('increment', 'r', 'i', day, day, 'u'),\n"
        f"    lambda: Stopping(Path({str(path)!r}), day, day),\n"
        "    source_file='big', sha256='0' * 64,\n"
        "    started_at=warehouse.clock(), max_rejected_share=0.05)\n"
    )
    process = Started("python", "-c", script, folder=tmp_path)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    copying = [pid for (pid,) in warehouse.query("select pid from pg_stat_progress_copy")]
    assert len(copying) == 1
    if how == "SIGKILL":
        kill(process)
    else:
        take_away(warehouse, server, copying, how)
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 1
        assert "TransientError: the warehouse went away" in process.said()
    assert warehouse.marts() == before
    delivered.deliver(DAY, lines(DAY, seed=1))
    dbt.run(ds=DAY)
    delivered.assert_marts_equal_a_fresh_build()


@pytest.mark.parametrize("table", ["staging.user_order_log", "mart.f_sales"])
def test_a_full_disk(delivered: KnownShop, dbt: Dbt, table: str) -> None:
    """Simulated by the error that PostgreSQL raises if it cannot extend a table."""
    warehouse = delivered.warehouse
    before = warehouse.marts()
    warehouse.query(
        "create function fill_disk() returns trigger language plpgsql as"
        " $$ begin raise sqlstate '53100' using message = 'No space left on device'; end $$"
    )
    warehouse.query(
        f"create trigger full_disk after insert on {table} execute function fill_disk()"
    )
    if table.startswith("staging"):
        with pytest.raises(Exception, match="No space left on device"):
            delivered.deliver(DAY, lines(DAY, seed=1))
        assert warehouse.marts() == before
    else:
        delivered.deliver(DAY, lines(DAY, seed=1))
        assert not dbt.invoke("run", ds=DAY).success
    warehouse.query(f"drop trigger full_disk on {table}")
    delivered.deliver(DAY, lines(DAY, seed=1))
    dbt.run(ds=DAY)
    delivered.assert_marts_equal_a_fresh_build()
