"""Applies the numbered SQL in `versions/` once each; connects by libpq's own PG* variables.

Everything pending runs in one transaction, so a killed migration leaves nothing behind; the lock
makes two migrations at once queue instead of collide. What stands in the way of a table of ours is
refused first. The marts are not looked at: migrations create none.
"""

from typing import Any

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, text

from checks.preflight import refuse, staging_problems
from checks.session import open_session
from loaders.errors import LoaderError

engine = create_engine(
    "postgresql+psycopg2://", creator=lambda: open_session("migrations", autocommit=False)
)


def _prepare(connection: Connection) -> None:
    connection.execute(text("select pg_advisory_xact_lock(hashtext('migrations'))"))
    cursor: Any = connection.connection.cursor()
    refuse(staging_problems(cursor))
    for schema in ("staging", "mart"):
        # IF NOT EXISTS asks for a right on the database even if the schema exists.
        if connection.scalar(text("select to_regnamespace(:name) is null"), {"name": schema}):
            connection.execute(text(f"create schema {schema}"))


try:
    with engine.begin() as connection:
        _prepare(connection)
        context.configure(connection=connection, version_table_schema="staging")
        with context.begin_transaction():
            context.run_migrations()
except LoaderError as error:
    raise CommandError(str(error)) from error
