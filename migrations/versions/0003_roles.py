"""Nothing any more: brought a procedure that `python -m migrations roles` has replaced."""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    pass
