"""Applies the numbered SQL in `versions/` once each; connects by libpq's own PG* variables.

All pending migrations run in one transaction, so a killed one leaves nothing behind. A lock makes
two migrations at once queue instead of collide. Names of ours in `staging` that are taken are
refused first. The marts are not checked, because migrations create none.
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
        # IF NOT EXISTS needs a right on the database even if the schema exists.
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
