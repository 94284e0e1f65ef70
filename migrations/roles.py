"""Makes three accounts with the rights that each needs here (docs/decisions/0004-roles.md).

Run: `python -m migrations roles`, as often as you like. It makes the accounts, or brings their
rights up to date. The list of marts says what the reader may read.
"""

from collections.abc import Callable
from contextlib import closing

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from checks import dbt
from checks.preflight import relations
from checks.session import open_session
from loaders.errors import TerminalError
from loaders.warehouse import explained

# Roles belong to the server, their rights to one database. So a role's name holds the database's.
LOADER, TRANSFORMER, READER = "loader", "transformer", "reader"
LONGEST_NAME = 63  # in bytes; PostgreSQL cuts off longer names
# A mart with one of these columns shows names: readers get a view of it, or nothing.
PERSONAL = {"first_name", "last_name"}
CUSTOMER, MASKED = "d_customer", "d_customer_masked"
MASKED_COMMENT = "Who buys, of the names the first letter only. One row per customer_id."


def create_roles(say: Callable[[str], None] = print) -> None:
    """Make the three accounts of the warehouse that libpq's PG* variables name, or update them.

    Raises:
        TerminalError: if this account may not, or the marts are not there. Nothing was changed.
        TransientError: if the warehouse cannot be reached.
    """
    marts = dbt.marts()
    with explained(), closing(open_session("roles", autocommit=False)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_xact_lock(hashtext('migrations'))")
            roles = _names(cursor)
            present = {relation.name: relation for relation in relations(cursor, dbt.SCHEMA)}
            if CUSTOMER not in present:
                raise TerminalError(
                    "mart.d_customer is not there yet, so its names cannot be hidden:"
                    " first create the empty marts (make warehouse, or dbt run --empty)"
                )
            _refuse_another_view(cursor, MASKED in present)
            _make(cursor, roles)
            _give_staging(cursor, roles)
            _give_marts(
                cursor,
                roles,
                open_marts=[
                    mart.name
                    for mart in marts
                    if mart.name in present and not PERSONAL & mart.columns.keys()
                ],
                closed_marts=[
                    mart.name
                    for mart in marts
                    if mart.name in present and PERSONAL & mart.columns.keys()
                ],
            )
        connection.commit()
    say(f"roles {', '.join(roles.values())}: give them passwords with psql's \\password")


def _names(cursor: Cursor) -> dict[str, str]:
    cursor.execute("select current_database()")
    ((database,),) = cursor.fetchall()
    names = {role: f"{database}_{role}" for role in (LOADER, TRANSFORMER, READER)}
    if max(len(name.encode()) for name in names.values()) > LONGEST_NAME:
        raise TerminalError(f"the name of database {database} is too long to name roles after it")
    return names


def _refuse_another_view(cursor: Cursor, present: bool) -> None:
    cursor.execute(
        "select obj_description(to_regclass(%s), 'pg_class')", (f"{dbt.SCHEMA}.{MASKED}",)
    )
    if present and cursor.fetchall() != [(MASKED_COMMENT,)]:
        raise TerminalError(
            f"mart.{MASKED} is there, and it is not the view that this command makes: rename it"
        )


def _make(cursor: Cursor, roles: dict[str, str]) -> None:
    for role in roles.values():
        cursor.execute("select from pg_roles where rolname = %s", (role,))
        if not cursor.fetchall():
            # No password here, because it would end up in logs: psql's \password sets one.
            _run(cursor, "create role {} login", role)
        # Membership is needed to hand marts over, to set default privileges, and to undo this.
        _run(cursor, "grant {} to current_user", role)


def _give_staging(cursor: Cursor, roles: dict[str, str]) -> None:
    """Grant rights on staging, which keeps its owner. Its order lines hold names, too."""
    loader, transformer = roles[LOADER], roles[TRANSFORMER]
    _run(cursor, "revoke all on schema staging from public")
    _run(cursor, "grant usage on schema staging to {}, {}", loader, transformer)
    _run(
        cursor,
        "grant select, insert, update, delete on all tables in schema staging to {}",
        loader,
    )
    _run(cursor, "revoke insert, update, delete on staging.alembic_version from {}", loader)
    _run(cursor, "grant usage on all sequences in schema staging to {}", loader)
    _run(cursor, "grant select on all tables in schema staging to {}", transformer)
    # For the tables that later migrations create.
    later = "alter default privileges in schema staging grant"
    _run(cursor, later + " select, insert, update, delete on tables to {}", loader)
    _run(cursor, later + " usage on sequences to {}", loader)
    _run(cursor, later + " select on tables to {}", transformer)


def _give_marts(
    cursor: Cursor, roles: dict[str, str], *, open_marts: list[str], closed_marts: list[str]
) -> None:
    transformer, reader = roles[TRANSFORMER], roles[READER]
    # A view and no grant on columns, because `select *` would fail for readers.
    cursor.execute(
        f"""
        create or replace view mart.{MASKED} as
        select
            customer_id,
            left(first_name, 1) || '***' as first_name,
            left(last_name, 1) || '***' as last_name,
            city_id
        from mart.{CUSTOMER}
        """  # noqa: S608
    )
    cursor.execute(f"comment on view mart.{MASKED} is %s", (MASKED_COMMENT,))
    # The marts belong to the account that builds them.
    _run(cursor, "alter schema mart owner to {}", transformer)
    cursor.execute(
        """
        select relname from pg_class
        where relnamespace = to_regnamespace('mart') and relkind in ('r', 'p', 'v', 'm')
            -- A table that is handed over keeps readers waiting for a moment.
            and relowner != (select oid from pg_roles where rolname = %s)
        """,
        (transformer,),
    )
    for (name,) in cursor.fetchall():
        _run(cursor, "alter table mart.{} owner to {}", name, transformer)
    _run(cursor, "grant usage on schema mart to {}", reader)
    # Other relations, for instance a view of the shop's own, may show names.
    for name in (*open_marts, MASKED):
        _run(cursor, "grant select on mart.{} to {}", name, reader)
    for name in closed_marts:
        _run(cursor, "revoke all on mart.{} from public, {}", name, reader)
    # Default privileges apply only to tables that the role named here creates.
    _run(
        cursor,
        "alter default privileges for role {} in schema mart grant select on tables to {}",
        transformer,
        reader,
    )


def _run(cursor: Cursor, statement: str, *names: str) -> None:
    cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
