"""Checks which names of ours are taken, before anything is created.

`make warehouse` begins with this check, `python -m checks preflight`. Migrations and takeover make
it as well. Everything that they and a first run of dbt would create has to be absent, or ours: a
plain table with our columns, types and keys. Anything else would stop them halfway, or be lost: dbt
drops a view, say, that has a mart's name, with all that depends on it.

The numbered SQL and the contracts in dbt's manifest define what is ours. The check creates both in
PostgreSQL's schema for temporary tables, reads the result from the catalogue, and rolls back.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from checks import dbt
from checks.session import open_session
from loaders.errors import TerminalError
from loaders.warehouse import explained

MIGRATIONS = dbt.ROOT / "migrations" / "versions"
STAGING = "staging"
ORDERS = "user_order_log"
# The only table that may exist before the first migration: the takeover brings it to our shape.
ORDER_LINES = MIGRATIONS / "0001_order_lines.sql"
VERSION = "alembic_version"
# Before it builds a mart, dbt drops whatever has the mart's name with one of these suffixes.
DBT_SUFFIXES = ("__dbt_tmp", "__dbt_backup")

TABLE = "table"
KINDS = {
    "r": TABLE,
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "S": "sequence",
    "i": "index",
    "I": "index",
    "c": "type",
}
STRINGS = ("character varying", "character", "text")
# At most this many problems of one relation are shown.
SHOWN = 3

OLD_WAREHOUSE = (
    f"{STAGING}.{ORDERS} is that of an old warehouse: `python -m migrations takeover --plan` says"
    " what bringing it up to date would change"
)


@dataclass(frozen=True)
class Column:
    """`length` is None if there is no limit; `filled` says whether an insert may omit it."""

    kind: str
    length: int | None
    required: bool
    filled: bool

    def __str__(self) -> str:
        return f"{self.kind}({self.length})" if self.length is not None else self.kind

    def holds(self, other: "Column") -> bool:
        """Return whether this column has the other's type and room for all its values."""
        if self.kind not in STRINGS or other.kind not in STRINGS:
            return self.kind == other.kind
        return self.length is None or (other.length is not None and self.length >= other.length)


@dataclass(frozen=True)
class Relation:
    """A relation of a schema: table, view, index or whatever has a name.

    `keys` are its unique indexes, each as its columns and expressions; `checks` maps the name of a
    check constraint to its condition.
    """

    schema: str
    name: str
    kind: str
    columns: Mapping[str, Column]
    keys: frozenset[str]
    checks: Mapping[str, str]

    def __str__(self) -> str:
        return ".".join(
            name if re.fullmatch("[a-z_][a-z0-9_]*", name) else f'"{name}"'
            for name in (self.schema, self.name)
        )


def preflight() -> None:
    """Check the whole warehouse that libpq's PG* variables name.

    Raises:
        TerminalError: if a name is taken; the message names it and says what to do.
        TransientError: if the warehouse cannot be reached.
    """
    with (
        closing(open_session("preflight", autocommit=False)) as connection,
        connection.cursor() as cursor,
    ):
        refuse([*staging_problems(cursor), *mart_problems(cursor)])


def refuse(problems: Collection[str]) -> None:
    """Raise one TerminalError with all problems, if there are any."""
    if OLD_WAREHOUSE in problems:  # the takeover reports what else is missing
        raise TerminalError(f"{OLD_WAREHOUSE}. Nothing was changed.")
    if problems:
        raise TerminalError(
            "what is in this database stands in the way of what is to be created:"
            + "".join(f"\n  {problem}" for problem in problems)
            + "\nRename what is yours, or move it to another schema (what reads it follows)."
            " Nothing was changed."
        )


def staging_problems(cursor: Cursor, *, without: Collection[str] = ()) -> list[str]:
    """Return what would stop the migrations; needs an open transaction.

    Args:
        without: tables whose columns and keys somebody else looks at.
    """
    with explained():
        present = {relation.name: relation for relation in relations(cursor, STAGING)}
        revision, problems = _revision(cursor, present.get(VERSION))
        if problems:
            return problems
        files = sorted(MIGRATIONS.glob("*.sql"))
        if revision:
            applied = [file for file in files if file.name[:4] <= revision]
        else:
            applied = [ORDER_LINES] if ORDERS in present else []
        ours, later = _made_by(cursor, applied), _made_by(cursor, files)
    # Where the SQL writes no name, PostgreSQL chooses a free one.
    written = "".join(file.read_text() for file in files)
    for name in sorted(ours.keys() | later.keys()):
        actual = present.get(name)
        if actual is None:
            if name in ours and ours[name].kind == TABLE:
                problems.append(f"there is no {ours[name]}, though {VERSION} says {revision}")
        elif name not in ours:
            if re.search(rf"\b{name}\b", written):
                problems.append(f"{actual} is there, and no migration of ours has made it")
        elif ours[name].kind == TABLE:
            if name in without and actual.kind == TABLE:
                problems += _other_checks(actual, ours[name])
                continue
            differences = _differences(actual, ours[name])
            if name == ORDERS and differences and _is_old(actual):
                differences = [OLD_WAREHOUSE]
            problems += differences
    if later.keys() - present.keys():
        problems += _cannot_create(cursor, STAGING)
    return problems


