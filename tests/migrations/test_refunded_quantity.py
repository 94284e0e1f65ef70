"""The wider column for refunded pieces, in a table of an earlier version."""

import importlib

import pytest
from support import Warehouse, run_command

MIGRATION = importlib.import_module("migrations.versions.0006_refunded_quantity")
TYPE = """
    select format_type(atttypid, atttypmod) from pg_attribute
    where attrelid = 'mart.f_customer_retention'::regclass and attname = 'refunded_quantity'
"""


@pytest.mark.parametrize(
    ("before", "view", "after"),
    [
        ("numeric(20,0)", False, "numeric(38,0)"),
        # A view of the shop's own prevents the change. Everything else works.
        ("numeric(20,0)", True, "numeric(20,0)"),
        ("bigint", False, "bigint"),
    ],
)
def test_a_table_that_is_there_gets_room(
    warehouse: Warehouse, before: str, view: bool, after: str
) -> None:
    warehouse.query(
        f"alter table mart.f_customer_retention alter column refunded_quantity type {before}"
    )
    if view:
        warehouse.query("create view public.report as select * from mart.f_customer_retention")
    warehouse.query(
        "update staging.alembic_version set version_num = %s", (MIGRATION.down_revision,)
    )
    run_command("alembic", "upgrade", MIGRATION.revision)
    assert warehouse.value(TYPE) == after
    assert warehouse.value("select version_num from staging.alembic_version") == MIGRATION.revision


def test_a_new_table_has_the_room(warehouse: Warehouse) -> None:
    assert warehouse.value(TYPE) == "numeric(38,0)"
