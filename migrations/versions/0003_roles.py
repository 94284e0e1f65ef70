"""Three accounts with the rights they need, for whoever calls for them."""

from migrations.numbered_sql import apply

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    apply(__file__)
