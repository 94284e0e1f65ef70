"""Brings a warehouse of the old pipeline to the shape of this one, in place.

Run: `python -m loaders upgrade --plan`, then without `--plan`; the walk-through is
docs/upgrading.md, the way back migrations/upgrade/back.sql.

A list of steps, each of which asks the catalogue whether it is still to be done: so a run that was
killed is finished by the next one, and one run too many changes nothing. Order lines and sales get
what they lack first, the ledger comes last: without it no load of this pipeline starts.

No step stops readers while it works. What must read or write every row does so under locks that let
readers and, but for a moment, writers pass; what needs a table for itself only changes the
catalogue, and gives up within `READERS_WAIT` to try again later if somebody is reading.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from loaders import staging
from loaders.errors import TerminalError, TransientError

ROOT = Path(__file__).resolve().parents[1]
SQL = ROOT / "migrations" / "upgrade"

ORDERS, SALES, CALENDAR = "staging.user_order_log", "mart.f_sales", "mart.d_calendar"
ITEM, CITY, CUSTOMER = "mart.d_item", "mart.d_city", "mart.d_customer"
RETENTION = "mart.f_customer_retention"

# What an old warehouse and a new one have in common; varchar of whatever length.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    ORDERS: {
        "uniq_id": "character varying",
        "date_time": "timestamp without time zone",
        "city_id": "integer",
        "city_name": "character varying",
        "customer_id": "integer",
        "first_name": "character varying",
        "last_name": "character varying",
        "item_id": "integer",
        "item_name": "character varying",
        "quantity": "bigint",
        "payment_amount": "numeric(10,2)",
    },
    CALENDAR: {"date_id": "integer", "date_actual": "date", "week_of_year_iso": "character(10)"},
    ITEM: {"item_id": "integer", "item_name": "character varying"},
    CITY: {"city_id": "integer", "city_name": "character varying"},
    CUSTOMER: {
        "customer_id": "integer",
        "first_name": "character varying",
        "last_name": "character varying",
        "city_id": "integer",
    },
    SALES: {
        "date_id": "integer",
        "item_id": "integer",
        "customer_id": "integer",
        "city_id": "integer",
        "quantity": "bigint",
        "payment_amount": "numeric(10,2)",
    },
}
# Primary or unique, and then foreign keys.
KEYS = ((CALENDAR, "date_id"), (ITEM, "item_id"), (CITY, "city_id"), (CUSTOMER, "customer_id"))
REFERENCES = ((SALES, "date_id"), (SALES, "item_id"), (SALES, "customer_id"))
NAMES = (
    (ITEM, "item_name"),
    (CITY, "city_name"),
    (CUSTOMER, "first_name"),
    (CUSTOMER, "last_name"),
)
NAME_LENGTH = 100

# How long a statement that needs a table for itself may queue, with every new reader behind it.
READERS_WAIT = "200ms"
# How long to try for such a moment, or to wait for another run to let go.
PATIENCE_SECONDS = 600
# A killed run's last statement goes on until the server notices (CONNECTION_CHECK).
CONNECTION_CHECK = "5s"
OTHER_RUN_SECONDS = 15
# Rows whose order key is set in one transaction: about a second's work.
BATCH_ROWS = 100_000
Parameters = Sequence[Any] | Mapping[str, Any] | None
# In the ledger, for every order line from before it.
REPORT_ID = "old warehouse"


@dataclass(frozen=True)
class Step:
    """`pending` tells what is still to be done, with numbers, or None; `run` does it."""

    pending: Callable[["Warehouse"], str | None]
    run: Callable[["Warehouse"], None]


class Warehouse:
    """One connection, in autocommit mode: every change is its own transaction."""

    def __init__(self, connection: Connection, say: Callable[[str], None]) -> None:
        self._connection = connection
        self.say = say
        # Counted once: ten million rows take a while.
        self.row_count = cache(lambda table: self.value(f"select count(*) from {table}"))  # noqa: S608

    def rows(self, statement: str, parameters: Parameters = None) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own; return its rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, parameters: Parameters = None) -> Any:
        """Return the one value of a query."""
        ((value,),) = self.rows(statement, parameters)
        return value

    def write(self, lock: str, statement: str, parameters: Parameters = None) -> None:
        """Write rows while no run of this pipeline replaces those of `lock`; readers pass."""
        self._committed(lock, [(statement, parameters)])

    def alter(self, table: str, *statements: str) -> None:
        """Change the catalogue, in statements that read no rows; readers wait `READERS_WAIT`."""
        self._committed(
            table,
            [
                # Queues, and makes autovacuum give way, without stopping readers.
                (f"lock table {table} in share update exclusive mode", None),
                ("select set_config('lock_timeout', %s, true)", (READERS_WAIT,)),
                *((statement, None) for statement in statements),
            ],
        )

    def alone(self, statement: str) -> None:
        """Run what must not be in a transaction, or need not; its lock lets readers pass."""
        try:
            self.rows(statement)
        except psycopg2.errors.LockNotAvailable as error:
            raise TransientError(
                f"others have worked without a pause for over {PATIENCE_SECONDS} s: run this again"
                f" when they have ended ({statement})"
            ) from error

    def _committed(self, lock: str, statements: Sequence[tuple[str, Parameters]]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.rows("begin")
                # The lock of loader and marts (macro lock_mart).
                self.rows("select pg_advisory_xact_lock(hashtext(%s))", (lock,))
                for statement, parameters in statements:
                    self.rows(statement, parameters)
                self.rows("commit")
                return
            except (
                psycopg2.errors.LockNotAvailable,
                psycopg2.errors.DeadlockDetected,
            ) as error:
                self.rows("rollback")
                if time.monotonic() > deadline:
                    raise TransientError(
                        f"{lock} was in use for over {PATIENCE_SECONDS} s"
                        f" ({self._users_of(lock)}): run this again when they have ended"
                    ) from error
            except BaseException:
                if not self._connection.closed:
                    self.rows("rollback")
                raise
            time.sleep(0.5)

    def _users_of(self, table: str) -> str:
        return self.value(  # type: ignore[no-any-return]
            """
            select coalesce(string_agg(distinct format(
                '%%s, process %%s, since %%s', application_name, pid, xact_start
            ), '; '), 'nobody now')
            from pg_locks inner join pg_stat_activity using (pid)
            where relation = cast(%s as regclass) and pid != pg_backend_pid()
            """,
            (table,),
        )

    # What the catalogue says.

    def has_table(self, table: str) -> bool:
        return self.value("select to_regclass(%s) is not null", (table,))  # type: ignore[no-any-return]

    def columns(self, table: str) -> dict[str, tuple[str, int, bool]]:
        """Return type, length and NOT NULL of every column; nothing for what is no plain table."""
        return {
            name: (kind, length, required)
            for name, kind, length, required in self.rows(
                """
                select attname,
                    case when atttypid = cast('varchar' as regtype) then 'character varying'
                        else format_type(atttypid, atttypmod) end,
                    -- PostgreSQL counts the length word in; -1 is no limit.
                    case when atttypmod < 0 then 1000000 else atttypmod - 4 end,
                    attnotnull
                from pg_attribute inner join pg_class on pg_class.oid = attrelid
                where attrelid = to_regclass(%s) and relkind = 'r' and attnum > 0
                    and not attisdropped
                """,
                (table,),
            )
        }

    def constraint(self, table: str, kinds: str, *columns: str) -> str | None:
        """Return the name of a constraint of one of these kinds on exactly these columns."""
        names = self.rows(
            """
            select conname from pg_constraint
            where conrelid = to_regclass(%s) and contype = any(%s) and (
                select array_agg(attname::text order by position)
                from unnest(conkey) with ordinality as keys (number, position)
                inner join pg_attribute on attrelid = conrelid and attnum = number
            ) = %s
            order by conname limit 1
            """,
            (table, list(kinds), list(columns)),
        )
        return names[0][0] if names else None

    def constraint_state(self, table: str, name: str) -> bool | None:
        """Return whether every row was checked against a constraint; None if there is none."""
        states = self.rows(
            "select convalidated from pg_constraint"
            " where conrelid = to_regclass(%s) and conname = %s",
            (table, name),
        )
        return states[0][0] if states else None

    def index_state(self, name: str) -> bool | None:
        """Return whether an index is complete; None if there is none."""
        states = self.rows(
            "select indisvalid from pg_index where indexrelid = to_regclass(%s)", (name,)
        )
        return states[0][0] if states else None


def upgrade(
    *, plan: bool = False, rebuild: Sequence[date] = (), say: Callable[[str], None] = print
) -> None:
    """Upgrade the warehouse that libpq's PG* variables name.

    Args:
        plan: say what would change and how many rows; change nothing.
        rebuild: days whose rows in the marts are made anew from staging, after the upgrade.
        say: takes every line of the report.

    Raises:
        TerminalError: if this is no warehouse, or holds what the new shape cannot hold, or a day
            cannot be rebuilt. Nothing was changed.
        TransientError: if somebody is in the way, or the warehouse went away. Another run goes on
            from there.
    """
    # dbt asks for them by name, and comes late.
    if missing := [name for name in ("PGHOST", "PGUSER", "PGDATABASE") if name not in os.environ]:
        raise TerminalError(f"not set in the environment: {', '.join(missing)}")
    try:
        with closing(staging.connect()) as connection:
            connection.set_session(readonly=plan, autocommit=True)
            warehouse = Warehouse(connection, say)
            warehouse.rows(
                # The server's own defaults may be short; the second ends what a killed run has
                # left; the last is for sorting what is compared.
                "select set_config('statement_timeout', '0', false),"
                " set_config('client_connection_check_interval', %s, false),"
                " set_config('lock_timeout', %s, false), set_config('work_mem', '128MB', false)",
                (CONNECTION_CHECK, f"{PATIENCE_SECONDS}s"),
            )
            if not plan:
                _be_the_only_one(warehouse)
            _refuse_strangers(warehouse)
            _refuse_what_does_not_fit(warehouse)
            _refuse_rebuilding_nothing(warehouse, rebuild)
            _tell_differences(warehouse)
            _go(warehouse, plan=plan)
            for day in rebuild:
                say(f"rebuilding {day}{' (not now: --plan)' if plan else ''}")
                if not plan:
                    _dbt("run", "--vars", f"{{ds: '{day}'}}")
    except psycopg2.OperationalError as error:
        raise TransientError(
            f"the warehouse went away: {error}; run this again to go on".strip()
        ) from error
    except psycopg2.Error as error:
        raise TerminalError(
            f"the warehouse refused: {str(error).strip()}; what was done stays, and the next run"
            " goes on from there"
        ) from error


def _go(warehouse: Warehouse, *, plan: bool) -> None:
    heading = "to do:" if plan else None
    done = 0
    for step in STEPS:
        if (what := step.pending(warehouse)) is None:
            continue
        if heading:
            warehouse.say(heading)
            heading = None
        done += 1
        warehouse.say(f"  {what}" if plan else what)
        if not plan:
            step.run(warehouse)
    if not done:
        warehouse.say("this warehouse has the new shape: nothing to do")
    elif plan:
        warehouse.say("nothing was changed")
    else:
        warehouse.say("done: this warehouse has the new shape")


def _be_the_only_one(warehouse: Warehouse) -> None:
    # Asked for again and again instead of waited for: who waits holds a snapshot, and building an
    # index beside others waits for that.
    deadline = time.monotonic() + OTHER_RUN_SECONDS
    while not warehouse.value("select pg_try_advisory_lock(hashtext('upgrade'))"):
        if time.monotonic() > deadline:
            raise TransientError("another upgrade is at work here: wait for its end")
        time.sleep(0.5)


# ---------------------------------------------------------------- what must hold before


def _refuse_strangers(warehouse: Warehouse) -> None:
    """Stop if this is neither an old warehouse nor a new one, nor one between the two."""
    problems = []
    for table, expected in COLUMNS.items():
        columns = warehouse.columns(table)
        if not columns:
            problems.append(f"there is no table {table}")
            continue
        for name, kind in expected.items():
            if name not in columns:
                problems.append(f"{table} has no column {name}")
            elif columns[name][0] != kind:
                problems.append(f"{table}.{name} is {columns[name][0]}, not {kind}")
    if not problems:
        for table, column in KEYS:
            if not warehouse.constraint(table, "pu", column):
                problems.append(f"{table}.{column} is not unique")
        for table, column in REFERENCES:
            if not warehouse.constraint(table, "f", column):
                problems.append(f"{table}.{column} has no foreign key")
        for table in COLUMNS:
            if not warehouse.value(
                "select pg_has_role(relowner, 'usage') from pg_class where oid = to_regclass(%s)",
                (table,),
            ):
                problems.append(f"{table} belongs to another user")
        for schema in ("staging", "mart"):
            if not warehouse.value("select has_schema_privilege(%s, 'create')", (schema,)):
                problems.append(f"this user may create nothing in schema {schema}")
    if problems:
        shown, more = problems[:4], len(problems) - 4
        raise TerminalError(
            f"this database is neither an old warehouse nor a new one: {'; '.join(shown)}"
            f"{f'; and {more} more' if more > 0 else ''}. Nothing was changed."
        )


def _refuse_what_does_not_fit(warehouse: Warehouse) -> None:
    """Stop if the new shape cannot hold what is there: what it should be is not ours to guess."""
    unfit = list(UNFIT)
    if "refund_flag" not in warehouse.columns(SALES):
        # From here on what is negative is a refund, and says so.
        unfit.append((SALES, "quantity < 0 or payment_amount < 0"))
    problems = [
        f"{table}: {number} rows where {condition}"
        for table, condition in unfit
        if (number := warehouse.value(f"select count(*) from {table} where {condition}"))  # noqa: S608
    ]
    for table, column in NAMES:
        if warehouse.columns(table)[column][1] < NAME_LENGTH:
            views = warehouse.rows(VIEWS_ON_COLUMN, {"table": table, "column": column})
            problems += [f"{table}.{column}: view {view} stands in its way" for (view,) in views]
    if primary_key := warehouse.constraint(ORDERS, "p", "uniq_id"):
        dependents = warehouse.rows(DEPENDENTS_ON_KEY, {"table": ORDERS, "key": primary_key})
        problems += [f"{ORDERS}.{primary_key}: {what} depends on it" for (what,) in dependents]
    for table in (ORDERS, SALES, ITEM, CITY, CUSTOMER):
        ours = [*COLUMNS[table], "status", "refund_flag", "uniq_id"]
        columns = warehouse.rows(REQUIRED_COLUMNS, {"table": table, "ours": ours})
        problems += [f"{table}.{column}: not null, and nothing fills it" for (column,) in columns]
    if problems:
        raise TerminalError(
            "the new shape cannot hold what is there; docs/upgrading.md says what to do about"
            + "".join(f"\n  {problem}" for problem in problems)
            + "\nNothing was changed."
        )


def _refuse_rebuilding_nothing(warehouse: Warehouse, days: Sequence[date]) -> None:
    for day in days:
        if not warehouse.value(
            f"select exists (select from {ORDERS} where cast(date_time as date) = %s)",  # noqa: S608
            (day,),
        ):
            raise TerminalError(
                f"{ORDERS} has no order line of {day}: rebuilding it would empty it in the marts."
                " Nothing was changed."
            )


UNFIT = (
    (ORDERS, "quantity is null or quantity < 1"),
    (ORDERS, "payment_amount is null or payment_amount < 0"),
    (ORDERS, "date_time < '1970-01-01' or date_time >= '2050-01-01'"),
    (SALES, "quantity is null or payment_amount is null"),
    (CITY, "city_id is null"),
    # The marts find a day by its number, and the week of a day in the calendar.
    (CALENDAR, "date_id != cast(to_char(date_actual, 'YYYYMMDD') as integer)"),
    (CALENDAR, "week_of_year_iso != to_char(date_actual, 'IYYY-\"W\"IW-ID')"),
)

VIEWS_ON_COLUMN = """
    select distinct cast(cast(ev_class as regclass) as text)
    from pg_depend
    inner join pg_rewrite on classid = cast('pg_rewrite' as regclass) and objid = pg_rewrite.oid
    inner join pg_attribute on attrelid = refobjid and attnum = refobjsubid
    where refclassid = cast('pg_class' as regclass)
        and refobjid = to_regclass(%(table)s) and attname = %(column)s
    order by 1