def _is_old(orders: Relation) -> bool:
    return orders.kind == TABLE and "uniq_id" in orders.columns


def _revision(cursor: Cursor, version: Relation | None) -> tuple[str | None, list[str]]:
    """Return the last migration that was applied, and the problems of the table that says so."""
    if version is None:
        return None, []
    if version.kind != TABLE or version.columns.keys() != {"version_num"}:
        return None, [f"{version} is not the table in which our migrations are counted"]
    cursor.execute(f"select version_num from {STAGING}.{VERSION}")  # noqa: S608
    revisions = [revision for (revision,) in cursor.fetchall()]
    known = {file.name[:4] for file in MIGRATIONS.glob("[0-9]*.py")}
    if len(revisions) > 1 or not known.issuperset(revisions):
        return None, [
            f"{version} says {', '.join(revisions)}: that is none of the migrations here, so either"
            " it counts somebody else's, or a newer version of this project was here"
        ]
    return (revisions[0] if revisions else None), []


def _made_by(cursor: Cursor, files: Collection[Path]) -> dict[str, Relation]:
    """Return the relations that these files of numbered SQL make in an empty schema."""
    with _rolled_back(cursor):
        for file in files:
            # A migration may change an existing mart. Here it must not touch the real one.
            schemas = rf"\b({STAGING}|{dbt.SCHEMA})\."
            cursor.execute(re.sub(schemas, "pg_temp.", file.read_text()))
        made = relations(cursor, "pg_temp")
    return {relation.name: replace(relation, schema=STAGING) for relation in made}


def mart_problems(cursor: Cursor, *, without: Collection[str] = ()) -> list[str]:
    """Return what would stop dbt; needs an open transaction.

    Args:
        without: tables whose columns and keys somebody else looks at.
    """
    marts = {mart.name: mart for mart in dbt.marts()}
    dropped = {f"{name}{suffix}" for name in marts for suffix in DBT_SUFFIXES}
    with explained():
        present = [
            relation
            for relation in relations(cursor, dbt.SCHEMA)
            if relation.name.lower() in marts.keys() | dropped
        ]
        expected = _contracts(cursor, marts.values()) if present else {}
        bound = _bound(cursor, marts.values())
    problems = []
    for relation in present:
        if relation.name.lower() in dropped:
            problems.append(f"{relation}: dbt drops what has this name")
        elif (relation.schema, relation.name) != (dbt.SCHEMA, relation.name.lower()):
            # dbt would mistake it for the mart, and stop.
            problems.append(f"{relation} differs from the name of a mart in upper case only")
        elif not (relation.name in without and relation.kind == TABLE):
            problems += _differences(
                relation, expected[relation.name], may_lack_columns=relation.name in bound
            )
    if marts.keys() - {relation.name for relation in present}:
        problems += _cannot_create(cursor, dbt.SCHEMA)
    return problems


def _contracts(cursor: Cursor, marts: Collection[dbt.Mart]) -> dict[str, Relation]:
    """Return the tables that dbt would make for these marts."""
    with _rolled_back(cursor):
        for mart in marts:
            columns = [
                sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
                for name, kind in mart.columns.items()
            ]
            if mart.key:
                columns += [sql.SQL("primary key ({})").format(identifiers(mart.key))]
            cursor.execute(
                sql.SQL("create table pg_temp.{} ({})").format(
                    sql.Identifier(mart.name), sql.SQL(", ").join(columns)
                )
            )
        return {relation.name: relation for relation in relations(cursor, "pg_temp")}


def _bound(cursor: Cursor, marts: Collection[dbt.Mart]) -> set[str]:
    """Return the marts at either end of a foreign key that is in a contract and in the database.

    No table of somebody else has such a key. So these marts are ours, even if an older version of
    this project has made them: dbt adds the columns that are new since then.
    """
    cursor.execute(
        """
        select here.relname, there.relname
        from pg_constraint
        inner join pg_class as here on here.oid = conrelid
        inner join pg_class as there on there.oid = confrelid
        where contype = 'f' and to_regnamespace(%s) = all(
            array[here.relnamespace, there.relnamespace]
        )
        """,
        (dbt.SCHEMA,),
    )
    keys = set(cursor.fetchall())
    return {
        name
        for mart in marts
        for reference in mart.references
        for name in (mart.name, reference.to)
        if (mart.name, reference.to) in keys
    }


