"""Order lines, delivery ledger and quarantine."""

from pathlib import Path

from alembic import op
from sqlalchemy import text

from migrations.numbered_sql import apply

revision = "0001"
down_revision = None


def upgrade() -> None:
    # Where the warehouse was taken over, they are there.
    if op.get_bind().scalar(text("select to_regclass('staging.user_order_log') is null")):
        apply(Path(__file__).with_name("0001_order_lines"))
    apply(__file__)
