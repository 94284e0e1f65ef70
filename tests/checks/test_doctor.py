"""The doctor, on warehouses that are well and on such that are not: each line in each state."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path

import psycopg2
import pytest
from support import DATABASE, ROOT, Dbt, Warehouse, database, deliverer, order, run_command

from checks import dbt as dbt_project
from checks.doctor import examination, examine, orchestrator, show, surroundings
from checks.doctor import warehouse as of_warehouse
from checks.doctor.finding import Finding, State
from checks.session import open_session
from loaders import quarantine
from local.ports import HOST, free_port
from local.postgres import EmbeddedPostgres, bundled_bin_dir, connect
from migrations.roles import create_roles

TODAY = date(2024, 2, 26)
DAYS = [f"2024-02-{day}" for day in range(19, 26)]
WELL, LOOK, BROKEN, NOT = State.WELL, State.LOOK, State.BROKEN, State.NOT_LOOKED_AT


@pytest.fixture(scope="module")
def week(
    server: EmbeddedPostgres,
    template: str,
    dbt_parsed: Dbt,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The name of a database with a week that was delivered and built a while ago."""
    with database(server, template, keep_as="built_week") as built:
        deliver = deliverer(tmp_path_factory.mktemp("deliveries"))
        for day in DAYS:
            deliver(day, [order(day, day)])
        dbt_parsed.run()
        built.query("update staging.delivery set finished_at = finished_at - interval '2 hours'")
    return "built_week"


@pytest.fixture
def built(server: EmbeddedPostgres, week: str) -> Iterator[Warehouse]:
    with database(server, week) as built:
        yield built


def found(check: str, today: date = TODAY) -> Finding:
    """The one finding of a check."""
    (finding,) = [finding for finding in examine(today) if finding.check == check]
    return finding


def is_found(check: str, state: State, text: str, command: str = "", today: date = TODAY) -> None:
    finding = found(check, today)
    assert (finding.state, finding.command) == (state, command), finding
    assert text in finding.text, finding


def test_all_is_well(built: Warehouse, capsys: pytest.CaptureFixture[str]) -> None:
    findings = examine(TODAY)
    assert show(findings) == 0, findings
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(findings)
    (line_of_disk,) = [line for line in lines if " disk  " in line]
    # Of what it cannot see here, and of nothing else, it says so.
    assert [line for line in lines if not line.startswith("well ")] == [
        "not looked at  report API    REPORT_API_URL is not set",
        line_of_disk,
        "not looked at  airflow       AIRFLOW__DATABASE__SQL_ALCHEMY_CONN is not set",
    ]
    checks = {finding.check for finding in findings}
    assert checks >= {
        *("versions", "settings", "manifest", "report API", "server", "clock", "rights"),
        *("migrations", "marts", "ledger", "days", "due", "freshness", "refused", "quarantine"),
        *("locks", "disk", "disk here", "airflow"),
    }


def test_it_changes_nothing(built: Warehouse, dbt_target: Path) -> None:
    def state() -> object:
        files = [(path, path.stat().st_mtime_ns) for path in sorted(dbt_target.rglob("*"))]
        written = "select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables"
        return built.marts(), files, built.value(written)

    before = state()
    examine(TODAY)
    assert state() == before
    with (
        closing(open_session("doctor", examination.SESSION, autocommit=False)) as session,
        session.cursor() as cursor,
        pytest.raises(psycopg2.errors.ReadOnlySqlTransaction),
    ):
        cursor.execute("delete from staging.user_order_log")


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ("select 1", 0, "well"),
        ("delete from staging.delivery_day where day = '2024-02-21'", 2, "broken"),
        ("update staging.delivery set rejected = 99, received = 100 where delivery_id = 1", 1,
         "look at it"),
    ],
)  # fmt: skip
def test_its_status_and_its_json(built: Warehouse, change: str, status: int, word: str) -> None:
    built.query(change)
    done = run_command(
        "python", "-m", "checks", "doctor", "--json", "--today", str(TODAY), check=False
    )
    assert (done.returncode, done.stderr) == (status, "")
    told = json.loads(done.stdout)
    assert told["state"] == word
    assert {tuple(finding) for finding in told["findings"]} == {
        ("check", "state", "text", "command")
    }
    assert any(finding["state"] == word for finding in told["findings"])


