"""Relations that have a name of ours before anything is created."""

import re
import time
from collections.abc import Iterator

import pytest
from support import Dbt, Deliver, Warehouse, database, order, run_command

from checks import dbt
from checks.preflight import preflight
from loaders.errors import TerminalError
from local.postgres import EmbeddedPostgres


@pytest.fixture
def own(request: pytest.FixtureRequest, server: EmbeddedPostgres) -> Iterator[Warehouse]:
    """A database of a shop with tables of its own."""
    with database(server, "template0") as warehouse:
        warehouse.query("create schema staging; create schema mart")
        warehouse.query(request.param)
        yield warehouse


def objects(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return warehouse.query(
        """
        select nspname, relname, relkind::text, array(
            select attname::text from pg_attribute where attrelid = pg_class.oid and attnum > 0
        )
        from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace
        where nspname !~ '^(pg_|information_schema)' order by 1, 2
        """
    )


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        (
            "create view mart.d_item as select 1 as item_id;"
            " create view public.rep as select * from mart.d_item",
            "mart.d_item is no plain table: view",
        ),
        (
            "create materialized view mart.f_sales as select 1 as one",
            "mart.f_sales is no plain table: materialized view",
        ),
        (
            "create table mart.f_sales (date_id int) partition by list (date_id)",
            "mart.f_sales is no plain table: partitioned table",
        ),
        ("create sequence mart.d_item", "mart.d_item is no plain table: sequence"),
        (
            "create table mart.x (n int); create index d_item on mart.x (n)",
            "mart.d_item is no plain table: index",
        ),
        ("create type mart.d_item as enum ('a')", "mart.d_item is no plain table: type"),
        ("create type mart.d_item as (a int)", "mart.d_item is no plain table: type"),
        ("create domain mart.d_item as int", "mart.d_item is no plain table: type"),
        (
            "create table mart.d_city (city_id int primary key, region text)",
            "mart.d_city has no column city_name",
        ),
        (
            "create table mart.d_city (city_id int primary key, city_name varchar(50))",
            "mart.d_city.city_name is character varying(50), not character varying(100)",
        ),
        (
            "create table mart.d_city (city_id bigint primary key, city_name text)",
            "mart.d_city.city_id is bigint, not integer",
        ),
        (
            "create table mart.d_city (city_id int, city_name text)",
            "mart.d_city is not unique by city_id",
        ),
        (
            "create table mart.d_city"
            " (city_id int primary key, city_name text, region text not null)",
            "mart.d_city.region: not null, and nothing fills it",
        ),
        (
            "create table mart.f_customer_retention (period_id varchar(20));"
            " insert into mart.f_customer_retention values ('2024-W05')",
            "mart.f_customer_retention has no column new_customers_count",
        ),
        (
            "create view mart.d_item__dbt_tmp as select 1 as one;"
            " create view public.rep as select * from mart.d_item__dbt_tmp",
            "mart.d_item__dbt_tmp: dbt drops what has this name",
        ),
        (
            "create table mart.d_item__dbt_backup (n int)",
            "mart.d_item__dbt_backup: dbt drops what has this name",
        ),
        (
            'create table mart."D_ITEM" (n int)',
            'mart."D_ITEM" differs from the name of a mart in upper case only',
        ),
        (
            'create schema "Mart"; create table "Mart".d_item (n int)',
            '"Mart".d_item differs from the name of a mart in upper case only',
        ),
        (
            "create table staging.delivery (n int)",
            "staging.delivery is there, and no migration of ours has made it",
        ),
        (
            "create view staging.quarantine as select 1 as one",
            "staging.quarantine is there, and no migration of ours has made it",
        ),
        (
            "create type staging.delivery_day as enum ('monday')",
            "staging.delivery_day is there, and no migration of ours has made it",
        ),
        (
            "create table staging.x (n int); create index uo1 on staging.x (n)",
            "staging.uo1 is there, and no migration of ours has made it",
        ),
        (
            "create table staging.alembic_version (version_num varchar(32) primary key);"
            " insert into staging.alembic_version values ('0001')",
            "there is no staging.delivery, though alembic_version says 0001",
        ),
        (
            "create table staging.alembic_version (version_num varchar(32) primary key);"
            " insert into staging.alembic_version values ('ae1027a6acf')",
            "staging.alembic_version says ae1027a6acf: that is none of the migrations here",
        ),
        (
            "create table staging.alembic_version (version int)",
            "staging.alembic_version is not the table in which our migrations are counted",
        ),
        (
            "create view staging.user_order_log as select 1 as uniq_id, 2 as date_time",
            "staging.user_order_log is no plain table: view",
        ),
        (
            "create table staging.user_order_log (id int)",
            "staging.user_order_log has no column uniq_id",
        ),
        # Before and after the old pipeline's last scripts.
        (
            "create table staging.user_order_log (uniq_id varchar(32) primary key)",
            "staging.user_order_log is that of an old warehouse:"
            " `python -m migrations takeover --plan`",
        ),
        (
            "create table staging.user_order_log (like pg_class);"
            " alter table staging.user_order_log add uniq_id varchar(32) primary key,"
            " add status varchar(30) not null default 'shipped'",
            "staging.user_order_log is that of an old warehouse:"
            " `python -m migrations takeover --plan`",
        ),
    ],
    indirect=["own"],
)
def test_what_is_not_ours_is_named_and_not_touched(own: Warehouse, sentence: str) -> None:
    before = objects(own)
    with pytest.raises(TerminalError, match=re.escape(sentence)) as refused:
        preflight()
    assert str(refused.value).endswith("Nothing was changed.")
    assert objects(own) == before