def _differences(
    actual: Relation, expected: Relation, *, may_lack_columns: bool = False
) -> list[str]:
    """Return the differences that make `actual` another table than the expected one."""
    if actual.kind != TABLE:
        return [f"{actual} is no plain table: {actual.kind}"]
    problems = []
    for name, column in expected.columns.items():
        found = actual.columns.get(name)
        if found is None:
            if not may_lack_columns:
                problems.append(f"{actual} has no column {name}")
        elif not found.holds(column):
            problems.append(f"{actual}.{name} is {found}, not {column}")
    problems += [
        f"{actual}.{name}: not null, and nothing fills it"
        for name, column in actual.columns.items()
        if name not in expected.columns and column.required and not column.filled
    ]
    problems += [f"{actual} is not unique by {key}" for key in sorted(expected.keys - actual.keys)]
    return [*problems, *_other_checks(actual, expected)][:SHOWN]


def _other_checks(actual: Relation, expected: Relation) -> list[str]:
    return [
        f"{actual}: there is a constraint {name} of another kind"
        for name, condition in expected.checks.items()
        if actual.checks.get(name, condition) != condition
    ]


def _cannot_create(cursor: Cursor, schema: str) -> list[str]:
    cursor.execute(
        "select case when to_regnamespace(%(schema)s) is null"
        " then has_database_privilege(current_database(), 'create')"
        " else has_schema_privilege(%(schema)s, 'create') end",
        {"schema": schema},
    )
    ((may_create,),) = cursor.fetchall()
    return [] if may_create else [f"this user may create nothing in schema {schema}"]


def identifiers(names: Collection[str]) -> sql.Composed:
    """Return names for a statement, quoted and separated by commas."""
    return sql.SQL(", ").join(map(sql.Identifier, names))


def relations(cursor: Cursor, schema: str) -> list[Relation]:
    """Return all relations of a schema, and of schemas whose name differs in upper case only."""
    cursor.execute(RELATIONS, {"schema": schema})
    return [
        Relation(
            schema=namespace,
            name=name,
            kind=KINDS.get(kind, "type"),
            columns={column: Column(*values) for column, values in columns.items()},
            keys=frozenset(keys),
            checks={name: re.sub(NO_MATTER, "", text) for name, text in checks.items()},
        )
        for namespace, name, kind, columns, keys, checks in cursor.fetchall()
    ]


# Part of a constraint's text; it changes when the constraint is dumped and restored.
NO_MATTER = r"::[a-z ]+(\[\])?|[()\s]|NOT VALID$"

RELATIONS = """
    with schemas as (

        select oid, nspname from pg_namespace
        where lower(nspname) = %(schema)s
            or (%(schema)s = 'pg_temp' and oid = pg_my_temp_schema())

    )

    select
        nspname,
        relname,
        relkind::text,
        coalesce((
            select json_object_agg(attname, json_build_array(
                case
                    when typcategory = 'S' then format_type(atttypid, null)
                    else format_type(atttypid, atttypmod)
                end,
                -- PostgreSQL counts the length word in; -1 is no limit.
                case when typcategory = 'S' and atttypmod > 0 then atttypmod - 4 end,
                attnotnull,
                atthasdef or attidentity != ''
            ) order by attnum)
            from pg_attribute inner join pg_type on pg_type.oid = atttypid
            where attrelid = pg_class.oid and attnum > 0 and not attisdropped
        ), '{}'),
        array(
            select (
                select string_agg(pg_get_indexdef(indexrelid, number, true), ', ')
                from generate_series(1, indnkeyatts) as numbers (number)
            )
            from pg_index
            where indrelid = pg_class.oid and indisunique and indisvalid and indpred is null
        ),
        coalesce((
            select json_object_agg(conname, pg_get_constraintdef(pg_constraint.oid))
            from pg_constraint where conrelid = pg_class.oid and contype = 'c'
        ), '{}')
    from pg_class inner join schemas on relnamespace = schemas.oid
    union all
    -- A table has a type of its name, which may be taken.
    select nspname, typname, 'type', '{}', '{}', '{}'
    from pg_type inner join schemas on typnamespace = schemas.oid
    where typrelid = 0 and typcategory != 'A'
    order by 1, 2
"""


@contextmanager
def _rolled_back(cursor: Cursor) -> Iterator[None]:
    cursor.execute("savepoint preflight")
    try:
        yield
    finally:
        cursor.execute("rollback to savepoint preflight")
