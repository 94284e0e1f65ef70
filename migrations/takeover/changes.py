"""The changes of a takeover, in their order."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checks import dbt
from loaders.errors import TerminalError
from loaders.order_file import NAME_LENGTH
from migrations.takeover.old_warehouse import OldWarehouse
from migrations.takeover.tables import CITY, NAMES, ORDERS, RETENTION, SALES

SQL = Path(__file__).parent

# Rows whose order key is set in one transaction: about a second's work.
BATCH_ROWS = 100_000
# In the ledger, for every order line from before it.
REPORT_ID = "old warehouse"


@dataclass(frozen=True)
class Change:
    """`pending` tells what is still to be done, with numbers, or None; `run` does it."""

    pending: Callable[[OldWarehouse], str | None]
    run: Callable[[OldWarehouse], None]


def _wider_name(table: str, column: str) -> Change:
    def pending(warehouse: OldWarehouse) -> str | None:
        if warehouse.columns(table)[column][1] >= NAME_LENGTH:
            return None
        return f"{table}.{column}: room for {NAME_LENGTH} characters (no row is written)"

    return Change(
        pending,
        lambda warehouse: warehouse.alter(
            table, f"alter table {table} alter column {column} type varchar({NAME_LENGTH})"
        ),
    )


def _not_null(table: str, column: str) -> Change:
    name = f"{column}_is_known"

    def pending(warehouse: OldWarehouse) -> str | None:
        columns = warehouse.columns(table)
        if column in columns and columns[column][2]:
            return None
        return f"{table}.{column}: not null ({warehouse.row_count(table):,} rows are checked)"

    def run(warehouse: OldWarehouse) -> None:
        # SET NOT NULL by itself reads the table while nobody else may; with a checked constraint
        # that says the same it reads nothing.
        _checked(warehouse, table, name, f"{column} is not null")
        warehouse.alter(
            table,
            f"alter table {table} alter column {column} set not null",
            f"alter table {table} drop constraint {name}",
        )

    return Change(pending, run)


def _check(table: str, column: str, condition: str) -> Change:
    name = f"{table.partition('.')[2]}_{column}_check"

    def pending(warehouse: OldWarehouse) -> str | None:
        if warehouse.constraint_state(table, name):
            return None
        return f"{table}: check ({condition}) ({warehouse.row_count(table):,} rows are checked)"

    return Change(pending, lambda warehouse: _checked(warehouse, table, name, condition))


def _checked(warehouse: OldWarehouse, table: str, name: str, condition: str) -> None:
    state = warehouse.constraint_state(table, name)
    if state is None:
        warehouse.alter(
            table, f"alter table {table} add constraint {name} check ({condition}) not valid"
        )
    if not state:
        warehouse.alone(f"alter table {table} validate constraint {name}")


def _index(warehouse: OldWarehouse, table: str, name: str, on: str) -> None:
    schema = table.partition(".")[0]
    state = warehouse.index_state(f"{schema}.{name}")
    if state is False:  # what a killed run has left
        warehouse.alone(f"drop index concurrently {schema}.{name}")
    if not state:
        warehouse.alone(f"create unique index concurrently {name} on {table} ({on})")
        # Of an expression nothing is known to the planner before.
        warehouse.alone(f"analyze {table}")


ORDER_KEY = "user_order_log_day_uniq_id"
SALES_KEY = "f_sales_date_id_uniq_id_key"


def _orders_key_pending(warehouse: OldWarehouse) -> str | None:
    if warehouse.index_state(f"staging.{ORDER_KEY}"):
        return None
    return f"{ORDERS}: unique index on day and uniq_id ({warehouse.row_count(ORDERS):,} rows)"


def _sales_key_pending(warehouse: OldWarehouse) -> str | None:
    if warehouse.constraint(SALES, "pu", "date_id", "uniq_id"):
        return None
    return f"{SALES}: unique (date_id, uniq_id) ({warehouse.row_count(SALES):,} rows)"


def _sales_key(warehouse: OldWarehouse) -> None:
    _index(warehouse, SALES, SALES_KEY, "date_id, uniq_id")
    warehouse.alter(
        SALES, f"alter table {SALES} add constraint {SALES_KEY} unique using index {SALES_KEY}"
    )


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


CITY_REFERENCE = "f_sales_city_id_fkey"


def _city_reference_pending(warehouse: OldWarehouse) -> str | None:
    name = warehouse.constraint(SALES, "f", "city_id")
    if name and warehouse.constraint_state(SALES, name):
        return None
    return f"{SALES}.city_id: foreign key ({warehouse.row_count(SALES):,} rows are checked)"


def _city_reference(warehouse: OldWarehouse) -> None:
    name = warehouse.constraint(SALES, "f", "city_id")
    if not name:
        name = CITY_REFERENCE
        warehouse.alter(
            SALES,
            f"alter table {SALES} add constraint {name}"
            f" foreign key (city_id) references {CITY} (city_id) not valid",
        )
    warehouse.alone(f"alter table {SALES} validate constraint {name}")


def _refund_flag_pending(warehouse: OldWarehouse) -> str | None:
    if "refund_flag" in warehouse.columns(SALES):
        return None
    return f"{SALES}.refund_flag: false for {warehouse.row_count(SALES):,} rows (none is written)"


def _refund_flag(warehouse: OldWarehouse) -> None:
    warehouse.alter(
        SALES,
        f"alter table {SALES} add column refund_flag boolean not null default false",
        # For the rows that are there. A new one that says nothing is a mistake.
        f"alter table {SALES} alter column refund_flag drop default",
        f"alter table {SALES} add column uniq_id varchar(32)",
    )


def _order_keys_pending(warehouse: OldWarehouse) -> str | None:
    rows = warehouse.row_count(SALES)
    if "uniq_id" in warehouse.columns(SALES):
        rows = warehouse.value(f"select count(*) from {SALES} where uniq_id is null")  # noqa: S608
        if not rows:
            return None
    return f"{SALES}.uniq_id: order key for {rows:,} rows (each is written)"


def _order_keys(warehouse: OldWarehouse) -> None:
    statement = (SQL / "order_keys.sql").read_text()
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
        warehouse.write(SALES, statement, {"first": first, "last": last})
        done += rows
        if time.monotonic() - told > 30:
            warehouse.say(f"  {done:,} of {total:,} rows")
            told = time.monotonic()
    # What was written over becomes room for coming days; giving it back would stop readers.
    warehouse.alone(f"vacuum (analyze, truncate off) {SALES}")
    synthetic = warehouse.value(
        f"select count(*) from {SALES} where uniq_id like 'mart.f_sales.id=%'"  # noqa: S608
    )
    warehouse.say(f"  {synthetic:,} of them have no order line in staging: mart.f_sales.id=...")


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
    if warehouse.has_table(RETENTION):
        filled = f"select exists (select from {RETENTION}) or not exists (select from {SALES})"  # noqa: S608
        if warehouse.value(filled):
            return None
    return f"{RETENTION}: every period of {warehouse.row_count(SALES):,} rows of {SALES}"


def _retention(warehouse: OldWarehouse) -> None:
    # The dimensions stay as they are until the first run of all marts: neither names nor rows of
    # old may change before the way back is closed.
    run_dbt(
        "run", "--select", "d_calendar", "f_customer_retention",
        "--vars", "{prune_dimensions: false}",
    )  # fmt: skip


def run_dbt(*arguments: str) -> None:
    """Run dbt as its own program; this one may be started from anywhere."""
    done = subprocess.run(
        dbt.command("--quiet", *arguments),
        cwd=dbt.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TerminalError(
            f"dbt {' '.join(arguments)} failed; what was done before stays:\n"
            + (done.stdout + done.stderr).strip()
        )


def _migrations() -> Any:
    # Not at the top: no load needs Alembic.
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
        # Told as any other answer of the warehouse.
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
    return f"staging.delivery: one entry for the {days:,} days that are there"


def _ledger(warehouse: OldWarehouse) -> None:
    warehouse.write(ORDERS, (SQL / "ledger.sql").read_text(), {"report_id": REPORT_ID})


# What back.sql leaves if a reader was in its way: no uniq_id on a second day.
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
    warehouse.alter(ORDERS, f'alter table {ORDERS} drop constraint "{name}"')


CHANGES = (
    *(_wider_name(table, column) for table, column in NAMES),
    _not_null(CITY, "city_id"),
    Change(_cities_pending, _cities),
    # The index first: by it the order lines of a day are found.
    Change(
        _orders_key_pending,
        lambda warehouse: _index(warehouse, ORDERS, ORDER_KEY, "cast(date_time as date), uniq_id"),
    ),
    Change(_refund_flag_pending, _refund_flag),
    Change(_order_keys_pending, _order_keys),
    Change(_sales_key_pending, _sales_key),
    *(_not_null(SALES, column) for column in ("uniq_id", "quantity", "payment_amount")),
    Change(_city_reference_pending, _city_reference),
    *(_not_null(ORDERS, column) for column in ("quantity", "payment_amount")),
    _check(ORDERS, "quantity", "quantity >= 1"),
    _check(ORDERS, "payment_amount", "payment_amount >= 0"),
    _check(ORDERS, "date_time", "date_time >= '1970-01-01' and date_time < '2050-01-01'"),
    Change(_status_pending, _status),
    _check(ORDERS, "status", "status in ('shipped', 'refunded')"),
    Change(_retention_pending, _retention),
    Change(_ledger_tables_pending, _ledger_tables),
    Change(_ledger_pending, _ledger),
    Change(_back_key_pending, _back_key),
    # Last, as the old pipeline needs it.
    Change(_old_key_pending, _old_key),
)
