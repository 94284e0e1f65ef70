"""The changes of a takeover, in their order."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from checks import dbt
from checks.dbt import run as run_dbt
from loaders.errors import TerminalError
from migrations.takeover import retention
from migrations.takeover.old_warehouse import OldWarehouse
from migrations.takeover.tables import (
    CITY,
    NO_ORDER_LINE,
    OF_OLD,
    ORDERS,
    OTHER_MARTS,
    REPORT_ID,
    RETENTION,
    SALES,
    TEXTS,
)

SQL = Path(__file__).parent

# One transaction sets the order key of this many rows: about a second's work.
BATCH_ROWS = 100_000


@dataclass(frozen=True)
class Change:
    """`pending` returns what is still to be done, with numbers, or None; `run` does it."""

    pending: Callable[[OldWarehouse], str | None]
    run: Callable[[OldWarehouse], None]


def _longer_text(table: str, column: str, length: int) -> Change:
    def pending(warehouse: OldWarehouse) -> str | None:
        if warehouse.columns(table).get(column, ("", length))[1] >= length:
            return None
        return f"{table}.{column}: room for {length} characters (no row is written)"

    return Change(
        pending,
        lambda warehouse: warehouse.alter(
            table, f"alter table {table} alter column {column} type varchar({length})"
        ),
    )


def _not_null(table: str, column: str) -> Change:
    def pending(warehouse: OldWarehouse) -> str | None:
        columns = warehouse.columns(table)
        if column in columns and columns[column][2]:
            return None
        return f"{table}.{column}: not null ({warehouse.row_count(table):,} rows are checked)"

    return Change(pending, lambda warehouse: warehouse.add_not_null(table, column))


def _check(table: str, column: str, condition: str) -> Change:
    name = f"{table.partition('.')[2]}_{column}_check"

    def pending(warehouse: OldWarehouse) -> str | None:
        if warehouse.constraint_state(table, name):
            return None
        return f"{table}: check ({condition}) ({warehouse.row_count(table):,} rows are checked)"

    return Change(pending, lambda warehouse: warehouse.add_check(table, name, condition))


ORDER_KEY = "user_order_log_day_uniq_id"
SALES_KEY = "f_sales_date_id_uniq_id_key"


def _orders_key_pending(warehouse: OldWarehouse) -> str | None:
    if warehouse.index_state(f"staging.{ORDER_KEY}"):
        return None
    return f"{ORDERS}: unique index on day and uniq_id ({warehouse.row_count(ORDERS):,} rows)"


def _orders_key(warehouse: OldWarehouse) -> None:
    warehouse.add_index(ORDERS, ORDER_KEY, "cast(date_time as date), uniq_id", unique=True)


def _sales_key_pending(warehouse: OldWarehouse) -> str | None:
    if warehouse.constraint(SALES, "pu", "date_id", "uniq_id"):
        return None
    return f"{SALES}: unique (date_id, uniq_id) ({warehouse.row_count(SALES):,} rows)"


CUSTOMER_INDEX = ("customer_id", "date_id", "refund_flag")
# The old pipeline's index on customer_id alone. If it exists beside the other, the planner prefers
# it, and reads all sales of each customer.
OLD_CUSTOMER_INDEX = "mart.f_ds3"


def _customer_index_pending(warehouse: OldWarehouse) -> str | None:
    if warehouse.is_indexed(SALES, *CUSTOMER_INDEX) and not _has_old_customer_index(warehouse):
        return None
    return (
        f"{SALES}: index on {', '.join(CUSTOMER_INDEX)} in place of {OLD_CUSTOMER_INDEX}"
        f" ({warehouse.row_count(SALES):,} rows)"
    )


def _has_old_customer_index(warehouse: OldWarehouse) -> bool:
    return warehouse.value(  # type: ignore[no-any-return]
        "select exists (select from pg_index where indexrelid = to_regclass(%s)"
        " and indrelid = to_regclass(%s) and not indisunique and indpred is null"
        " and pg_get_indexdef(indexrelid) like '%% USING btree (customer_id)')",
        (OLD_CUSTOMER_INDEX, SALES),
    )


def _customer_index(warehouse: OldWarehouse) -> None:
    if not warehouse.is_indexed(SALES, *CUSTOMER_INDEX):
        name = f"f_sales_{'_'.join(CUSTOMER_INDEX)}_idx"
        warehouse.add_index(SALES, name, ", ".join(CUSTOMER_INDEX))
    if _has_old_customer_index(warehouse):
        warehouse.alone(f"drop index concurrently {OLD_CUSTOMER_INDEX}")


MISSING_CITIES = f"""
    select distinct city_id from {SALES} as sales
    where not exists (select from {CITY} as city where city.city_id = sales.city_id)