# ------------------------------------------------------------------ the warehouse


def test_a_warehouse_that_does_not_answer(
    built: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", str(free_port()))
    finding = found("server")
    assert finding.state is BROKEN and finding.command == "make warehouse"
    assert "Connection refused" in finding.text and "\n" not in finding.text
    (others,) = [finding for finding in examine() if "ledger" in finding.check]
    assert others.state is NOT and "locks" in others.check


def test_a_warehouse_that_is_not_prepared(empty_database: Warehouse) -> None:
    for check in ("migrations", "ledger", "days", "refused"):
        is_found(check, BROKEN, "the warehouse is not prepared", "make warehouse")
    is_found("marts", BROKEN, "not there: d_calendar, ", "make warehouse")


@pytest.mark.parametrize(("supported", "state"), [(range(19, 20), BROKEN), (range(14, 18), LOOK)])
def test_a_server_of_another_version(
    built: Warehouse, monkeypatch: pytest.MonkeyPatch, supported: range, state: State
) -> None:
    monkeypatch.setattr(of_warehouse, "SUPPORTED", supported)
    is_found("server", state, "PostgreSQL 15 to 18 is supported")


@contextmanager
def pretending(built: Warehouse, function: str) -> Iterator[None]:
    """Let the server itself answer otherwise: a function of this name is found before its own."""
    built.query(f"create schema pretended; create function pretended.{function}")
    built.query(f"alter database {DATABASE} set search_path = pretended, pg_catalog, public")
    yield


def test_a_way_to_the_server_that_is_not_encrypted(built: Warehouse) -> None:
    elsewhere = "inet_server_addr() returns inet language sql as $$ select inet '10.9.8.7' $$"
    with pretending(built, elsewhere):
        is_found("server", LOOK, "without TLS to 10.9.8.7", "export PGSSLMODE=verify-full")


@pytest.mark.parametrize(("skew", "state"), [("-9 seconds", LOOK), ("1 hour", BROKEN)])
def test_a_server_whose_clock_differs(built: Warehouse, skew: str, state: State) -> None:
    shifted = (
        "clock_timestamp() returns timestamptz language sql as"
        f" $$ select pg_catalog.clock_timestamp() + interval '{skew}' $$"
    )
    with pretending(built, shifted):
        is_found("clock", state, "s between this machine's", "timedatectl status")


@pytest.fixture
def accounts(built: Warehouse) -> Iterator[tuple[str, str]]:
    """The accounts of loader and dbt, with their names as passwords."""
    create_roles(say=lambda text: None)
    loader, transformer = f"{DATABASE}_loader", f"{DATABASE}_transformer"
    for account in (loader, transformer):
        built.query(f"alter role {account} password '{account}'")
    yield loader, transformer
    built.query(f"reassign owned by {transformer} to current_user")
    for account in (loader, transformer, f"{DATABASE}_reader"):
        built.query(f"drop owned by {account}")
        built.query(f"drop role {account}")


def test_the_rights_of_loader_and_dbt(built: Warehouse, accounts: tuple[str, str]) -> None:
    loader, transformer = accounts
    assert found("rights").state is WELL, "the owner may all"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGUSER", loader)
        patch.setenv("PGPASSWORD", loader)
        is_found("rights", LOOK, f"dbt: {loader} does not own mart.d_calendar", "make roles")
        # What it may not read it cannot tell.
        assert found("freshness").state is NOT
        patch.setenv("DBT_USER", transformer)
        patch.setenv("DBT_ENV_SECRET_PGPASSWORD", "wrong")
        is_found("rights", BROKEN, f"{transformer} cannot connect: ", "make roles")
        patch.setenv("DBT_ENV_SECRET_PGPASSWORD", transformer)
        is_found("rights", WELL, f"{loader} and {transformer} may load and build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGUSER", transformer)
        patch.setenv("PGPASSWORD", transformer)
        said = f"the loader: {transformer} lacks DELETE on staging.delivery"
        is_found("rights", LOOK, said, "make roles")
    built.query(f"revoke delete on staging.user_order_log from {loader}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGUSER", loader)
        patch.setenv("PGPASSWORD", loader)
        patch.setenv("DBT_USER", transformer)
        patch.setenv("DBT_ENV_SECRET_PGPASSWORD", transformer)
        said = f"the loader: {loader} lacks DELETE on staging.user_order_log"
        is_found("rights", BROKEN, said, "make roles")
        patch.setenv("DBT_USER", "nobody_here")
        is_found("rights", BROKEN, 'role "nobody_here" does not exist')
        patch.setenv("DBT_USER", f"{DATABASE}_reader")
        said = f"dbt: {DATABASE}_reader does not own mart.d_calendar"
        is_found("rights", BROKEN, said, "make roles")


def test_an_account_that_may_neither_load_nor_build(built: Warehouse) -> None:
    built.query("create role a_stranger login password 's'")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PGUSER", "a_stranger")
            patch.setenv("PGPASSWORD", "s")
            said = "the loader: a_stranger lacks DELETE on staging.delivery"
            is_found("rights", BROKEN, said, "make roles")
            assert found("ledger").state is NOT
    finally:
        built.query("drop role a_stranger")


def test_migrations_that_are_pending_or_not_known(built: Warehouse) -> None:
    built.query("update staging.alembic_version set version_num = '0005'")
    finding = found("migrations")
    assert finding.state is BROKEN and finding.command == "alembic upgrade head"
    assert finding.text.startswith("pending: 0006, 0007")
    built.query("update staging.alembic_version set version_num = '9999'")
    is_found("migrations", BROKEN, "9999 is not of this code", "git pull")


def test_a_mart_that_is_not_there(built: Warehouse) -> None:
    built.query("drop table mart.restatement_log")
    is_found("marts", BROKEN, "not there: restatement_log", "make warehouse")


def test_a_ledger_that_does_not_balance(built: Warehouse) -> None:
    built.query("delete from staging.user_order_log where uniq_id = '2024-02-21'")
    said = "2024-02-21: delivery 3 loaded 1 lines, staging holds 0"
    is_found("ledger", BROKEN, said, "make prove")


def test_days_that_are_missing(built: Warehouse) -> None:
    built.query(
        "delete from staging.user_order_log where uniq_id in ('2024-02-20', '2024-02-22');"
        "delete from staging.delivery_day where day in ('2024-02-20', '2024-02-22')"
    )
    said = "2 missing between 2024-02-19 and 2024-02-25: 2024-02-20, 2024-02-22"
    again = "python -m loaders increment --date 2024-02-22 && dbt run --vars '{ds: 2024-02-22}'"
    is_found("days", LOOK, said, again)
    # The service does not keep increments of a month ago.
    is_found("days", LOOK, said, "python -m loaders history", today=date(2024, 3, 22))
    assert found("due", date(2024, 2, 26)).state is WELL


def test_no_day_at_all(warehouse: Warehouse) -> None:
    is_found("days", LOOK, "none was delivered yet", "python -m loaders history")
    is_found("freshness", WELL, "no order lines that were due to be built")


def test_a_day_that_did_not_come(built: Warehouse) -> None:
    load = "python -m loaders increment --date 2024-02-26 && dbt run --vars '{ds: 2024-02-26}'"
    is_found("due", LOOK, "1 due and not here: 2024-02-26", load, today=date(2024, 2, 27))
    said = "2 due and not here: 2024-02-26 to 2024-02-27"
    is_found("due", BROKEN, said, load, today=date(2024, 2, 28))
    # Without a day it goes by the warehouse's clock.
    (due,) = [finding for finding in examine() if finding.check == "due"]
    assert due.state is BROKEN and due.command == "python -m loaders history"


def test_a_day_is_due_by_the_morning(built: Warehouse) -> None:
    at = "clock_timestamp() returns timestamptz language sql as $$ select timestamptz '{}' $$"
    with pretending(built, at.format("2024-02-27 05:59+00")):
        (due,) = [finding for finding in examine() if finding.check == "due"]
        assert due.state is WELL
    built.query("drop schema pretended cascade")
    with pretending(built, at.format("2024-02-27 06:01+00")):
        (due,) = [finding for finding in examine() if finding.check == "due"]
        assert due.state is LOOK


@pytest.mark.parametrize(
    ("change", "check", "text"),
    [
        ("delete from mart.f_sales where date_id = 20240225", "mart.f_sales", "20240224"),
        ("delete from mart.f_shop_retention", "mart.f_shop_retention", "nothing"),
        ("update mart.f_customer_retention set period_id = '2024-W07'",
         "mart.f_customer_retention", "2024-W07"),
        ("update mart.d_item set latest_order_date = '2024-02-01'", "mart.d_item", "2024-02-01"),
    ],
)  # fmt: skip
def test_a_mart_that_is_behind(built: Warehouse, change: str, check: str, text: str) -> None:
    built.query(change)
    said = f"ends with {text}, staging with 2024-02-25"
    is_found(check, LOOK, said, "dbt run --vars '{ds: 2024-02-25}'")


def test_days_that_were_loaded_and_not_built(built: Warehouse, tmp_path: Path) -> None:
    deliver = deliverer(tmp_path)
    deliver("2024-02-21", [order("a", "2024-02-21")])
    # A run may be building it.
    assert found("freshness").state is WELL
    built.query("update staging.delivery set finished_at = finished_at - interval '2 hours'")
    said = "1 days loaded and not built: 2024-02-21"
    is_found("freshness", LOOK, said, "dbt run --vars '{ds: 2024-02-21}'")


def test_lines_that_were_replayed_and_not_built(
    built: Warehouse, dbt_parsed: Dbt, tmp_path: Path
) -> None:
    orders = [order(str(number), DAYS[2]) for number in range(30)]
    deliverer(tmp_path)(DAYS[2], [*orders, order("bad", DAYS[2], quantity="many")])
    dbt_parsed.run()
    built.query("update staging.delivery set finished_at = finished_at - interval '2 hours'")
    assert found("freshness").state is WELL
    quarantine.export(8, None, tmp_path / "rejected.csv")
    corrected = (tmp_path / "rejected.csv").read_text().replace("many", "2")
    (tmp_path / "rejected.csv").write_text(corrected)
    quarantine.replay(8, tmp_path / "rejected.csv")
    said = "1 days loaded and not built: 2024-02-21"
    is_found("freshness", LOOK, said, "dbt run --vars '{ds: 2024-02-21}'")


def test_refused_deliveries_wait_until_their_day_has_come(built: Warehouse, tmp_path: Path) -> None:
    deliver = deliverer(tmp_path)
    for day in ("2024-02-25", "2024-02-26"):
        with pytest.raises(Exception, match="lines rejected"):
            deliver(day, [order("a", day, quantity="many")])
    said = "2 waiting: delivery 9 (increment 2024-02-26), delivery 8 (increment 2024-02-25)"
    is_found("refused", LOOK, said, "python -m loaders quarantine list")
    for day in ("2024-02-25", "2024-02-26"):
        deliver(day, [order("a", day)])
    assert found("refused").state is WELL


def test_a_quarantine_that_grows(built: Warehouse) -> None:
    rejected = "update staging.delivery set received = received + 30, rejected = 30"
    built.query(f"{rejected} where delivery_id = 1")
    said = "30 lines, 30 of the last 7 days, 0 of the 7 before"
    is_found("quarantine", LOOK, said, "python -m loaders quarantine list")
    built.query(f"{rejected}, finished_at = finished_at - interval '8 days' where delivery_id = 2")
    assert found("quarantine").state is WELL, "as many as ever"


def test_who_holds_a_lock(built: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("locks").state is WELL
    with closing(built.connect()) as one, one.cursor() as cursor:
        cursor.execute("set application_name = 'stuck'")
        cursor.execute("select pg_advisory_xact_lock(hashtext('staging.user_order_log'))")
        cursor.execute("update mart.d_city set city_name = 'Казань'")
        # Not held for long yet.
        assert found("locks").state is WELL
        monkeypatch.setattr(of_warehouse, "LONG_HELD", timedelta(0))
        finding = found("locks")
        pid = one.info.backend_pid
        assert finding.command == f"psql -c 'select pg_terminate_backend({pid})'"
        assert finding.text.startswith("mart.d_city, staging.user_order_log held since ")
        assert f"by stuck of warehouse on 127.0.0.1, process {pid}: idle in" in finding.text
        assert finding.state is BROKEN


def test_who_is_at_work_under_a_lock(built: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_warehouse, "LONG_HELD", timedelta(0))
    statement = "select pg_advisory_xact_lock(hashtext('mart.f_sales')), pg_sleep(60)"
    worker = subprocess.Popen([bundled_bin_dir() / "psql", "-X", "-c", statement])
    try:
        wait_for(lambda: found("locks").state is LOOK)
        assert "process" in found("locks").text and ": active" in found("locks").text
    finally:
        worker.kill()
        worker.wait()


def test_a_lock_of_another_account(
    server: EmbeddedPostgres, built: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_warehouse, "LONG_HELD", timedelta(0))
    with closing(server._connect_as_superuser()) as admin, admin.cursor() as other:
        other.execute("select current_user::text")
        ((account,),) = other.fetchall()
    env = {**server.env(DATABASE), "PGUSER": account, "PGPASSWORD": server._superuser_password}
    with closing(connect(env)) as theirs, theirs.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtext('mart.f_sales'))")
        pid = theirs.info.backend_pid
        is_found("locks", NOT, f"mart.f_sales held by process {pid} of {account}")


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.2)


