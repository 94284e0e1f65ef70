"""Servers besides the one of the test run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import database, run_command

from local.postgres import EmbeddedPostgres

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="session")
def debian_15(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The oldest supported PostgreSQL, with the template of a prepared warehouse."""
    if not DEBIAN_15.exists():
        pytest.skip("Debian's postgresql-15 is not installed")
    folder = tmp_path_factory.mktemp("postgres15")
    with EmbeddedPostgres(folder, bin_dir=DEBIAN_15, fsync=False) as server:
        with database(server, "template0", keep_as="template_warehouse"):
            run_command("alembic", "upgrade", "head")
            run_command("dbt", "run", "--empty")
        yield server