"""

# Foreign keys from elsewhere, and views that group by the key alone.
DEPENDENTS_ON_KEY = """
    select distinct pg_describe_object(classid, objid, objsubid)
    from pg_depend
    inner join pg_constraint
        on conrelid = to_regclass(%(table)s) and conname = %(key)s and (
            (refclassid = cast('pg_constraint' as regclass) and refobjid = pg_constraint.oid)
            or (refclassid = cast('pg_class' as regclass) and refobjid = conindid)
        )
    where deptype = 'n'
    order by 1
"""

REQUIRED_COLUMNS = """
    select attname
    from pg_attribute
    where attrelid = to_regclass(%(table)s) and attnum > 0 and not attisdropped
        and attnotnull and not atthasdef and attidentity = '' and attname != all(%(ours)s)
    order by attnum
"""


# ------------------------------------------------------------------------------ report


def _tell_differences(warehouse: Warehouse) -> None:
    """Say on which days the sales are not those of staging: left as they are, unless asked."""
    warehouse.say(
        f"{ORDERS}: {warehouse.row_count(ORDERS):,} rows;"
        f" {SALES}: {warehouse.row_count(SALES):,} rows"
    )
    # Refunds are negative in the mart only, and there are none before there is a status.
    refunded = "status = 'refunded'" if "status" in warehouse.columns(ORDERS) else "false"
    days = warehouse.rows((SQL / "differences.sql").read_text().format(refunded=refunded))
    if not days:
        warehouse.say(f"every day of {SALES} agrees with staging")
        return
    warehouse.say(
        f"days on which {SALES} and staging differ; each stays as it is until you ask for it by"
        " --rebuild DAY:"
    )
    for day, sold, staged, only_sold, only_staged in days:
        warehouse.say(
            f"  {day}  {SALES} {sold:,} rows, {only_sold:,} not in staging;"
            f" staging {staged:,} rows, {only_staged:,} not in {SALES}"
        )


# ------------------------------------------------------------------------------- steps


def _wider_name(table: str, column: str) -> Step:
    def pending(warehouse: Warehouse) -> str | None:
        if warehouse.columns(table)[column][1] >= NAME_LENGTH:
            return None
        return f"{table}.{column}: room for {NAME_LENGTH} characters (no row is written)"

    return Step(
        pending,
        lambda warehouse: warehouse.alter(
            table, f"alter table {table} alter column {column} type varchar({NAME_LENGTH})"
        ),
    )


def _not_null(table: str, column: str) -> Step:
    name = f"{column}_is_known"

    def pending(warehouse: Warehouse) -> str | None:
        columns = warehouse.columns(table)
        if column in columns and columns[column][2]:
            return None
        return f"{table}.{column}: not null ({warehouse.row_count(table):,} rows are checked)"

    def run(warehouse: Warehouse) -> None:
        # SET NOT NULL by itself reads the table while nobody else may; with a checked constraint
        # that says the same it reads nothing.
        _checked(warehouse, table, name, f"{column} is not null")
        warehouse.alter(
            table,
            f"alter table {table} alter column {column} set not null",
            f"alter table {table} drop constraint {name}",
        )

    return Step(pending, run)


def _check(table: str, column: str, condition: str) -> Step:
    name = f"{table.partition('.')[2]}_{column}_check"

    def pending(warehouse: Warehouse) -> str | None:
        if warehouse.constraint_state(table, name):
            return None
        return f"{table}: check ({condition}) ({warehouse.row_count(table):,} rows are checked)"

    return Step(pending, lambda warehouse: _checked(warehouse, table, name, condition))


def _checked(warehouse: Warehouse, table: str, name: str, condition: str) -> None:
    state = warehouse.constraint_state(table, name)
    if state is None:
        warehouse.alter(
            table, f"alter table {table} add constraint {name} check ({condition}) not valid"
        )
    if not state:
        warehouse.alone(f"alter table {table} validate constraint {name}")


def _index(warehouse: Warehouse, table: str, name: str, on: str) -> None:
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


def _orders_key_pending(warehouse: Warehouse) -> str | None:
    if warehouse.index_state(f"staging.{ORDER_KEY}"):
        return None
    return f"{ORDERS}: unique index on day and uniq_id ({warehouse.row_count(ORDERS):,} rows)"


def _sales_key_pending(warehouse: Warehouse) -> str | None:
    if warehouse.constraint(SALES, "pu", "date_id", "uniq_id"):
        return None
    return f"{SALES}: unique (date_id, uniq_id) ({warehouse.row_count(SALES):,} rows)"


def _sales_key(warehouse: Warehouse) -> None:
    _index(warehouse, SALES, SALES_KEY, "date_id, uniq_id")
    warehouse.alter(
        SALES, f"alter table {SALES} add constraint {SALES_KEY} unique using index {SALES_KEY}"
    )


MISSING_CITIES = f"""
    select distinct city_id from {SALES} as sales
    where not exists (select from {CITY} as city where city.city_id = sales.city_id)