"""  # noqa: S608 - the names are this module's own


def _cities_pending(warehouse: OldWarehouse) -> str | None:
    missing = [city_id for (city_id,) in warehouse.rows(MISSING_CITIES)]
    if not missing:
        return None
    count = f"select count(*) from {SALES} where city_id = any(%s)"  # noqa: S608
    return (
        f"{CITY}: {len(missing)} rows more, for cities that only {SALES} knows"
        f" ({warehouse.value(count, (missing,)):,} rows there, which an inner join with {CITY}"
        " has left out until now)"
    )


def _cities(warehouse: OldWarehouse) -> None:
    warehouse.write(
        CITY,
        f"""
        insert into {CITY} (city_id, city_name)
        select missing.city_id, (
            select city_name from {ORDERS} as orders where orders.city_id = missing.city_id
            order by date_time desc, uniq_id collate "C" desc limit 1
        )
        from ({MISSING_CITIES}) as missing
        """,  # noqa: S608
    )


def _city_reference_pending(warehouse: OldWarehouse) -> str | None:
    name = warehouse.constraint(SALES, "f", "city_id", to=CITY)
    if name and warehouse.constraint_state(SALES, name):
        return None
    return f"{SALES}.city_id: foreign key ({warehouse.row_count(SALES):,} rows are checked)"


def _sale_columns_pending(warehouse: OldWarehouse) -> str | None:
    columns = warehouse.columns(SALES)
    if "uniq_id" in columns:
        return None
    rows = warehouse.row_count(SALES)
    if "refund_flag" in columns:
        return f"{SALES}.refund_flag: stays as it is in {rows:,} rows"
    return f"{SALES}.refund_flag: false for {rows:,} rows (none is written)"


def _sale_columns(warehouse: OldWarehouse) -> None:
    # Once uniq_id is there, nobody can tell which columns were there before. Mark them first.
    of_old = [
        (table, column)
        for table, column in ((SALES, "refund_flag"), (ORDERS, "status"))
        if column in warehouse.columns(table)
    ]
    if (SALES, "refund_flag") not in of_old:
        flag = "add column refund_flag boolean not null default false"
        statements = [f"alter table {SALES} {flag}"]
    else:
        statements = []
    warehouse.alter(
        SALES,
        *(COMMENT.format(table=table, column=column, text=OF_OLD) for table, column in of_old),
        *statements,
        # The default was for existing rows. A new row without a value would be a mistake.
        f"alter table {SALES} alter column refund_flag drop default",
        f"alter table {SALES} add column uniq_id varchar(32)",
    )


# A comment of the shop's own stays, in front of ours.
COMMENT = """
    do $$
    begin
        execute format('comment on column {table}.{column} is %L', concat_ws(' ', (
            select col_description(attrelid, attnum) from pg_attribute
            where attrelid = to_regclass('{table}') and attname = '{column}'
        ), '{text}'));
    end
    $$
