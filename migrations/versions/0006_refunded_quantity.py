"""Room in mart.f_customer_retention for the sum of any number of refunded pieces."""

from migrations.numbered_sql import apply

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    apply(__file__)