def test_a_question_that_takes_too_long(built: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(examination.SESSION, "statement_timeout", "300ms")
    with closing(built.connect()) as other, other.cursor() as cursor:
        cursor.execute("lock table staging.user_order_log in access exclusive mode")
        is_found("ledger", LOOK, "no answer within 300ms", "make prove")


# ---------------------------------------------------------------- what surrounds it


@pytest.fixture
def monitor(server: EmbeddedPostgres, built: Warehouse) -> Iterator[None]:
    """The account may look at the server as a whole."""
    with closing(server._connect_as_superuser()) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("grant pg_monitor to warehouse")
        yield
        cursor.execute("revoke pg_monitor from warehouse")


@pytest.mark.parametrize(
    ("low", "none", "state"), [(0, 0, WELL), (2**60, 0, LOOK), (2**60, 2**60, BROKEN)]
)
def test_a_disk_with_little_room(
    monitor: None, monkeypatch: pytest.MonkeyPatch, low: int, none: int, state: State
) -> None:
    monkeypatch.setattr(surroundings, "LOW_BYTES", low)
    monkeypatch.setattr(surroundings, "NO_BYTES", none)
    for check in ("disk", "disk here"):
        finding = found(check)
        assert finding.state is state and "GiB free in /" in finding.text
        assert finding.command.startswith("du -xh /" if state else "")


def test_a_server_whose_disk_is_elsewhere(built: Warehouse) -> None:
    is_found("disk", NOT, "the database takes 0.0 GiB; where it keeps them is another machine")


def test_the_versions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def finding() -> Finding:
        (only,) = surroundings.versions()
        return only

    assert (finding().state, finding().command) == (WELL, "")
    monkeypatch.setattr(dbt_project, "ROOT", tmp_path)
    assert finding().state is NOT
    (tmp_path / "uv.lock").write_text('[[package]]\nname = "dbt-core"\nversion = "1.0.0"\n')
    assert finding().state is LOOK and finding().command == "uv sync --frozen"
    assert "instead of 1.0.0" in finding().text and "dbt-core 1.11" in finding().text
    monkeypatch.setattr(surroundings, "PYTHON", ((3, 9), (3, 10)))
    assert finding().state is BROKEN


@pytest.mark.parametrize(
    ("settings", "state", "text"),
    [
        ({"PGPORT": "5432,5433"}, BROKEN, "PGPORT is '5432,5433': expected one number"),
        ({"MAX_REJECTED_SHARE": "5 %"}, BROKEN, "MAX_REJECTED_SHARE is '5 %'"),
        ({"MART_LOCK_TIMEOUT": "soon"}, BROKEN, "MART_LOCK_TIMEOUT is 'soon'"),
        ({"SALES_WINDOW_START": "2024-02-25"}, BROKEN, "only one is set"),
        ({"REPORT_API_URL": "https://a"}, BROKEN, "not set in the environment: REPORT_API_NICK"),
        ({"AIRFLOW__API__PORT": "9090"}, BROKEN, "every task fails with an empty log"),
        ({"DBT_ENV_SECRET_PGPASSWORD": "s3cret"}, LOOK, "dbt does not use it"),
        ({"SALES_WINDOW_START": "2024-02-25", "SALES_WINDOW_END": "2024-02-25"}, LOOK,
         "builds these days only"),
        ({"AIRFLOW__OPENLINEAGE__TRANSPORT": "{}"}, WELL, "no contradictions"),
        ({"PGSERVICE": "other"}, LOOK, "the loader follows it, dbt does not"),
        ({"REPORT_API_URL": "http://a.example", "REPORT_API_NICKNAME": "n",
          "REPORT_API_COHORT": "1", "REPORT_API_KEY": "s3cret"}, LOOK, "travels unencrypted"),
        ({}, WELL, "no contradictions"),
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], state: State, text: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (finding,) = surroundings.settings()
    assert finding.state is state and text in finding.text, finding
    assert "s3cret" not in finding.text


def test_lineage_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", "{}")
    monkeypatch.setattr(surroundings, "LINEAGE", "a-package-that-is-not-there")
    (finding,) = surroundings.settings()
    assert finding.state is LOOK and "not installed: no events" in finding.text


def test_the_manifest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dbt_parsed: Dbt) -> None:
    def finding() -> Finding:
        (only,) = surroundings.manifest()
        return only

    assert finding().state is WELL
    path = dbt_project.manifest()
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path))
    assert finding().state is BROKEN and finding().command == "dbt parse"
    (tmp_path / "manifest.json").write_bytes(path.read_bytes())
    os.utime(tmp_path / "manifest.json", (0, 0))
    assert finding().state is LOOK and finding().command == "dbt parse"


