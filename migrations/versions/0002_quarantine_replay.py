"""What replaying rejected lines needs: the header they stood under, and what became of them."""

from migrations.numbered_sql import apply

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    apply(__file__)
