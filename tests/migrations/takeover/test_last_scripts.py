"""Takeover and way back of warehouses with the old pipeline's last scripts."""

from collections.abc import Iterator
from pathlib import Path

import old_pipeline
import pytest
from comparisons import (
    ADDED,
    NOT_YET,
    ONLY_FRESH,
    ONLY_TAKEN_OVER,
    TABLES,
    assert_refused,
    catalogue,
    contents,
    taken_over,
    without_sequences,
)
from old_pipeline import DAYS, FIRST, LAST, REFUND_DAYS, orders_of, with_refunds
from support import Dbt, Warehouse, database, deliverer

from checks.preflight import preflight
from local.postgres import EmbeddedPostgres
from migrations import takeover
from migrations.takeover.tables import OF_OLD, OLD_RETENTION, RETENTION

# The column id with its sequence and key, in addition to those of the other tables.
ONLY_OF_OLD = {
    (RETENTION, "column", f"id integer not null default nextval('{RETENTION}_id_seq'::regclass)"),
    (RETENTION, "constraint", "PRIMARY KEY (id)"),
    (RETENTION, "constraint", "UNIQUE (period_name, period_id, item_id)"),
    (RETENTION, "index", f"CREATE UNIQUE ON {RETENTION} USING btree (id)"),
}
ONLY_OF_DBT = {(RETENTION, "constraint", "PRIMARY KEY (period_name, period_id, item_id)")}


def test_it_ends_up_as_a_fresh_warehouse_that_got_the_same_deliveries(
    last_scripts_template: EmbeddedPostgres, dbt_here: None, dbt_parsed: Dbt, tmp_path: Path
) -> None:
    deliver = deliverer(tmp_path)

    def deliver_history() -> None:
        # A history has no statuses, so it leaves days with refunds alone.
        days = [*DAYS[3:], *REFUND_DAYS]
        history = [line for day in days for line in orders_of(day, "new history")]
        deliver(str(days[0]), history, str(days[-1]))
        dbt_parsed.run()

    with database(last_scripts_template, "last_scripts") as warehouse:
        held = contents(warehouse, RETENTION)[RETENTION]
        announced = [line.strip() for line in taken_over(plan=True) if line.startswith("  ")]
        assert f"{OLD_RETENTION}: the {len(held)} rows that {RETENTION} has now" in announced
        said = taken_over()
        assert [line for line in said if line in announced] == announced
        assert "every day of mart.f_sales agrees with staging" in said
        assert "  0 of them have no order line in staging: mart.f_sales.id=..." in said
        preflight()
        took_over = contents(warehouse, *TABLES, without=NOT_YET)
        assert contents(warehouse, OLD_RETENTION)[OLD_RETENTION] == held
        assert taken_over()[-1] == "this warehouse has the new shape: nothing to do"
        deliver_history()
        later, shape = contents(warehouse, *TABLES, without=["id"]), catalogue(warehouse)
    with database(last_scripts_template, "template_warehouse") as warehouse:
        fresh_shape = catalogue(warehouse)
        deliver(str(FIRST), [line for day in DAYS for line in orders_of(day)], str(LAST))
        for day in REFUND_DAYS:
            deliver(str(day), with_refunds(orders_of(day)))
        dbt_parsed.run()
        assert contents(warehouse, *TABLES, without=NOT_YET) == took_over
        deliver_history()
        assert contents(warehouse, *TABLES, without=["id"]) == later
    ours = {row for row in without_sequences(shape) if row[0] != OLD_RETENTION}
    marks = {row for row in ours if row[2] == OF_OLD}
    assert {row[0] for row in marks} == {"staging.user_order_log", "mart.f_sales"}
    assert ours - fresh_shape - marks == ONLY_TAKEN_OVER | ONLY_OF_OLD
    # dbt does not change the comment of a marked column.
    marked = {row for row in fresh_shape if row[:2] == ("mart.f_sales", "comment refund_flag")}
    assert len(marked) == 1
    assert fresh_shape - shape == ONLY_FRESH | ONLY_OF_DBT | marked