"""


def refunded(warehouse: OldWarehouse) -> str:
    """Return the condition for a refunded order line; without a status there are none."""
    return "status = 'refunded'" if "status" in warehouse.columns(ORDERS) else "false"


def _order_keys_pending(warehouse: OldWarehouse) -> str | None:
    rows = warehouse.row_count(SALES)
    if "uniq_id" in warehouse.columns(SALES):
        rows = warehouse.value(f"select count(*) from {SALES} where uniq_id is null")  # noqa: S608
        if not rows:
            return None
    return f"{SALES}.uniq_id: order key for {rows:,} rows (each is written)"


def _order_keys(warehouse: OldWarehouse) -> None:
    statement = (SQL / "order_keys.sql").read_text().format(refunded=refunded(warehouse))
    days = warehouse.rows(
        f"""
        select to_date(cast(date_id as text), 'YYYYMMDD'), count(*) from {SALES}
        where uniq_id is null group by date_id order by date_id
        """  # noqa: S608
    )
    total, done, told = sum(rows for _, rows in days), 0, time.monotonic()
    while days:
        first, last, rows = days[0][0], days[0][0], 0
        while days and (rows == 0 or rows + days[0][1] <= BATCH_ROWS):
            last, number = days.pop(0)
            rows += number
        warehouse.write(
            SALES, statement, {"first": first, "last": last, "no_order_line": NO_ORDER_LINE}
        )
        done += rows
        if time.monotonic() - told > 30:
            warehouse.say(f"  {done:,} of {total:,} rows")
            told = time.monotonic()
    # Future days reuse the space of old row versions. Truncating the file would stop readers.
    warehouse.alone(f"vacuum (analyze, truncate off) {SALES}")
    synthetic = warehouse.value(
        f"select count(*) from {SALES} where starts_with(uniq_id, %s)",  # noqa: S608
        (NO_ORDER_LINE,),
    )
    warehouse.say(f"  {synthetic:,} of them have no order line in staging: {NO_ORDER_LINE}...")


def _status_pending(warehouse: OldWarehouse) -> str | None:
    if "status" in warehouse.columns(ORDERS):
        return None
    return f"{ORDERS}.status: shipped for {warehouse.row_count(ORDERS):,} rows (none is written)"


def _status(warehouse: OldWarehouse) -> None:
    warehouse.alter(
        ORDERS,
        f"alter table {ORDERS} add column status varchar(30) not null default 'shipped'",
    )


def _retention_pending(warehouse: OldWarehouse) -> str | None:
    if warehouse.has_table(RETENTION) and not retention.is_of_old(warehouse):
        filled = f"select exists (select from {RETENTION}) or not exists (select from {SALES})"  # noqa: S608
        if warehouse.value(filled):
            return None
    return f"{RETENTION}: every period of {warehouse.row_count(SALES):,} rows of {SALES}"


def _retention(warehouse: OldWarehouse) -> None:
    # The dimensions stay as they are until the first run of all marts: neither names nor old rows
    # may change before the way back is closed.
    run_dbt(
        "run", "--select", "d_calendar", "restatement_log", "f_customer_retention",
        "--vars", "{prune_dimensions: false}",
    )  # fmt: skip


def rebuild(day: date) -> None:
    """Build a day of the marts again from staging."""
    run_dbt("run", "--vars", f"{{ds: '{day}'}}")


def _migrations() -> Any:
    # Not at the top, because no load needs Alembic.
    from alembic.config import Config

    return Config(toml_file=dbt.ROOT / "pyproject.toml")


def _ledger_tables_pending(warehouse: OldWarehouse) -> str | None:
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(_migrations()).get_current_head()
    version = "staging.alembic_version"
    if warehouse.has_table(version) and (head,) in warehouse.rows(
        f"select version_num from {version}"  # noqa: S608
    ):
        return None
    return f"schema staging: ledger and quarantine (migrations up to {head})"


def _ledger_tables(warehouse: OldWarehouse) -> None:
    from alembic import command
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        command.upgrade(_migrations(), "head")
    except DBAPIError as error:
        # Explained like any other error of the warehouse.
        raise (error.orig or error) from error
    except (CommandError, SQLAlchemyError) as error:
        raise TerminalError(
            f"the migrations cannot be applied: {error}; what was done stays, and the next run"
            " goes on from there"
        ) from error


def _ledger_pending(warehouse: OldWarehouse) -> str | None:
    known = "where cast(date_time as date) not in (select day from staging.delivery_day)"
    days = warehouse.value(
        f"select count(distinct cast(date_time as date)) from {ORDERS}"  # noqa: S608
        f" {known if warehouse.has_table('staging.delivery_day') else ''}"
    )
    if not days:
        return None
    return f"staging.delivery: the {days:,} days that are there"


def _ledger(warehouse: OldWarehouse) -> None:
    warehouse.write(ORDERS, (SQL / "ledger.sql").read_text(), {"report_id": REPORT_ID})


def _unfilled(warehouse: OldWarehouse) -> list[str]:
    if not warehouse.value(f"select exists (select from {SALES})"):  # noqa: S608
        return []
    return [
        table
        for table in OTHER_MARTS
        if not warehouse.has_table(table)
        or not warehouse.value(f"select exists (select from {table})")  # noqa: S608
    ]


def _other_marts_pending(warehouse: OldWarehouse) -> str | None:
    tables = _unfilled(warehouse)
    if not tables:
        return None
    return f"{', '.join(tables)}: from {warehouse.row_count(SALES):,} rows of {SALES}"


def _other_marts(warehouse: OldWarehouse) -> None:
    models = [table.partition(".")[2] for table in _unfilled(warehouse)]
    run_dbt("run", "--select", *models, "--vars", "{prune_dimensions: false}")


# A way back leaves this index if a reader blocked it. It forbids a uniq_id on a second day.
BACK_KEY = "staging.user_order_log_old_key"


def _back_key_pending(warehouse: OldWarehouse) -> str | None:
    if warehouse.index_state(BACK_KEY) is None:
        return None
    return f"{BACK_KEY}: dropped, a way back has left it"


def _back_key(warehouse: OldWarehouse) -> None:
    warehouse.alone(f"drop index concurrently {BACK_KEY}")


def _old_key_pending(warehouse: OldWarehouse) -> str | None:
    if not warehouse.constraint(ORDERS, "p", "uniq_id"):
        return None
    return f"{ORDERS}: without its primary key on uniq_id alone"


def _old_key(warehouse: OldWarehouse) -> None:
    name = warehouse.constraint(ORDERS, "p", "uniq_id")
    assert name is not None
    warehouse.alter(ORDERS, f"alter table {ORDERS} drop constraint {warehouse.quoted(name)}")


CHANGES = (
    *(_longer_text(*text) for text in TEXTS),
    _not_null(CITY, "city_id"),
    Change(_cities_pending, _cities),
    # This index comes first, because later changes find the order lines of a day by it.
    Change(_orders_key_pending, _orders_key),
    Change(_sale_columns_pending, _sale_columns),
    Change(_order_keys_pending, _order_keys),
    Change(
        _sales_key_pending,
        lambda warehouse: warehouse.add_unique(SALES, SALES_KEY, "date_id", "uniq_id"),
    ),
    *(_not_null(SALES, column) for column in ("uniq_id", "quantity", "payment_amount")),
    Change(_customer_index_pending, _customer_index),
    Change(
        _city_reference_pending,
        lambda warehouse: warehouse.add_reference(SALES, "city_id", CITY),
    ),
    *(_not_null(ORDERS, column) for column in ("quantity", "payment_amount")),
    _check(ORDERS, "quantity", "quantity >= 1"),
    _check(ORDERS, "payment_amount", "payment_amount >= 0"),
    _check(ORDERS, "date_time", "date_time >= '1970-01-01' and date_time < '2050-01-01'"),
    Change(_status_pending, _status),
    _check(ORDERS, "status", "status in ('shipped', 'refunded')"),
    Change(retention.copy_pending, retention.copy),
    Change(retention.columns_pending, retention.add_columns),
    Change(_retention_pending, _retention),
    Change(retention.constraints_pending, retention.add_constraints),
    Change(_ledger_tables_pending, _ledger_tables),
    Change(_ledger_pending, _ledger),
    # These marts are built from the sales and the ledger.
    Change(_other_marts_pending, _other_marts),
    Change(_back_key_pending, _back_key),
    # Last, because the old pipeline needs this key.
    Change(_old_key_pending, _old_key),
)