def test_the_report_api(monkeypatch: pytest.MonkeyPatch) -> None:
    def finding() -> Finding:
        (only,) = surroundings.report_api()
        return only

    assert finding().state is NOT
    with socket.create_server((HOST, 0)) as listening:
        monkeypatch.setenv("REPORT_API_URL", f"http://{HOST}:{listening.getsockname()[1]}")
        assert finding().state is WELL
    assert finding().state is BROKEN and "takes no connection" in finding().text
    assert finding().command.startswith(f"curl -v http://{HOST}:")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    assert finding().state is NOT


# ------------------------------------------------------------------------ Airflow

# Airflow's own tables, as its models have them.
CREATE_ALL = """
from airflow import settings
settings.initialize()
import airflow.models.dag, airflow.models.dagrun, airflow.models.errors, airflow.jobs.job
from airflow.models import import_all_models
import_all_models()
from airflow.models.base import Base
Base.metadata.create_all(settings.get_engine())
"""
# Only what is looked at is filled in.
UNBOUND = """
    do $$
    declare
        tables constant regclass[] := array['dag', 'dag_run', 'job', 'import_error'];
        found record;
    begin
        for found in
            select conrelid::regclass as name, conname from pg_constraint
            where contype in ('f', 'c') and conrelid = any(tables)
        loop
            execute format('alter table %s drop constraint %I', found.name, found.conname);
        end loop;
        for found in
            select attrelid::regclass as name, attname from pg_attribute
            where attrelid = any(tables) and attnotnull and attnum > 0
                and attname not in ('id', 'dag_id')
        loop
            execute format('alter table %s alter %I drop not null', found.name, found.attname);
        end loop;
    end
    $$;
    insert into dag (dag_id, is_paused, is_stale) values
        ('sales_mart_history', false, false), ('sales_mart_increment', false, false),
        ('of_others', true, false);
    insert into dag_run (dag_id, run_id, state) values
        ('of_others', '1', 'queued'), ('sales_mart_increment', '1', 'success');
    insert into job (job_type, state, latest_heartbeat) values
        ('SchedulerJob', 'running', now()), ('DagProcessorJob', 'running', now()),
        ('SchedulerJob', 'failed', now() - interval '1 day');
"""


