"""What must hold before anything is touched."""

from collections.abc import Sequence
from datetime import date

from loaders.errors import TerminalError
from loaders.order_file import NAME_LENGTH
from migrations.takeover.old_warehouse import OldWarehouse
from migrations.takeover.tables import (
    ADDED,
    CALENDAR,
    CITY,
    COLUMNS,
    CUSTOMER,
    ITEM,
    KEYS,
    NAMES,
    ORDERS,
    REFERENCES,
    RETENTION,
    SALES,
)


def refuse_strangers(warehouse: OldWarehouse) -> None:
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
        # A step counts as done if its column is there: made by hand it may be another.
        for table, column, kind, required, companion in ADDED:
            columns = warehouse.columns(table)
            if column not in columns:
                continue
            if columns[column][0] != kind:
                problems.append(f"{table}.{column} is {columns[column][0]}, not {kind}")
            elif required and not columns[column][2]:
                problems.append(f"{table}.{column} may be null")
            if companion not in warehouse.columns(SALES):
                problems.append(f"{table}.{column} is there without {SALES}.{companion}")
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


def refuse_what_does_not_fit(warehouse: OldWarehouse) -> None:
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
    for table in (SALES, ITEM, CITY, CUSTOMER):
        dependents = warehouse.rows(FOREIGN_KEYS_TO, {"table": table, "ours": [SALES, RETENTION]})
        problems += [f"{table}: {what} depends on it" for (what,) in dependents]
    for table in (ORDERS, SALES, ITEM, CITY, CUSTOMER):
        ours = [*COLUMNS[table], "status", "refund_flag", "uniq_id"]
        columns = warehouse.rows(REQUIRED_COLUMNS, {"table": table, "ours": ours})
        problems += [f"{table}.{column}: not null, and nothing fills it" for (column,) in columns]
    if problems:
        raise TerminalError(
            "the new shape cannot hold what is there; docs/takeover.md says what to do about"
            + "".join(f"\n  {problem}" for problem in problems)
            + "\nNothing was changed."
        )


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

# A run of the marts deletes what these point to, and makes it anew or not.
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
