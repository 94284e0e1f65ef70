"""Errors of the warehouse become sentences; and odd values of its settings."""

import re
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from support import DATABASE, Deliver, Warehouse, order, run_command

from loaders.__main__ import main
from loaders.errors import LoaderError, TerminalError, TransientError
from loaders.order_file import OrderFile
from loaders.settings import max_rejected_share
from loaders.warehouse import clock, connect, explained

DAY = "2024-02-25"
COUNT = "select count(*) from staging.user_order_log"


@pytest.mark.parametrize(
    ("state", "kind", "told"),
    [
        ("08006", TransientError, "the warehouse went away: said"),
        ("57P01", TransientError, "the warehouse went away: said"),
        ("57P03", TransientError, "the warehouse went away: said"),
        ("57014", TransientError, "cancelled a statement: said; .* statement_timeout"),
        ("25P03", TransientError, "ended the connection: said; .*idle_in_transaction_session"),
        ("25P04", TransientError, "ended the connection: said; .*transaction_timeout"),
        ("57P05", TransientError, "ended the connection: said; .*idle_session_timeout"),
        ("25006", TerminalError, "is read-only: said; PGHOST names a standby"),
        ("53100", TransientError, "the warehouse's disk is full: said"),
        ("53200", TransientError, "short of memory or connections: said"),
        ("53300", TransientError, "short of memory or connections: said"),
        ("55P03", TransientError, "somebody holds a lock on a table of the warehouse: said"),
        ("40003", TransientError, "gave the transaction up: said"),
        ("42P01", TerminalError, r"is not prepared \(make warehouse\): said"),
        ("3F000", TerminalError, r"is not prepared \(make warehouse\): said"),
        ("58030", TerminalError, "has a fault: said; its server's log"),
        ("XX001", TerminalError, "has a fault: said; its server's log"),
        ("42501", TerminalError, "the warehouse refused: said"),
        ("54000", TerminalError, "the warehouse refused: said"),
        ("55000", TerminalError, "the warehouse refused: said"),
        ("22003", TerminalError, "the warehouse refused: said"),
    ],
)
def test_every_answer_is_told_for_what_it_is(
    warehouse: Warehouse, deliver: Deliver, state: str, kind: type[LoaderError], told: str
) -> None:
    warehouse.query(
        "create function answer() returns trigger language plpgsql as $$ begin"
        f" raise sqlstate '{state}' using message = 'said', detail = 'a row'; end $$"
    )
    warehouse.query(
        "create trigger answer before insert on staging.user_order_log execute function answer()"
    )
    with pytest.raises(LoaderError, match=told) as error:
        deliver(DAY, [order("a", DAY)])
    assert type(error.value) is kind
    assert "a row" not in str(error.value)
    assert warehouse.value("select count(*) from staging.delivery") == 0


def test_an_accounts_statement_timeout_is_told(
    warehouse: Warehouse, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=100")
    warehouse.query(
        "create function wait() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(5); return null; end $$"
    )
    warehouse.query(
        "create trigger wait before insert on staging.user_order_log execute function wait()"
    )
    with pytest.raises(TransientError, match=r"due to statement timeout; .* statement_timeout is"):
        deliver(DAY, [order("a", DAY)])


def test_a_server_that_only_reads_is_told(
    warehouse: Warehouse, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    with pytest.raises(TerminalError, match=r"is read-only: cannot execute .*; PGHOST names"):
        deliver(DAY, [order("a", DAY)])


def test_no_connection_left_is_told(warehouse: Warehouse) -> None:
    with closing(warehouse.connect()) as the_only_one:
        the_only_one.cursor().execute(f"alter database {DATABASE} connection limit 1")
        the_only_one.commit()
        with pytest.raises(TransientError, match=r"cannot be reached: .*too many connections"):
            clock()


def test_a_complaint_of_the_driver_is_no_answer_of_the_warehouse(warehouse: Warehouse) -> None:
    with (
        pytest.raises(psycopg2.ProgrammingError, match="no results to fetch"),
        explained(),
        closing(connect()) as connection,
    ):
        connection.cursor().fetchall()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk")], ids=repr)
def test_what_stops_the_reading_of_a_file_is_not_told_as_the_warehouses(
    warehouse: Warehouse,
    deliver: Deliver,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: BaseException,
) -> None:
    def broken(_: OrderFile) -> None:
        raise error

    monkeypatch.setattr(OrderFile, "__iter__", broken)
    with pytest.raises(type(error)) as raised:
        deliver(DAY, [order("a", DAY)])
    assert raised.value is error


EMPTY = (
    *("PGSSLMODE", "PGHOSTADDR", "PGSERVICE", "PGCHANNELBINDING", "PGTARGETSESSIONATTRS"),
    *("PGOPTIONS", "PGGSSENCMODE", "PGREQUIREAUTH", "MAX_REJECTED_SHARE", "REPORT_STORAGE_URL"),
)


@pytest.mark.parametrize("program", ["loader", "alembic", "migrations"])
def test_an_empty_setting_is_an_unset_one(
    warehouse: Warehouse,
    deliver: Deliver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: str,
) -> None:
    for name in EMPTY:
        monkeypatch.setenv(name, "")
    if program == "loader":
        assert max_rejected_share() == 0.05
        deliver(DAY, [order("a", DAY)])
        assert warehouse.value(COUNT) == 1
        assert main(["quarantine", "list"]) == 0
    elif program == "alembic":
        run_command("alembic", "current")
    else:
        run_command("python", "-m", "migrations", "takeover", "--plan")


def test_an_empty_port_is_the_usual_one(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "")
    with pytest.raises(TransientError, match="port 5432 failed"):
        clock()


def test_a_list_of_hosts_works_for_all(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing answers at the first address.
    monkeypatch.setenv("PGHOST", f"127.0.0.99,{warehouse.env['PGHOST']}")
    clock()
    run_command("alembic", "current")
    run_command("python", "-m", "migrations", "takeover", "--plan")
    run_command("dbt", "--quiet", "run", "--select", "d_item")


@pytest.mark.parametrize("port", ["5432,5433", "5432x", "-1", "५"])
def test_a_list_of_ports_is_refused_by_all(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    monkeypatch.setenv("PGPORT", port)
    said = f"PGPORT is '{port}': expected one number"
    with pytest.raises(TerminalError, match=re.escape(said)):
        clock()
    for command in (["alembic", "current"], ["python", "-m", "migrations", "takeover", "--plan"]):
        done = run_command(*command, check=False)
        assert done.returncode and said in done.stdout + done.stderr, done
        assert "Traceback" not in done.stderr
