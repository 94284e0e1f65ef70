"""Schemas, order lines, delivery ledger and quarantine."""

from pathlib import Path

from alembic import op
from alembic.util import CommandError
from sqlalchemy import text

from migrations.numbered_sql import apply

revision = "0001"
down_revision = None


def upgrade() -> None:
    connection = op.get_bind()
    # Of the table, if there is one: the last thing that a takeover gives it is its status.
    columns = connection.scalars(
        text(
            "select attname from pg_attribute"
            " where attrelid = to_regclass('staging.user_order_log') and attnum > 0"
        )
    ).all()
    if not columns:
        apply(Path(__file__).with_name("0001_order_lines"))
    elif "status" not in columns:
        raise CommandError(
            "staging.user_order_log is that of an old warehouse:"
            " `python -m migrations takeover --plan` says what bringing it up to date would change"
        )
    apply(__file__)
