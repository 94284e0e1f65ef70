"""Every data test of the project, against a warehouse that holds what it must find."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Dbt, Deliver, Warehouse, database, deliverer, order, run_command

from local.postgres import EmbeddedPostgres

# Without them the database would not let a mart be broken.
DROP_CONSTRAINTS = """
    do $$ declare statement text; begin
        for statement in
            select format('alter table %s drop constraint %I cascade', conrelid::regclass, conname)
            from pg_constraint
            where conrelid::regclass::text like any (array['mart.%', 'staging.user_order_log'])
                and contype in ('c', 'p', 'f')
            order by contype = 'p'
        loop execute statement; end loop;
        for statement in
            select format('alter table %s alter %I drop not null', attrelid::regclass, attname)
            from pg_attribute inner join pg_class on pg_class.oid = attrelid
            where attrelid::regclass::text like any (array['mart.%', 'staging.user_order_log'])
                and attnotnull and attnum > 0 and relkind = 'r'
        loop execute statement; end loop;
    end $$
"""


@pytest.fixture(scope="module")
def built_template(
    server: EmbeddedPostgres,
    template: str,
    dbt_parsed: Dbt,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    with database(server, template, keep_as="built_template") as warehouse:
        deliver = deliverer(tmp_path_factory.mktemp("orders"))
        deliver(
            "2024-02-25",
            [order("a", "2024-02-25"), order("b", "2024-02-25", status="refunded", item_id=2)],
        )
        deliver("2024-02-26", [order("c", "2024-02-26")])
        dbt_parsed.run()
        assert dbt_parsed.invoke("test").success
        warehouse.query(DROP_CONSTRAINTS)
    return "built_template"


@pytest.fixture
def built(server: EmbeddedPostgres, built_template: str) -> Iterator[Warehouse]:
    """A warehouse in which all is well, but nothing keeps it so."""
    with database(server, built_template) as warehouse:
        yield warehouse


# What is done to the marts, and the tests that must notice.
BREAKAGES = {
    "update mart.f_sales set quantity = -quantity": "assert_refund_flag_agrees_with_sign",
    "update mart.f_sales set payment_amount = -payment_amount": (
        "assert_refund_flag_agrees_with_sign"
    ),
    "update mart.f_sales set refund_flag = not refund_flag": "assert_refund_flag_agrees_with_sign",
    "delete from mart.f_sales where uniq_id = 'a'": "assert_f_sales_holds_what_staging_holds",
    "update mart.f_sales set payment_amount = 1 where uniq_id = 'a'": (
        "assert_f_sales_holds_what_staging_holds"
    ),
    "update staging.user_order_log set date_time = '2024-02-27' where uniq_id = 'c'": (
        "assert_f_sales_holds_what_staging_holds"
    ),
    "update mart.f_customer_retention set new_customers_revenue = 1": (
        "assert_retention_holds_what_f_sales_holds"
    ),
    "update mart.f_customer_retention set customers_refunded = 7": (
        "assert_retention_holds_what_f_sales_holds"
    ),
    "delete from mart.f_customer_retention where item_id = 2": (
        "assert_retention_holds_what_f_sales_holds"
    ),
    "update mart.f_sales set uniq_id = 'a'": "assert_uniq_id_stands_on_one_day",
}
# These do not disturb each other, so they are done together.
BREAKAGES_TOGETHER = {
    "insert into mart.f_sales select * from mart.f_sales": "unique_together_f_sales*",
    "insert into mart.f_customer_retention select * from mart.f_customer_retention": (
        "unique_together_f_customer_retention*"
    ),
    "update mart.f_customer_retention set period_name = 'daily'": (
        "accepted_values_f_customer_retention*"
    ),
    "update staging.user_order_log set status = 'lost' where uniq_id = 'a'": (
        "source_accepted_values*"
    ),
    "update staging.user_order_log set status = null where uniq_id = 'b'": "source_not_null*",
    "insert into mart.d_item select * from mart.d_item": "unique_d_item_item_id",
    "insert into mart.d_city select * from mart.d_city": "unique_d_city_city_id",
    "insert into mart.d_customer select * from mart.d_customer": "unique_d_customer_customer_id",
    "update mart.f_sales set date_id = 1": "relationships_f_sales_date_id*",
    "update mart.f_sales set item_id = -1": "relationships_f_sales_item_id*",
    "update mart.f_sales set city_id = -1": "relationships_f_sales_city_id*",
    "update mart.f_sales set customer_id = -1": "relationships_f_sales_customer_id*",
    "update mart.f_customer_retention set item_id = -1": "relationships_f_customer_retention*",
}


@pytest.mark.parametrize(("breakage", "name"), BREAKAGES.items())
def test_a_broken_mart_is_noticed(
    built: Warehouse, dbt_parsed: Dbt, breakage: str, name: str
) -> None:
    built.query(breakage)
    # Stored as a table, so every column of what a test finds needs a name of its own.
    done = dbt_parsed.invoke("test", "--store-failures", "--select", name)
    # One test only warns.
    statuses = {str(result.status) for result in done.result}
    assert statuses & {"fail", "warn"}, statuses


def test_broken_marts_are_noticed_together(built: Warehouse, dbt_parsed: Dbt) -> None:
    for breakage in BREAKAGES_TOGETHER:
        built.query(breakage)
    done = dbt_parsed.invoke("test", "--select", *BREAKAGES_TOGETHER.values())
    assert len(done.result) == len(BREAKAGES_TOGETHER)
    unnoticed = {result.node.name for result in done.result if str(result.status) != "fail"}
    assert unnoticed == set()


def test_columns_that_lose_a_value_are_noticed(built: Warehouse, dbt_parsed: Dbt) -> None:
    for table in ("f_sales", "f_customer_retention"):
        columns = built.query(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0",
            (f"mart.{table}",),
        )
        assert columns
        for (column,) in columns:
            built.query(f"update mart.{table} set {column} = null")
    done = dbt_parsed.invoke(
        "test", "--select", "not_null_f_sales*", "not_null_f_customer_retention*"
    )
    assert len(done.result) == 8 + 11
    assert {str(result.status) for result in done.result} == {"fail"}


def test_each_data_test_was_broken_here(dbt_parsed: Dbt, dbt_target: Path) -> None:
    manifest = json.loads((dbt_target / "manifest.json").read_text())
    tests = {
        node["name"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and not node["name"].startswith("not_null")
    }
    patterns = [*BREAKAGES.values(), *BREAKAGES_TOGETHER.values()]
    tried = {name for pattern in patterns for name in tests if Path(name).match(pattern)}
    assert tests - tried == set()


def test_the_commands_of_a_user_work_from_the_root(warehouse: Warehouse, deliver: Deliver) -> None:
    deliver("2024-02-25", [order("a", "2024-02-25")])
    run_command("dbt", "run", "--vars", "{ds: 2024-02-25}")
    assert warehouse.value("select count(*) from mart.f_sales") == 1
    run_command("dbt", "build", "--vars", "{ds_start: 2024-02-25, ds_end: '2024-02-26'}")
    said = run_command("dbt", "test").stdout
    assert "ERROR=0" in said and "PASS=44" in said, said
