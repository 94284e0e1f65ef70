"""Schemas, order lines, delivery ledger and quarantine."""

from pathlib import Path

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

revision = "0001"
down_revision = None

FOLDER = Path(__file__).parent


def upgrade() -> None:
    connection = op.get_bind()
    # Of the table, if there is one: the last that an upgrade gives it is its status.
    columns = connection.scalars(
        text(
            "select attname from pg_attribute"
            " where attrelid = to_regclass('staging.user_order_log') and attnum > 0"
        )
    ).all()
    if not columns:
        connection.exec_driver_sql((FOLDER / "0001_order_lines.sql").read_text())
    elif "status" not in columns:
        raise CommandError(
            "staging.user_order_log is that of an old warehouse:"
            " `python -m loaders upgrade --plan` says what bringing it up to date would change"
        )
    connection.exec_driver_sql((FOLDER / "0001_staging.sql").read_text())
