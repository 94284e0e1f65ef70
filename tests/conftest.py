"""Gives every test a separate warehouse, on a separate server of the test run.

The server starts when a test first needs it. Migrations and the empty marts are built once. Each
test gets a copy of that database, and PG* in its environment name the copy, as for any user of the
loader, dbt or psql.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from known_shop import KnownShop
from support import DATABASE, ROOT, Dbt, Deliver, Warehouse, database, deliverer, run_command

from local.postgres import EmbeddedPostgres


def pytest_configure(config: pytest.Config) -> None:
    # Settings of the person who runs the tests must not reach them.
    for name in list(os.environ):
        if name.startswith(("PG", "DBT_", "REPORT_", "MAX_REJECTED", "MART_LOCK", "SALES_")):
            del os.environ[name]
    os.environ["DBT_PROJECT_DIR"] = str(ROOT / "dbt_project")
    os.environ["DBT_PROFILES_DIR"] = str(ROOT)
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


@pytest.fixture(scope="session", autouse=True)
def dbt_target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of dbt's manifest: parallel test processes must not share one."""
    folder = tmp_path_factory.mktemp("dbt")
    os.environ["DBT_TARGET_PATH"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The PostgreSQL server of this test run; starts at first use."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def template(server: EmbeddedPostgres, dbt_target: Path) -> str:
    """The name of a database with migrations applied and empty marts."""
    server.create_database("template_warehouse")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.env("template_warehouse").items():
            patch.setenv(name, value)
        run_command("alembic", "upgrade", "head")
        run_command("dbt", "run", "--empty")
    return "template_warehouse"


@pytest.fixture
def empty_database(server: EmbeddedPostgres) -> Iterator[Warehouse]:
    """A database with nothing in it."""
    with database(server, "template0") as empty:
        yield empty


@pytest.fixture
def warehouse(server: EmbeddedPostgres, template: str) -> Iterator[Warehouse]:
    """A prepared warehouse with no order lines."""
    with database(server, template) as prepared:
        yield prepared


@pytest.fixture(scope="session")
def dbt_parsed(server: EmbeddedPostgres, dbt_target: Path) -> Dbt:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.env(DATABASE).items():
            patch.setenv(name, value)
        return Dbt()


@pytest.fixture
def dbt(dbt_parsed: Dbt, warehouse: Warehouse) -> Dbt:
    """dbt, connected to this test's warehouse."""
    return dbt_parsed


@pytest.fixture
def deliver(warehouse: Warehouse, tmp_path: Path) -> Deliver:
    """A function that lands order lines or a file in this test's warehouse."""
    return deliverer(tmp_path)


@pytest.fixture
def shop(warehouse: Warehouse, deliver: Deliver) -> KnownShop:
    """A shop that delivers into this test's warehouse and remembers its deliveries."""
    return KnownShop(warehouse, deliver)
