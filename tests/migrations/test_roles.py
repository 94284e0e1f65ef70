"""The three roles, by connecting as each."""

import os
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.errors import InsufficientPrivilege, RaiseException
from support import DATABASE, ROOT, Dbt, Deliver, Warehouse, order, run_command

LOADER, TRANSFORMER, READER = (f"{DATABASE}_{role}" for role in ("loader", "transformer", "reader"))
DAY = "2024-02-25"
STAGING = ("user_order_log", "delivery", "delivery_day", "quarantine")
MODELS = {model.stem for model in ROOT.glob("dbt_project/models/mart/*.sql")}
MARTS = MODELS - {"d_customer"} | {"d_customer_masked"}
# As docs/runbook.md says it.
SWITCH_OFF = f"""
    drop view mart.d_customer_masked;
    reassign owned by {TRANSFORMER} to current_user;
    drop owned by {LOADER};
    drop owned by {TRANSFORMER};
    drop owned by {READER};
    drop role {LOADER}, {TRANSFORMER}, {READER};
"""


class As:
    """Connects as one of the roles; so does every program started meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch, self._owner = monkeypatch, os.environ["PGUSER"]
        self._password = os.environ["PGPASSWORD"]

    def __call__(self, role: str) -> None:
        self._monkeypatch.setenv("PGUSER", role)
        self._monkeypatch.setenv("PGPASSWORD", f"password of {role}")

    def owner(self) -> None:
        self._monkeypatch.setenv("PGUSER", self._owner)
        self._monkeypatch.setenv("PGPASSWORD", self._password)


@pytest.fixture
def become(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[As]:
    """Roles switched on, with passwords; switched off again as the runbook says."""
    warehouse.query("call staging.create_roles()")
    for role in (LOADER, TRANSFORMER, READER):
        warehouse.query(f"alter role {role} password 'password of {role}'")
    become = As(monkeypatch)
    yield become
    become.owner()
    warehouse.query(SWITCH_OFF)
    assert warehouse.value("select count(*) from mart.f_sales") >= 0
    assert not warehouse.query(
        "select rolname from pg_roles where rolname in %s", ((LOADER, TRANSFORMER, READER),)
    )


def refused(warehouse: Warehouse, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        warehouse.query(statement)


def test_there_are_no_roles_until_they_are_called_for(warehouse: Warehouse) -> None:
    roles = f"select rolname from pg_roles where rolname like '{DATABASE}%'"
    assert warehouse.query(roles) == []


def test_each_role_does_its_work_and_no_other(
    become: As, warehouse: Warehouse, deliver: Deliver
) -> None:
    become(LOADER)
    assert deliver(DAY, [order("a", DAY), order("b", DAY, quantity=0)], max_rejected_share=1)
    for table in STAGING:
        assert warehouse.value(f"select count(*) from staging.{table}") == 1
    for table in (*MARTS, "d_customer"):
        refused(warehouse, f"select from mart.{table}")
    refused(warehouse, "delete from mart.f_sales")
    refused(warehouse, "create table mart.loaders_own (n int)")
    refused(warehouse, "create table staging.loaders_own (n int)")
    refused(warehouse, "update staging.alembic_version set version_num = '0001'")
    refused(warehouse, "call staging.create_roles()")

    become(TRANSFORMER)
    done = run_command("dbt", "run", "--vars", f"{{ds: {DAY}}}")
    assert "ERROR=0" in done.stdout
    assert warehouse.value("select count(*) from mart.f_sales") == 1
    for table in STAGING:
        assert warehouse.value(f"select count(*) from staging.{table}") == 1
        refused(warehouse, f"delete from staging.{table}")
    refused(warehouse, "update staging.user_order_log set quantity = 3")
    refused(warehouse, "insert into staging.user_order_log default values")
    refused(warehouse, "create table staging.transformers_own (n int)")

    become(READER)
    for table in MARTS:
        assert warehouse.value(f"select count(*) from mart.{table}") >= 1
    assert warehouse.query("select * from mart.d_customer_masked") == [(100, "В***", "О***", 1)]
    for columns in ("first_name", "last_name", "*", "count(*)"):
        refused(warehouse, f"select {columns} from mart.d_customer")
    for table in STAGING:
        refused(warehouse, f"select from staging.{table}")
    for table in MARTS:
        refused(warehouse, f"delete from mart.{table}")
    refused(warehouse, "create table mart.readers_own (n int)")


def test_a_table_that_dbt_creates_later_is_read_at_once(
    become: As, warehouse: Warehouse, dbt: Dbt
) -> None:
    warehouse.query("drop table mart.f_customer_retention")
    become(TRANSFORMER)
    dbt.run("--empty", "--select", "f_customer_retention")
    become(READER)
    assert warehouse.value("select count(*) from mart.f_customer_retention") == 0
    become.owner()
    assert (
        warehouse.value("select tableowner from pg_tables where tablename = 'f_customer_retention'")
        == TRANSFORMER
    )


def test_the_customers_cannot_be_rebuilt_in_the_open(become: As, warehouse: Warehouse) -> None:
    # A new d_customer would be readable at once, names and all; the view keeps the old one.
    become(TRANSFORMER)
    warehouse.query("alter table mart.f_sales drop constraint if exists f_sales_customer_id_fkey")
    with pytest.raises(psycopg2.errors.DependentObjectsStillExist, match="d_customer_masked"):
        warehouse.query("drop table mart.d_customer")


def test_what_later_migrations_create_is_within_reach(become: As, warehouse: Warehouse) -> None:
    warehouse.query("create table staging.later (id serial, n int)")
    warehouse.query("create table mart.later (n int)")
    become(LOADER)
    warehouse.query("insert into staging.later (n) values (1)")
    become(TRANSFORMER)
    assert warehouse.value("select n from staging.later") == 1
    refused(warehouse, "select from mart.later")
    become.owner()
    # The marts are handed over by calling again, which is harmless.
    warehouse.query("call staging.create_roles()")
    become(TRANSFORMER)
    assert warehouse.value("select count(*) from mart.later") == 0
    # What is no mart of this pipeline may show names.
    become(READER)
    refused(warehouse, "select from mart.later")
    refused(warehouse, "select from mart.d_customer")


def test_names_stay_hidden_whatever_was_there_before(
    names_in_the_open: None, become: As, warehouse: Warehouse
) -> None:
    become(READER)
    for relation in ("d_customer", "own_view", "own_copy"):
        refused(warehouse, f"select from mart.{relation}")
    refused(warehouse, "select from staging.user_order_log")
    for mart in MARTS:
        assert warehouse.value(f"select count(*) >= 0 from mart.{mart}")


@pytest.fixture
def names_in_the_open(warehouse: Warehouse) -> None:
    """A shop that shows names in its own ways, before there are roles."""
    warehouse.query("create view mart.own_view as select last_name from mart.d_customer")
    warehouse.query("create table mart.own_copy as select last_name from mart.d_customer")
    warehouse.query("grant select on mart.d_customer to public")
    warehouse.query("grant usage on schema staging to public")
    warehouse.query("grant select on staging.user_order_log to public")
    warehouse.query("grant select (first_name), update (last_name) on mart.d_customer to public")


def test_the_owner_can_still_run_dbt(
    become: As, warehouse: Warehouse, deliver: Deliver, dbt: Dbt
) -> None:
    deliver(DAY, [order("a", DAY)])
    dbt.run(ds=DAY)
    assert warehouse.value("select count(*) from mart.d_item") == 1


def test_roles_wait_for_the_marts(empty_database: Warehouse) -> None:
    run_command("alembic", "upgrade", "head")
    with pytest.raises(RaiseException, match="dbt run --empty"):
        empty_database.query("call staging.create_roles()")
