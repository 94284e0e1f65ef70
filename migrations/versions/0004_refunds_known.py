"""Whether refunds are known of the days that a delivery brought."""

from migrations.numbered_sql import apply

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    apply(__file__)
