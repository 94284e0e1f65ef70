"""Without the procedure that made roles: `python -m migrations roles` does."""

from migrations.numbered_sql import apply

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    apply(__file__)
