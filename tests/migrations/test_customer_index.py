"""Migration 0007 on warehouses whose sales have the earlier index."""

from pathlib import Path

from support import ROOT, Warehouse

MIGRATION = ROOT / "migrations" / "versions" / "0007_customer_index.sql"
INDEXES = """
    select split_part(indexdef, 'btree ', 2) from pg_indexes
    where schemaname = 'mart' and tablename = 'f_sales' and indexdef like '%(customer_id%'
    order by 1
"""
ALONE, ALL = ("(customer_id)",), ("(customer_id, date_id, refund_flag)",)
# The name that dbt gives it.
OF_DBT = 'create index "0123456789abcdef0123456789abcdef" on mart.f_sales (customer_id)'


def migrate(warehouse: Warehouse) -> list[tuple[str, ...]]:
    warehouse.query(Path(MIGRATION).read_text())
    return warehouse.query(INDEXES)


def as_before(warehouse: Warehouse) -> None:
    warehouse.query(
        "do $$ declare name regclass; begin"
        " select indexrelid into name from pg_index where indrelid = 'mart.f_sales'::regclass"
        " and indnatts = 3; execute format('drop index %s', name); end $$"
    )
    warehouse.query(OF_DBT)
    assert warehouse.query(INDEXES) == [ALONE]


def test_the_index_takes_the_place_of_the_one_before(warehouse: Warehouse) -> None:
    as_before(warehouse)
    assert migrate(warehouse) == [ALL]
    assert migrate(warehouse) == [ALL]


def test_an_index_of_the_users_own_stays(warehouse: Warehouse) -> None:
    as_before(warehouse)
    warehouse.query("create index mine on mart.f_sales (customer_id)")
    assert migrate(warehouse) == [ALONE, ALL]


def test_the_sales_of_an_old_warehouse_keep_theirs(warehouse: Warehouse) -> None:
    as_before(warehouse)
    warehouse.query("alter table mart.f_sales add id serial")
    assert migrate(warehouse) == [ALONE]


def test_without_sales_there_is_nothing_to_do(warehouse: Warehouse) -> None:
    warehouse.query("drop table mart.f_sales cascade")
    assert migrate(warehouse) == []
