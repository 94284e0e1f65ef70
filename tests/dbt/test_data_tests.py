"""Every data test of the project, on a warehouse with the fault that it has to find."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Dbt, Deliver, Warehouse, database, deliverer, order, run_command

from local.postgres import EmbeddedPostgres

# With these constraints the database would not allow the faults.
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
    """A correct warehouse without the constraints that would keep it so."""
    with database(server, built_template) as warehouse:
        yield warehouse


# A statement that breaks a mart, and the tests that have to notice.
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
    "update mart.f_shop_retention set revenue = revenue + 1": (
        "assert_shop_retention_holds_what_f_sales_holds"
    ),
    "update mart.f_shop_retention set refunds_count = 0": (
        "assert_shop_retention_holds_what_f_sales_holds"
    ),
    "delete from mart.f_shop_retention": "assert_shop_retention_holds_what_f_sales_holds",
    "update mart.f_customer_cohort set customers_count = customers_count + 1": (
        "assert_cohorts_add_up_to_the_shop"
    ),
    "update mart.f_customer_cohort set revenue = 0": "assert_cohorts_add_up_to_the_shop",
    "update mart.f_item_cohort set orders_count = orders_count + 1": (
        "assert_cohorts_add_up_to_the_shop"
    ),
    "delete from mart.f_item_cohort": "assert_cohorts_add_up_to_the_shop",
}
# These faults do not affect each other, so one test makes them all.
BREAKAGES_TOGETHER = {
    "update mart.f_customer_retention set period_name = 'daily'": (
        "accepted_values_f_customer_retention*"
    ),
    "update staging.user_order_log set status = 'lost' where uniq_id = 'a'": (
        "source_accepted_values*"
    ),
    "update staging.user_order_log set status = null where uniq_id = 'b'": "source_not_null*",
}
# Constraints of the contracts: every mart and every constraint is tried.
OF_CONTRACTS = ["holds_its_constraints*", "assert_constraints_are_there"]


@pytest.mark.parametrize(("breakage", "name"), BREAKAGES.items())
def test_a_broken_mart_is_noticed(
    built: Warehouse, dbt_parsed: Dbt, breakage: str, name: str
) -> None:
    built.query(breakage)
    # dbt stores the failures in a table, so every column of a test needs a different name.
    done = dbt_parsed.invoke("test", "--store-failures", "--select", name)
    # One of the tests only warns.
    statuses = {str(result.status) for result in done.result}
    assert statuses & {"fail", "warn"}, statuses


def test_broken_marts_are_noticed_together(built: Warehouse, dbt_parsed: Dbt) -> None:
    for breakage in BREAKAGES_TOGETHER:
        built.query(breakage)
    done = dbt_parsed.invoke("test", "--select", *BREAKAGES_TOGETHER.values())
    assert len(done.result) == len(BREAKAGES_TOGETHER)
    unnoticed = {result.node.name for result in done.result if str(result.status) != "fail"}
    assert unnoticed == set()


def manifest() -> dict[str, Any]:
    """Return the manifest that dbt has written for this test process."""
    parsed: dict[str, Any] = json.loads(
        Path(os.environ["DBT_TARGET_PATH"], "manifest.json").read_text()
    )
    return parsed


def constraints() -> set[tuple[str, str, str]]:
    """Return mart, type and columns of every constraint in the contracts."""
    marts = [node for node in manifest()["nodes"].values() if node["resource_type"] == "model"]
    return {
        (mart["name"], constraint["type"], columns)
        for mart in marts
        for constraint, columns in (
            *((its, ", ".join(its["columns"])) for its in mart["constraints"]),
            *((its, name) for name, c in mart["columns"].items() for its in c["constraints"]),
        )
    }


def found(warehouse: Warehouse, dbt: Dbt) -> set[tuple[str, str, str]]:
    """Return mart, type and columns of every constraint that its mart's rows break."""
    done = dbt.invoke("test", "--store-failures", "--select", "holds_its_constraints*")
    return {
        (mart, *row[0].split(" ", 1))
        for result in done.result
        for mart in [str(result.node.attached_node).rpartition(".")[2]]
        for row in warehouse.query(f"select constraint_name from {result.node.relation_name}")
    }


