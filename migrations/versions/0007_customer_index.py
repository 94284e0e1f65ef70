"""The index by which the earlier orders of a customer are found."""

from migrations.numbered_sql import apply

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    apply(__file__)
