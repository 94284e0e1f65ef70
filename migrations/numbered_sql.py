"""Applies the SQL file beside a numbered migration."""

from pathlib import Path

from alembic import op


def apply(migration: str | Path) -> None:
    """Run the file `versions/NNNN_name.sql` of the migration `versions/NNNN_name.py`."""
    statements = Path(migration).with_suffix(".sql").read_text()
    # The driver would read a single % as a parameter.
    op.get_bind().exec_driver_sql(statements.replace("%", "%%"))