@pytest.mark.parametrize(
    "own",
    [
        "create view mart.own as select 1 as one; create table mart.d_shop (shop_id int);"
        " create table staging.own_delivery (n int); create table public.d_item (n int);"
        " create function mart.d_item() returns int language sql as 'select 1';"
        ' create table staging."Delivery" (n int)',
    ],
    indirect=True,
)
def test_other_names_are_nobody_s_business(own: Warehouse) -> None:
    preflight()


@pytest.mark.parametrize(
    ("own", "command"),
    [
        ("create view mart.d_item as select 1 as item_id", "python -m checks preflight"),
        ("create table staging.delivery (n int)", "alembic upgrade head"),
    ],
    indirect=["own"],
)
def test_the_commands_end_with_the_sentence(own: Warehouse, command: str) -> None:
    before = objects(own)
    done = run_command(*command.split(), check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "stands in the way of what is to be created:" in said and "Traceback" not in said
    assert objects(own) == before


def test_what_is_ours_passes_quickly(warehouse: Warehouse) -> None:
    dbt.marts()
    started = time.process_time()
    preflight()
    assert time.process_time() - started < 0.5
    assert run_command("python", "-m", "checks", "preflight").stdout == ""


def test_a_mart_of_an_older_version_lacks_columns(
    warehouse: Warehouse, deliver: Deliver, dbt: Dbt
) -> None:
    warehouse.query("alter table mart.f_customer_retention drop column refunded_quantity")
    warehouse.query("alter table mart.d_item drop column item_name, add column own text")
    preflight()
    deliver("2024-02-25", [order("a", "2024-02-25")])
    dbt.run()
    assert warehouse.value("select item_name from mart.d_item") == "Кефир 1%"
    # A table without the key is somebody else's.
    warehouse.query(
        "alter table mart.f_customer_retention drop constraint f_customer_retention_pkey"
    )
    with pytest.raises(TerminalError, match="f_customer_retention is not unique by"):
        preflight()


def test_a_warehouse_of_an_older_version_is_ours(empty_database: Warehouse) -> None:
    run_command("alembic", "upgrade", "0002")
    preflight()
    empty_database.query("alter table staging.quarantine drop column replayed_at cascade")
    with pytest.raises(TerminalError, match="quarantine has no column replayed_at"):
        preflight()


def test_who_may_create_nothing_is_told(empty_database: Warehouse) -> None:
    empty_database.query("create schema staging; create schema mart")
    empty_database.query("create role provider; grant provider to warehouse")
    try:
        empty_database.query("alter schema mart owner to provider; revoke provider from warehouse")
        with pytest.raises(TerminalError, match="this user may create nothing in schema mart"):
            preflight()
    finally:
        empty_database.query("grant provider to warehouse; drop schema mart; drop role provider")
