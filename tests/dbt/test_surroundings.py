"""dbt with settings, defaults and relations that belong to others."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
from support import DATABASE, Dbt, Deliver, Warehouse, order, run_command

DAY = "2024-02-25"


def said(dbt: Dbt, *arguments: str, **variables: object) -> str:
    """Return the message with which dbt refuses a command."""
    done = dbt.invoke(*arguments, **variables)
    assert not done.success
    return str(done.exception) + "".join(str(result.message) for result in done.result or [])


@pytest.mark.parametrize(
    "name",
    ["PGSSLMODE", "DBT_USER", "DBT_ENV_SECRET_PGPASSWORD", "MART_LOCK_TIMEOUT"],
)
def test_an_empty_setting_is_an_unset_one(
    dbt: Dbt, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "")
    dbt.run("--select", "d_item")


def test_an_empty_port_is_the_usual_one(dbt: Dbt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "")
    # An address where nothing listens.
    monkeypatch.setenv("PGHOST", "127.254.254.254")
    assert "port 5432 failed" in said(dbt, "run", "--select", "d_item")


def test_an_account_of_dbts_own(dbt: Dbt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBT_USER", "somebody")
    monkeypatch.setenv("DBT_ENV_SECRET_PGPASSWORD", "not this one")
    message = said(dbt, "run", "--select", "d_item")
    assert 'password authentication failed for user "somebody"' in message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PGHOST", "", "'PGHOST, not empty'"),
        ("PGUSER", "", "'PGUSER, not empty'"),
        ("PGDATABASE", "", "'PGDATABASE, not empty'"),
        ("PGPORT", "5432,5433", "'PGPORT, one port and no list'"),
        ("PGPORT", "many", "Could not convert value 'many'"),
        ("MART_LOCK_TIMEOUT", "soon", "MART_LOCK_TIMEOUT is 'soon': expected a time like 10min"),
        ("MART_LOCK_TIMEOUT", "1'; drop", "MART_LOCK_TIMEOUT is '1'; drop': expected a time"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(
    dbt: Dbt, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    assert message in said(dbt, "run", "--select", "d_item")


@pytest.mark.parametrize("periods", [[], None, "weekly", {"weekly": 1}, 7, ["weekly", "weekly"]])
def test_retention_periods_are_a_list_of_different_names(dbt: Dbt, periods: object) -> None:
    message = said(dbt, "run", retention_periods=periods)
    assert f"retention_periods is {periods}: expected a list of weekly or monthly" in message


@contextmanager
def held(warehouse: Warehouse, statement: str, seconds: float) -> Iterator[None]:
    """Let another session hold the lock of the statement for this many seconds."""

    def hold() -> None:
        with closing(warehouse.connect()) as other, other.cursor() as cursor:
            cursor.execute("set local statement_timeout = 0")
            cursor.execute(statement)
            taken.append(True)
            time.sleep(seconds)

    taken: list[bool] = []
    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        while not taken:
            time.sleep(0.01)
        yield
        holding.result()


def test_the_time_limit_of_an_account_cuts_no_run_and_no_test(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    deliver(DAY, [order("a", DAY)])
    warehouse.query(f"alter database {DATABASE} set statement_timeout = '2s'")
    # A waiting statement counts as a long one.
    with held(warehouse, "select pg_advisory_xact_lock(hashtext('mart.f_sales'))", 4):
        dbt.run(ds=DAY)
    with held(warehouse, "lock table mart.f_sales", 4):
        name = "assert_refund_flag_agrees_with_sign"
        assert dbt.invoke("test", "--select", name, ds=DAY).success


KINDS = {
    "view": "create view {} as select 1 as item_id",
    "materialized view": "create materialized view {} as select 1 as item_id",
    "sequence": "create sequence {}",
    "type": "create type {} as (item_id integer)",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mart", ["d_item", "f_sales"])
def test_what_stands_under_a_marts_name_is_left_alone(
    empty_database: Warehouse, dbt_parsed: Dbt, kind: str, mart: str
) -> None:
    run_command("alembic", "upgrade", "head")
    empty_database.query(KINDS[kind].format(f"mart.{mart}"))
    if "view" in kind:
        empty_database.query(f"create view public.report as select * from mart.{mart}")
    before = empty_database.query("select oid, relname from pg_class where relname = %s", (mart,))
    for command in ("--empty", "--full-refresh", "--no-populate-cache"):
        message = said(dbt_parsed, "run", command)
        assert f"mart.{mart} is a {kind}, and the mart of this name a table" in message
    assert before == empty_database.query(
        "select oid, relname from pg_class where relname = %s", (mart,)
    )
    if "view" in kind:
        assert empty_database.query("select * from public.report") == [(1,)]


@pytest.mark.parametrize("column", ["date_id", "delivery.date_id", "order_date", "period_id"])
def test_a_window_is_of_any_column_that_is_named_for_it(dbt: Dbt, column: str) -> None:
    question = f"select 1 where {{{{ in_window('{column}') }}}}"
    (result,) = dbt.invoke("compile", "--inline", question).result
    assert result.node.compiled_code.split() == ["select", "1", "where", "true"]
    (result,) = dbt.invoke("compile", "--inline", question, ds=DAY).result
    condition = " ".join(result.node.compiled_code.split()).removeprefix("select 1 where ")
    day = {"date_id": "20240225", "order_date": f"date '{DAY}'"}.get(column.rpartition(".")[2])
    expected = f"{column} between {day} and {day}" if day else f"{column} in ("
    assert condition.startswith(expected)


def test_a_window_of_another_column_is_refused(dbt: Dbt) -> None:
    question = "select 1 where {{ in_window('item_id') }}"
    refused = run_command("dbt", "compile", "--inline", question, check=False)
    assert "in_window('item_id'): expected a column that ends in" in refused.stdout


@pytest.mark.parametrize("variables", [{}, {"ds": "2019-05-05"}])
def test_sales_that_staging_never_held_stay(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver, variables: dict[str, object]
) -> None:
    warehouse.query("insert into mart.d_item (item_id) values (7)")
    warehouse.query("insert into mart.d_city (city_id) values (7)")
    warehouse.query("insert into mart.d_customer (customer_id) values (7)")
    warehouse.query(
        "insert into mart.f_sales values (20190505, 7, 7, 7, 1, 1, false, 'mart.f_sales.id=7')"
    )
    dbt.run(**variables)
    assert warehouse.value("select uniq_id from mart.f_sales") == "mart.f_sales.id=7"
    assert dbt.invoke("test", "--exclude", "resource_type:unit_test", **variables).success
    deliver("2019-05-05", [order("new", "2019-05-05")])
    dbt.run(**variables)
    assert warehouse.value("select uniq_id from mart.f_sales") == "new"


def test_refunds_of_any_number_of_pieces_fit(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    most = 2**63 - 1
    deliver(
        DAY,
        [order(f"{n}", DAY, status="refunded", quantity=most, payment_amount=1) for n in range(12)],
    )
    dbt.run(ds=DAY)
    assert warehouse.value("select refunded_quantity from mart.f_customer_retention") == 12 * most