def test_rows_that_break_a_constraint_are_noticed(built: Warehouse, dbt_parsed: Dbt) -> None:
    stated = constraints()
    # Nothing was restated, and an empty table breaks no constraint.
    built.query(
        "insert into mart.restatement_log (logged_at, period_name, period_id, item_id, measure,"
        " before_value, after_value, delivery_id)"
        " values (now(), 'weekly', '2024-W08', 1, 'new_customers_count', 0, 1, 1)"
    )
    assert found(built, dbt_parsed) == set()
    for mart in {mart for mart, _, _ in stated}:
        built.query(f"insert into mart.{mart} select * from mart.{mart}")
    for mart, kind, columns in stated:
        if kind == "foreign_key":
            built.query(f"update mart.{mart} set {columns} = -1")
    noticed = found(built, dbt_parsed)
    for mart, kind, columns in stated:
        if kind == "not_null":
            built.query(f"update mart.{mart} set {columns} = null")
    noticed |= found(built, dbt_parsed)
    assert noticed == stated


@pytest.mark.parametrize(
    ("table", "change", "kind", "columns"),
    [
        ("f_sales", "alter quantity drop not null", "not_null", "quantity"),
        ("f_sales", "drop constraint f_sales_pkey", "primary_key", "date_id, uniq_id"),
        ("f_sales", "drop constraint f_sales_item_id_fkey", "foreign_key", "item_id"),
        # Constraints that exist but were not checked for old rows, or have another column.
        (
            "f_sales",
            "drop constraint f_sales_item_id_fkey, add constraint f_sales_item_id_fkey"
            " foreign key (item_id) references mart.d_item not valid",
            "foreign_key",
            "item_id",
        ),
        (
            "f_sales",
            "drop constraint f_sales_item_id_fkey, add constraint f_sales_item_id_fkey"
            " foreign key (item_id) references mart.d_city",
            "foreign_key",
            "item_id",
        ),
    ],
)
def test_a_constraint_that_is_gone_is_noticed(
    warehouse: Warehouse, dbt: Dbt, table: str, change: str, kind: str, columns: str
) -> None:
    warehouse.query(f"alter table mart.{table} {change}")
    name = "assert_constraints_are_there"
    (result,) = dbt.invoke("test", "--store-failures", "--select", name).result
    assert str(result.status) == "fail"
    missing = f"select table_name, constraint_type, column_names from {result.node.relation_name}"
    assert warehouse.query(missing) == [(table, kind, columns)]


def test_the_constraints_of_every_mart_are_looked_for(built: Warehouse, dbt_parsed: Dbt) -> None:
    name = "assert_constraints_are_there"
    (result,) = dbt_parsed.invoke("test", "--store-failures", "--select", name).result
    missing = f"select table_name, constraint_type, column_names from {result.node.relation_name}"
    assert set(built.query(missing)) == constraints()


def test_each_data_test_was_broken_here(dbt_parsed: Dbt) -> None:
    tests = {
        node["name"] for node in manifest()["nodes"].values() if node["resource_type"] == "test"
    }
    patterns = [*BREAKAGES.values(), *BREAKAGES_TOGETHER.values(), *OF_CONTRACTS]
    tried = {name for pattern in patterns for name in tests if Path(name).match(pattern)}
    assert tests - tried == set()


def test_every_mart_is_tested_for_its_constraints(dbt_parsed: Dbt) -> None:
    tested = {
        str(node["attached_node"]).rpartition(".")[2]
        for node in manifest()["nodes"].values()
        if node["name"].startswith("holds_its_constraints")
    }
    assert tested == {mart for mart, _, _ in constraints()}


def test_the_commands_of_a_user_work_from_the_root(warehouse: Warehouse, deliver: Deliver) -> None:
    deliver("2024-02-25", [order("a", "2024-02-25")])
    run_command("dbt", "run", "--vars", "{ds: 2024-02-25}")
    assert warehouse.value("select count(*) from mart.f_sales") == 1
    run_command("dbt", "build", "--vars", "{ds_start: 2024-02-25, ds_end: '2024-02-26'}")
    said = run_command("dbt", "test").stdout
    listed = run_command("dbt", "--quiet", "ls", "--resource-type", "test", "unit_test").stdout
    assert f"PASS={len(listed.split())} WARN=0 ERROR=0 SKIP=0" in said, said
