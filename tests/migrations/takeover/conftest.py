"""Old warehouses; every test gets a copy."""

from collections.abc import Iterator

import old_pipeline
import pytest
from old_pipeline import DAYS, orders_of
from support import Dbt, Warehouse, database

from local.postgres import EmbeddedPostgres
from migrations.takeover import changes


def _build_old(server: EmbeddedPostgres) -> None:
    with database(server, "template_warehouse") as fresh:
        calendar = fresh.query(
            "select * from mart.d_calendar where year_actual between 2020 and 2030 order by 1"
        )
    with database(server, "template0", keep_as="old_warehouse") as old:
        old_pipeline.create(old, calendar)
        for day in DAYS:
            old_pipeline.load_day(old, day, orders_of(day))


@pytest.fixture(scope="session")
def old_template(server: EmbeddedPostgres, template: str) -> EmbeddedPostgres:
    """The server of this test run, with the database `old_warehouse`."""
    _build_old(server)
    return server


@pytest.fixture(scope="session")
def old_debian_15(debian_15: EmbeddedPostgres) -> EmbeddedPostgres:
    """The oldest supported PostgreSQL, with both templates."""
    _build_old(debian_15)
    return debian_15


@pytest.fixture(scope="session")
def last_scripts_template(old_template: EmbeddedPostgres) -> EmbeddedPostgres:
    """The server of this test run, with the database `last_scripts`: see `old_pipeline`."""
    with database(old_template, "old_warehouse", keep_as="last_scripts") as old:
        old_pipeline.run_last_scripts(old)
    return old_template


@pytest.fixture(params=["PostgreSQL 18", "PostgreSQL 15"])
def any_server(request: pytest.FixtureRequest) -> EmbeddedPostgres:
    name = {"PostgreSQL 18": "old_template", "PostgreSQL 15": "old_debian_15"}[request.param]
    server: EmbeddedPostgres = request.getfixturevalue(name)
    return server


@pytest.fixture
def dbt_here(dbt_parsed: Dbt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the takeover's calls of dbt in this process."""

    def run(*arguments: str) -> None:
        done = dbt_parsed.invoke(*arguments)
        assert done.success, (done.exception, [r.message for r in done.result or []])

    monkeypatch.setattr(changes, "run_dbt", run)


@pytest.fixture
def old(old_template: EmbeddedPostgres, dbt_here: None) -> Iterator[Warehouse]:
    """An old warehouse."""
    with database(old_template, "old_warehouse") as warehouse:
        yield warehouse


@pytest.fixture
def last_scripts(last_scripts_template: EmbeddedPostgres, dbt_here: None) -> Iterator[Warehouse]:
    """An old warehouse on which the old pipeline's last scripts were run."""
    with database(last_scripts_template, "last_scripts") as warehouse:
        yield warehouse
