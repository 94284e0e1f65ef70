"""The conditions that must hold before a takeover touches anything."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date

from checks import preflight
from checks.session import open_session
from loaders.errors import TerminalError
from migrations.takeover import changes, retention
from migrations.takeover.old_warehouse import OldWarehouse
from migrations.takeover.tables import (
    ADDED,
    CALENDAR,
    CITY,
    COLUMNS,
    CUSTOMER,
    ITEM,
    KEYS,
    OLD_RETENTION,
    ORDERS,
    OTHER_MARTS,
    REFERENCES,
    RETENTION,
    RETENTION_COLUMNS,
    SALES,
    TEXTS,
)

# The takeover brings these to our shape. Everything else has to be absent, or ours already.
CHANGED = (ORDERS, ITEM, CITY, CUSTOMER, SALES, RETENTION)


def refuse_strangers(warehouse: OldWarehouse) -> None:
    """Raise unless this is an old warehouse, a new one, or one between the two."""
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
        # A step counts as done if its column exists. A column made by hand may be a different one.
        for table, column, kind, required in ADDED:
            columns = warehouse.columns(table)
            if column not in columns:
                continue
            if columns[column][0] != kind:
                problems.append(f"{table}.{column} is {columns[column][0]}, not {kind}")
            elif required and not columns[column][2]:
                problems.append(f"{table}.{column} may be null")
        sales = warehouse.columns(SALES)
        if "uniq_id" not in sales:
            if "id" not in sales:
                problems.append(f"{SALES} has no column id")
            elif not warehouse.constraint(SALES, "pu", "id"):
                problems.append(f"{SALES}.id is not unique")
        elif "refund_flag" not in sales:
            problems.append(f"{SALES}.uniq_id is there without {SALES}.refund_flag")
        for table, column in KEYS:
            if not warehouse.constraint(table, "pu", column):
                problems.append(f"{table}.{column} is not unique")
        for table, column, to in REFERENCES:
            if not warehouse.constraint(table, "f", column, to=to):
                problems.append(f"{table}.{column} has no foreign key to {to}")
        for table in (*COLUMNS, RETENTION):
            if warehouse.has_table(table) and not warehouse.value(
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


def refuse_what_does_not_fit(warehouse: OldWarehouse, taken: Sequence[str]) -> None:
    """Raise if the new shape cannot hold the rows: we do not guess what they should be.

    Args:
        taken: the relations with names of ours, as `names_taken` returns them.
    """
    problems = [
        f"{table}: {number} rows where {condition}"
        for table, condition in _unfit(warehouse)
        if (number := warehouse.value(f"select count(*) from {table} where {condition}"))  # noqa: S608
    ]
    problems += _too_much(warehouse)
    problems += taken
    problems += _own_names(warehouse)
    for table, column, length in TEXTS:
        if warehouse.columns(table).get(column, ("", length))[1] < length:
            problems += _views(warehouse, table, column)
    if primary_key := warehouse.constraint(ORDERS, "p", "uniq_id"):
        dependents = warehouse.rows(DEPENDENTS_ON_KEY, {"table": ORDERS, "key": primary_key})
        problems += [f"{ORDERS}.{primary_key}: {what} depends on it" for (what,) in dependents]
    ours = [SALES, RETENTION, *OTHER_MARTS]
    for table in (SALES, ITEM, CITY, CUSTOMER, RETENTION):
        dependents = warehouse.rows(FOREIGN_KEYS_TO, {"table": table, "ours": ours})
        problems += [f"{table}: {what} depends on it" for (what,) in dependents]
    for table in (ORDERS, SALES, ITEM, CITY, CUSTOMER):
        ours = [*COLUMNS[table], "status", "refund_flag", "uniq_id"]
        problems += _unfilled(warehouse, table, ours)
    problems += _retention(warehouse)
    if problems:
        raise TerminalError(
            "the new shape cannot hold what is there; docs/takeover.md says what to do about"
            + "".join(f"\n  {problem}" for problem in problems)
            + "\nNothing was changed."
        )


def names_taken() -> list[str]:
    """Return the relations that have names which a takeover needs."""
    orders = ORDERS.partition(".")[2]
    marts = [table.partition(".")[2] for table in CHANGED if table != ORDERS]
    with (
        closing(open_session("takeover", autocommit=False)) as connection,
        connection.cursor() as cursor,
    ):
        return [
            *preflight.staging_problems(cursor, without=[orders]),
            *preflight.mart_problems(cursor, without=marts),
        ]


def refuse_rebuilding_nothing(warehouse: OldWarehouse, days: Sequence[date]) -> None:
    for day in days:
        if not warehouse.value(
            f"select exists (select from {ORDERS} where cast(date_time as date) = %s)",  # noqa: S608
            (day,),
        ):
            raise TerminalError(
                f"{ORDERS} has no order line of {day}: rebuilding it would empty it in the marts."
                " Nothing was changed."
            )


def _unfit(warehouse: OldWarehouse) -> list[tuple[str, str]]:
    orders, sales = warehouse.columns(ORDERS), warehouse.columns(SALES)
    unfit = list(UNFIT)
    unfit += [
        (ORDERS, f"length({column}) > {length}")
        for table, column, length in TEXTS
        if table == ORDERS and orders.get(column, ("", length))[1] > length
    ]
    if "status" in orders:
        unfit.append((ORDERS, "status not in ('shipped', 'refunded')"))
    # From here on a refund is negative and has the flag.
    if "refund_flag" not in sales:
        unfit.append((SALES, "quantity < 0 or payment_amount < 0"))
    elif "uniq_id" not in sales:
        unfit += [
            (SALES, "refund_flag and (quantity >= 0 or payment_amount > 0)"),
            (SALES, "not refund_flag and (quantity < 0 or payment_amount < 0)"),
        ]
    return unfit


def _too_much(warehouse: OldWarehouse) -> Iterator[str]:
    """Return the sums that are too large for the retention mart."""
    room = {
        name: 10 ** (int(numeric[1]) - int(numeric[2]))
        for name, declared in retention.contract().columns.items()
        if (numeric := re.fullmatch(r"numeric\((\d+), *(\d+)\)", declared))
    }
    has_flag = "refund_flag" in warehouse.columns(SALES)
    statement = (changes.SQL / "amounts.sql").read_text()
    for period_id, item_id, name, amount in warehouse.rows(
        statement.format(refund="refund_flag" if has_flag else "false"),
        {
            "amount": min(room["new_customers_revenue"], room["refunded_amount"]),
            "quantity": room["refunded_quantity"],
            "room": json.dumps(room),
        },
    ):
        yield (
            f"{SALES}: {name} of item {item_id} in {period_id} would be {amount:,};"
            f" {RETENTION} has room for less than {room[name]:,}"
        )


def _own_names(warehouse: OldWarehouse) -> Iterator[str]:
    """Return the names of our indexes and constraints that something else has."""
    for table, index, columns in (
        (ORDERS, f"staging.{changes.ORDER_KEY}", ["(date_time::date)", "uniq_id"]),
        (ORDERS, changes.BACK_KEY, ["uniq_id"]),
        (SALES, f"mart.{changes.SALES_KEY}", ["date_id", "uniq_id"]),
    ):
        if warehouse.value(OTHER_INDEX, {"table": table, "index": index, "columns": columns}):
            yield f"{table}: there is an index {index} of another kind"
    reference = "f_sales_city_id_fkey"
    if warehouse.constraint_state(SALES, reference) is not None and not warehouse.constraint(
        SALES, "f", "city_id", to=CITY
    ):
        yield f"{SALES}: there is a constraint {reference} of another kind"
    for table in (ORDERS, SALES, CITY, RETENTION):
        for (name,) in warehouse.rows(OTHER_CHECKS, (table,)):
            yield f"{table}: there is a constraint {name} of another kind"


def _views(warehouse: OldWarehouse, table: str, column: str) -> list[str]:
    views = warehouse.rows(VIEWS_ON_COLUMN, {"table": table, "column": column})
    return [f"{table}.{column}: view {view} stands in its way" for (view,) in views]


def _unfilled(warehouse: OldWarehouse, table: str, ours: Sequence[str]) -> list[str]:
    columns = warehouse.rows(REQUIRED_COLUMNS, {"table": table, "ours": list(ours)})
    return [f"{table}.{column}: not null, and nothing fills it" for (column,) in columns]


def _retention(warehouse: OldWarehouse) -> list[str]:
    """Return why the old retention mart, if there is one, cannot become ours."""
    columns = warehouse.columns(RETENTION)
    if not columns or not retention.is_of_old(warehouse):
        return []
    problems = []
    for name, kinds in RETENTION_COLUMNS.items():
        if name not in columns:
            problems.append(f"{RETENTION} has no column {name}")
        elif columns[name][0] not in kinds:
            problems.append(f"{RETENTION}.{name} is {columns[name][0]}, not {kinds[0]}")
    for column in retention.retyped(warehouse):
        problems += _views(warehouse, RETENTION, column)
    problems += _unfilled(warehouse, RETENTION, [*retention.contract().columns])
    if warehouse.has_table(OLD_RETENTION) and not retention.is_copied(warehouse):
        problems.append(f"{OLD_RETENTION} is there, and no takeover has made it")
    return problems


UNFIT = (
    (ORDERS, "quantity is null or quantity < 1"),
    (ORDERS, "payment_amount is null or payment_amount < 0"),
    (ORDERS, "date_time < '1970-01-01' or date_time >= '2050-01-01'"),
    (SALES, "quantity is null or payment_amount is null"),
    (CITY, "city_id is null"),
    # The marts find a day by its number, and the week of a day by the calendar.
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

# Foreign keys from other tables, and views that group by the key alone.
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

# A run of the marts deletes the rows that these keys refer to, and may not make them again.
FOREIGN_KEYS_TO = """
    select pg_describe_object(cast('pg_constraint' as regclass), oid, 0)
    from pg_constraint
    where contype = 'f' and conparentid = 0 and confrelid = to_regclass(%(table)s)
        and not exists (select from unnest(%(ours)s) as our where to_regclass(our) = conrelid)
    order by 1
"""

REQUIRED_COLUMNS = """
    select attname
    from pg_attribute
    where attrelid = to_regclass(%(table)s) and attnum > 0 and not attisdropped
        and attnotnull and not atthasdef and attidentity = '' and attname != all(%(ours)s)
    order by attnum
"""

OTHER_INDEX = """
    select to_regclass(%(index)s) is not null and not exists (
        select from pg_index
        where indexrelid = to_regclass(%(index)s) and indrelid = to_regclass(%(table)s)
            and indisunique and indpred is null and array(
                select pg_get_indexdef(indexrelid, number, true)
                from generate_series(1, indnkeyatts) as numbers (number)
            ) = %(columns)s
    )
"""

# The check constraints by which OldWarehouse.add_not_null makes a column not null.
OTHER_CHECKS = """
    select conname from pg_constraint
    where conrelid = to_regclass(%s) and conname ~ '_is_known$'
        and not starts_with(
            pg_get_constraintdef(oid),
            format('CHECK ((%%I IS NOT NULL))', regexp_replace(conname, '_is_known$', ''))
        )
    order by 1
"""