def test_the_way_back_leaves_what_the_scripts_had_made(last_scripts: Warehouse) -> None:
    last_scripts.query("comment on column mart.f_sales.refund_flag is 'Ask Anna.'")
    before, rows = catalogue(last_scripts), contents(last_scripts, *TABLES)
    taken_over()
    assert contents(last_scripts, RETENTION) != {RETENTION: rows[RETENTION]}
    takeover.go_back()
    left = {row for row in catalogue(last_scripts) if not row[0].startswith(ADDED)}
    changed = {row[:2] for row in left ^ before}
    assert contents(last_scripts, *TABLES) == rows
    # Columns stay longer, and tables keep their descriptions.
    assert {kind.split()[0] for _, kind in changed} <= {"column", "comment", "index"}
    assert {table for table, kind in changed if kind == "index"} == {"mart.f_sales"}
    assert {table for table, kind in changed if kind == "column"} == {
        "mart.d_item",
        "mart.d_city",
        "mart.d_customer",
    }
    assert {table for table, kind in changed if kind.startswith("comment")} <= {
        "staging.user_order_log",
        "mart.d_calendar",
        RETENTION,
    }
    # The old pipeline works again, and so does another takeover.
    old_pipeline.load_day(last_scripts, REFUND_DAYS[0], with_refunds(orders_of(REFUND_DAYS[0])))
    old_pipeline.fill_weeks(last_scripts)
    assert taken_over()[-1] == "done: this warehouse has the new shape"
    preflight()


@pytest.fixture
def some_scripts(
    request: pytest.FixtureRequest, old_template: EmbeddedPostgres, dbt_here: None
) -> Iterator[Warehouse]:
    """An old warehouse on which some of the last scripts were run."""
    with database(old_template, "old_warehouse") as warehouse:
        warehouse.query("; ".join(request.param))
        yield warehouse


@pytest.mark.parametrize(
    "some_scripts",
    [
        (old_pipeline.STATUS,),
        (old_pipeline.REFUND_FLAG,),
        # Written in another way, like by other shops.
        (
            old_pipeline.RETENTION.replace("int8 not null", "int"),
            "alter table mart.f_customer_retention alter period_id type varchar(10),"
            " alter new_customers_revenue type numeric(10, 2),"
            " drop constraint f_customer_retention_item_id_fkey;"
            " drop index mart.f_cr3;"
            " create view public.rep as select sum(customers_refunded) from"
            " mart.f_customer_retention",
        ),
    ],
    ids=["status only", "refund_flag only", "retention only, narrower"],
    indirect=True,
)
def test_some_of_the_scripts_are_as_good(some_scripts: Warehouse, dbt_parsed: Dbt) -> None:
    before, rows = catalogue(some_scripts), contents(some_scripts, *TABLES[:-1], without=["id"])
    taken_over()
    preflight()
    counted = contents(some_scripts, RETENTION, without=["id"])
    assert len(counted[RETENTION]) == 8
    dbt_parsed.run()
    assert contents(some_scripts, RETENTION, without=["id"]) == counted
    takeover.go_back()
    assert contents(some_scripts, *TABLES[:-1], without=["id"]) == rows
    assert {row for row in catalogue(some_scripts) - before if row[1] == "constraint"} <= {
        row for row in catalogue(some_scripts) if row[0].startswith((RETENTION, *ADDED))
    }


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            "update mart.f_sales set quantity = -quantity where refund_flag",
            "mart.f_sales: 14 rows where refund_flag and (quantity >= 0 or payment_amount > 0)",
        ),
        (
            "update mart.f_sales set refund_flag = false where date_id = 20240212",
            "mart.f_sales: 7 rows where not refund_flag and (quantity < 0 or payment_amount < 0)",
        ),
        (
            "update staging.user_order_log set status = 'Shipped' where status = 'shipped'",
            "rows where status not in ('shipped', 'refunded')",
        ),
        (
            "alter table mart.f_customer_retention rename to x;"
            " create table mart.f_customer_retention (period_id varchar(20));"
            " insert into mart.f_customer_retention values ('2024-W05')",
            "mart.f_customer_retention has no column new_customers_count",
        ),
        (
            "alter table mart.f_customer_retention alter period_id type integer"
            " using right(period_id, 2)::int",
            "mart.f_customer_retention.period_id is integer, not character varying",
        ),
        (
            "alter table mart.f_customer_retention add shop text not null default '';"
            " alter table mart.f_customer_retention alter shop drop default",
            "mart.f_customer_retention.shop: not null, and nothing fills it",
        ),
        (
            "alter table mart.f_customer_retention alter period_id type varchar(10);"
            " create view public.rep as select period_id from mart.f_customer_retention",
            "mart.f_customer_retention.period_id: view rep stands in its way",
        ),
        (
            "create table public.notes (id int references mart.f_customer_retention)",
            "mart.f_customer_retention: constraint notes_id_fkey on table notes depends on it",
        ),
        (
            "create view mart.f_customer_retention_old as select 1 as one",
            "mart.f_customer_retention_old is there, and no takeover has made it",
        ),
        (
            "alter table mart.f_customer_retention rename to x;"
            " create view mart.f_customer_retention as select * from mart.x",
            "mart.f_customer_retention is no plain table: view",
        ),
    ],
)
def test_what_of_theirs_cannot_be_taken_over_is_refused(
    last_scripts: Warehouse, damage: str, sentence: str
) -> None:
    last_scripts.query(damage)
    assert_refused(last_scripts, sentence)
