"""The three roles: a connection as each of them."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.errors import InsufficientPrivilege
from support import DATABASE, ROOT, Dbt, Deliver, Warehouse, order, run_command

from checks import dbt as dbt_project
from loaders.errors import TerminalError
from local.postgres import EmbeddedPostgres
from migrations.roles import create_roles

LOADER, TRANSFORMER, READER = (f"{DATABASE}_{role}" for role in ("loader", "transformer", "reader"))
DAY = "2024-02-25"
STAGING = ("user_order_log", "delivery", "delivery_day", "quarantine")
MODELS = {model.stem for model in ROOT.glob("dbt_project/models/mart/**/*.sql")}
assert len(MODELS) > 5
MARTS = MODELS - {"d_customer"} | {"d_customer_masked"}
# As in docs/runbook.md.
SWITCH_OFF = f"""
    drop view mart.d_customer_masked;
    reassign owned by {TRANSFORMER} to current_user;
    drop owned by {LOADER};
    drop owned by {TRANSFORMER};
    drop owned by {READER};
    drop role {LOADER}, {TRANSFORMER}, {READER};
"""


class As:
    """Connects as one of the roles; programs that are started meanwhile do the same."""

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
    """Switch the roles on, with passwords; switch them off again as in the runbook."""
    create_roles()
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
    with pytest.raises(TerminalError, match="permission denied"):
        create_roles()

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
        # Nothing was restated.
        least = 0 if table == "restatement_log" else 1
        assert warehouse.value(f"select count(*) from mart.{table}") >= least
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
    # A new d_customer would be readable at once, with its names. The view prevents dropping the old
    # one.
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
    # Calling the command again hands the marts over, and does no harm.
    create_roles()
    become(TRANSFORMER)
    assert warehouse.value("select count(*) from mart.later") == 0
    # Relations that are no marts of this pipeline may show names.
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
    """A shop with relations of its own that show names, before there are roles."""
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
    with pytest.raises(TerminalError, match="dbt run --empty"):
        create_roles()


def test_what_may_be_read_follows_from_the_list_of_marts(
    become: As, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the owner's runs of dbt would make these tables.
    warehouse.query("create table mart.f_later (item_id int)")
    warehouse.query("create table mart.d_buyer (customer_id int, last_name text)")
    (like, *_), columns = dbt_project.marts(), {"f_later": "item_id", "d_buyer": "last_name"}
    later = [replace(like, name=name, columns={text: "int"}) for name, text in columns.items()]
    marts = (*dbt_project.marts(), *later)
    monkeypatch.setattr(dbt_project, "marts", lambda: marts)
    create_roles()
    become(READER)
    assert warehouse.value("select count(*) from mart.f_later") == 0
    refused(warehouse, "select from mart.d_buyer")


def test_another_view_of_that_name_is_not_replaced(warehouse: Warehouse) -> None:
    warehouse.query(
        "create view mart.d_customer_masked as"
        " select customer_id, first_name, last_name, city_id from mart.d_customer"
    )
    with pytest.raises(TerminalError, match="d_customer_masked is there, and it is not the view"):
        create_roles()
    roles = f"select rolname from pg_roles where rolname like '{DATABASE}%'"
    assert warehouse.query(roles) == []


@pytest.mark.parametrize(
    "name", ["Retail ДБ", "o'hara's \"db\"", "UPPER; drop schema mart", "%s {} \\", "d" * 50]
)
def test_a_database_may_have_any_name(
    server: EmbeddedPostgres, template: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    env = server.env("postgres")
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)

    def execute(statement: str, *names: str) -> None:
        with closing(psycopg2.connect("")) as connection:
            connection.autocommit = True
            connection.cursor().execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    roles = [f"{name}_{role}" for role in ("loader", "transformer", "reader")]
    execute("create database {} template {}", name, template)
    monkeypatch.setenv("PGDATABASE", name)
    try:
        said: list[str] = []
        create_roles(said.append)
        create_roles(said.append)
        assert all(role in said[0] for role in roles)
        warehouse = Warehouse({})
        assert warehouse.query(
            "select tableowner from pg_tables where schemaname = 'mart' group by 1"
        ) == [(roles[1],)]
        for mart in MARTS:
            granted = "select has_table_privilege(%s, %s, 'select')"
            assert warehouse.value(granted, (roles[2], f"mart.{mart}"))
    finally:
        monkeypatch.setenv("PGDATABASE", "postgres")
        execute("drop database {} with (force)", name)
        for role in roles:
            execute("drop role if exists {}", role)


def test_a_name_that_is_too_long_is_refused(
    server: EmbeddedPostgres, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in server.env("postgres").items():
        monkeypatch.setenv(variable, value)
    name = "й" * 31  # a name may have 63 bytes
    with closing(psycopg2.connect("")) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(f'create database "{name}" template {template}')
        try:
            monkeypatch.setenv("PGDATABASE", name)
            with pytest.raises(TerminalError, match="too long to name roles after it"):
                create_roles()
        finally:
            cursor.execute(f'drop database "{name}" with (force)')


@pytest.mark.parametrize(
    ("comment", "left"),
    [
        (
            "Creates the roles <database>_loader, _transformer and _reader, or brings their rights"
            " up to date.",
            0,
        ),
        ("Of our own.", 1),
    ],
)
def test_the_procedure_of_older_versions_goes_and_another_s_stays(
    empty_database: Warehouse, comment: str, left: int
) -> None:
    run_command("alembic", "upgrade", "0003")
    empty_database.query("create procedure staging.create_roles() language sql as 'select 1'")
    empty_database.query("comment on procedure staging.create_roles is %s", (comment,))
    run_command("alembic", "upgrade", "head")
    procedures = "select count(*) from pg_proc where pronamespace = 'staging'::regnamespace"
    assert empty_database.value(procedures) == left