@pytest.fixture
def metadata(
    empty_database: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Warehouse:
    """A metadata database in which all is well."""
    env = empty_database.env
    url = "postgresql+psycopg2://{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}"
    monkeypatch.setenv(orchestrator.CONNECTION, url.format(**env))
    done = subprocess.run(
        [sys.executable, "-c", CREATE_ALL],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        cwd=ROOT,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    empty_database.query(UNBOUND)
    return empty_database


def test_airflow(metadata: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(check: str) -> Finding:
        (finding,) = [finding for finding in orchestrator.airflow() if finding.check == check]
        return finding

    checks = ("scheduler", "dag-processor", "DAGs", "paused")
    assert [(look(check).state, look(check).command) for check in checks] == [(WELL, "")] * 4

    metadata.query("update dag set is_paused = true")
    assert look("paused").state is LOOK
    assert look("paused").command == "airflow dags unpause sales_mart_increment"
    metadata.query("insert into dag_run (dag_id, run_id, state) select 'sales_mart_history',"
                   " i::text, 'queued' from generate_series(1, 3) as i")  # fmt: skip
    assert look("paused").state is BROKEN
    assert look("paused").text == "sales_mart_history is paused, 3 of its runs wait"
    assert look("paused").command == "airflow dags unpause sales_mart_history"

    metadata.query("update dag set is_stale = true where dag_id = 'sales_mart_history'")
    assert look("DAGs").state is BROKEN and "not loaded: sales_mart_history" in look("DAGs").text
    metadata.query("insert into import_error (filename) values ('sales_mart_increment.py')")
    assert look("DAGs").text == "not loaded: sales_mart_increment.py"
    assert look("DAGs").command == "airflow dags list-import-errors"

    metadata.query("update job set latest_heartbeat = now() - interval '5 minutes'")
    assert look("scheduler").state is BROKEN and "silent: since" in look("scheduler").text
    assert look("scheduler").command == "airflow scheduler"
    metadata.query("delete from job where job_type = 'DagProcessorJob'")
    assert look("dag-processor").state is BROKEN and "no sign" in look("dag-processor").text

    metadata.query("drop table job")
    assert look("airflow").state is BROKEN and look("airflow").command == "airflow db check"
    monkeypatch.setenv(orchestrator.CONNECTION, "postgresql://me:s3cret@host/airflow")
    assert look("airflow").state is BROKEN and "psycopg 3" in look("airflow").text
    assert "s3cret" not in look("airflow").text
    monkeypatch.setenv(orchestrator.CONNECTION, "sqlite:////tmp/a.db")
    assert look("airflow").state is NOT
