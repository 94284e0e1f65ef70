"""Three accounts with the rights they need, for whoever calls for them."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    statements = Path(__file__).with_suffix(".sql").read_text()
    # The driver would take a single % for a parameter.
    op.get_bind().exec_driver_sql(statements.replace("%", "%%"))