"""  # noqa: S608 - the names are this module's own


def _cities_pending(warehouse: Warehouse) -> str | None:
    missing = [city_id for (city_id,) in warehouse.rows(MISSING_CITIES)]
    if not missing:
        return None
    count = f"select count(*) from {SALES} where city_id = any(%s)"  # noqa: S608
    return (
        f"{CITY}: {len(missing)} rows more, for cities that only {SALES} knows"
        f" ({warehouse.value(count, (missing,)):,} rows there, which an inner join with {CITY}"
        " has left out until now)"
    )


def _cities(warehouse: Warehouse) -> None:
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


def _city_reference_pending(warehouse: Warehouse) -> str | None:
    name = warehouse.constraint(SALES, "f", "city_id")
    if name and warehouse.constraint_state(SALES, name):
        return None
    return f"{SALES}.city_id: foreign key ({warehouse.row_count(SALES):,} rows are checked)"


def _city_reference(warehouse: Warehouse) -> None:
    name = warehouse.constraint(SALES, "f", "city_id")
    if not name:
        name = CITY_REFERENCE
        warehouse.alter(
            SALES,
            f"alter table {SALES} add constraint {name}"
            f" foreign key (city_id) references {CITY} (city_id) not valid",
        )
    warehouse.alone(f"alter table {SALES} validate constraint {name}")


def _refund_flag_pending(warehouse: Warehouse) -> str | None:
    if "refund_flag" in warehouse.columns(SALES):
        return None
    return f"{SALES}.refund_flag: false for {warehouse.row_count(SALES):,} rows (none is written)"


def _refund_flag(warehouse: Warehouse) -> None:
    warehouse.alter(
        SALES,
        f"alter table {SALES} add column refund_flag boolean not null default false",
        # For the rows that are there. A new one that says nothing is a mistake.
        f"alter table {SALES} alter column refund_flag drop default",
        f"alter table {SALES} add column uniq_id varchar(32)",
    )


def _order_keys_pending(warehouse: Warehouse) -> str | None:
    rows = warehouse.row_count(SALES)
    if "uniq_id" in warehouse.columns(SALES):
        rows = warehouse.value(f"select count(*) from {SALES} where uniq_id is null")  # noqa: S608
        if not rows:
            return None
    return f"{SALES}.uniq_id: order key for {rows:,} rows (each is written)"


def _order_keys(warehouse: Warehouse) -> None:
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


def _status_pending(warehouse: Warehouse) -> str | None:
    if "status" in warehouse.columns(ORDERS):
        return None
    return f"{ORDERS}.status: shipped for {warehouse.row_count(ORDERS):,} rows (none is written)"


def _status(warehouse: Warehouse) -> None:
    warehouse.alter(
        ORDERS,
        f"alter table {ORDERS} add column status varchar(30) not null default 'shipped'",
    )


def _retention_pending(warehouse: Warehouse) -> str | None:
    if warehouse.has_table(RETENTION):
        filled = f"select exists (select from {RETENTION}) or not exists (select from {SALES})"  # noqa: S608
        if warehouse.value(filled):
            return None
    return f"{RETENTION}: every period of {warehouse.row_count(SALES):,} rows of {SALES}"


def _retention(warehouse: Warehouse) -> None:
    # The dimensions stay as they are until the first run of all marts: neither names nor rows of
    # old may change before the way back is closed.
    _dbt(
        "run", "--select", "d_calendar", "f_customer_retention",
        "--vars", "{prune_dimensions: false}",
    )  # fmt: skip


def _dbt(*arguments: str) -> None:
    """Run dbt as its own program; this one may be started from anywhere."""
    program = Path(sys.executable).with_name("dbt")
    folders = ("--project-dir", str(ROOT / "dbt_project"), "--profiles-dir", str(ROOT))
    done = subprocess.run(
        [program, "--quiet", *arguments, *folders],
        cwd=ROOT,
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

    return Config(toml_file=ROOT / "pyproject.toml")


def _ledger_tables_pending(warehouse: Warehouse) -> str | None:
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(_migrations()).get_current_head()
    version = "staging.alembic_version"
    if warehouse.has_table(version) and (head,) in warehouse.rows(
        f"select version_num from {version}"  # noqa: S608
    ):
        return None
    return f"schema staging: ledger and quarantine (migrations up to {head})"


def _ledger_tables(warehouse: Warehouse) -> None:
    from alembic import command

    command.upgrade(_migrations(), "head")


def _ledger_pending(warehouse: Warehouse) -> str | None:
    known = "where cast(date_time as date) not in (select day from staging.delivery_day)"
    days = warehouse.value(
        f"select count(distinct cast(date_time as date)) from {ORDERS}"  # noqa: S608
        f" {known if warehouse.has_table('staging.delivery_day') else ''}"
    )
    if not days:
        return None
    return f"staging.delivery: one entry for the {days:,} days that are there"


def _ledger(warehouse: Warehouse) -> None:
    warehouse.write(ORDERS, (SQL / "ledger.sql").read_text(), {"report_id": REPORT_ID})


def _old_key_pending(warehouse: Warehouse) -> str | None:
    if not warehouse.constraint(ORDERS, "p", "uniq_id"):
        return None
    return f"{ORDERS}: without its primary key on uniq_id alone"


def _old_key(warehouse: Warehouse) -> None:
    name = warehouse.constraint(ORDERS, "p", "uniq_id")
    warehouse.alter(ORDERS, f'alter table {ORDERS} drop constraint "{name}"')


STEPS = (
    *(_wider_name(table, column) for table, column in NAMES),
    _not_null(CITY, "city_id"),
    Step(_cities_pending, _cities),
    # The index first: by it the order lines of a day are found.
    Step(
        _orders_key_pending,
        lambda warehouse: _index(warehouse, ORDERS, ORDER_KEY, "cast(date_time as date), uniq_id"),
    ),
    Step(_refund_flag_pending, _refund_flag),
    Step(_order_keys_pending, _order_keys),
    Step(_sales_key_pending, _sales_key),
    *(_not_null(SALES, column) for column in ("uniq_id", "quantity", "payment_amount")),
    Step(_city_reference_pending, _city_reference),
    *(_not_null(ORDERS, column) for column in ("quantity", "payment_amount")),
    _check(ORDERS, "quantity", "quantity >= 1"),
    _check(ORDERS, "payment_amount", "payment_amount >= 0"),
    _check(ORDERS, "date_time", "date_time >= '1970-01-01' and date_time < '2050-01-01'"),
    Step(_status_pending, _status),
    _check(ORDERS, "status", "status in ('shipped', 'refunded')"),
    Step(_retention_pending, _retention),
    Step(_ledger_tables_pending, _ledger_tables),
    Step(_ledger_pending, _ledger),
    # Last, as the old pipeline needs it.
    Step(_old_key_pending, _old_key),
)
