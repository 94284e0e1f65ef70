"""Applies the numbered SQL in `versions/` once each; connects by libpq's own PG* variables.

Everything pending runs in one transaction, so a killed migration leaves nothing behind; the lock
makes two migrations at once queue instead of collide.
"""

from alembic import context
from sqlalchemy import create_engine, text

engine = create_engine("postgresql+psycopg2://", connect_args={"application_name": "migrations"})

with engine.begin() as connection:
    connection.execute(text("select pg_advisory_xact_lock(hashtext('migrations'))"))
    connection.execute(text("create schema if not exists staging"))
    context.configure(connection=connection, version_table_schema="staging")
    with context.begin_transaction():
        context.run_migrations()
