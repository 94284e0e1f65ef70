"""Applies the numbered SQL in `versions/` once each; connects by libpq's own PG* variables.

Everything pending runs in one transaction, so a killed migration leaves nothing behind; the lock
makes two migrations at once queue instead of collide.
"""

from alembic import context
from sqlalchemy import create_engine, text

engine = create_engine(
    "postgresql+psycopg2://",
    connect_args={"application_name": "migrations"},
    # Whoever waited for the lock has to see what the other did.
    isolation_level="READ COMMITTED",
)

with engine.begin() as connection:
    connection.execute(text("select pg_advisory_xact_lock(hashtext('migrations'))"))
    # IF NOT EXISTS asks for a right on the database even if the schema exists.
    if connection.scalar(text("select to_regnamespace('staging') is null")):
        connection.execute(text("create schema staging"))
    context.configure(connection=connection, version_table_schema="staging")
    with context.begin_transaction():
        context.run_migrations()
