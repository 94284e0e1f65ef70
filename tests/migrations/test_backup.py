"""A dump of staging, made and restored as in docs/deploying.md, is a complete backup."""

import os
import re
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from support import DATABASE, ROOT, Dbt, database, deliverer, order, run_command

from checks.preflight import preflight
from local.postgres import EmbeddedPostgres
from migrations.roles import create_roles

SECTION = (ROOT / "docs" / "deploying.md").read_text().partition("## Backup")[2]
COMMANDS = re.findall(r"^    ((?:pg_dump|pg_restore|sed|psql) .*)", SECTION, flags=re.M)
ROLES = tuple(f"{DATABASE}_{role}" for role in ("loader", "transformer", "reader"))


def run(command: str, server: EmbeddedPostgres, folder: Path) -> None:
    path = f"{server.bin_dir}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        text=True,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), command


@pytest.mark.parametrize(
    ("source", "target", "schemas"),
    [
        ("server", "server", "-n staging"),
        ("server", "debian_15", "-n staging"),
        # As for a warehouse that was taken over.
        ("debian_15", "server", "-n staging -n mart"),
    ],
)
def test_a_dump_makes_the_same_marts_elsewhere_and_takes_the_next_delivery(
    request: pytest.FixtureRequest,
    server: EmbeddedPostgres,
    template: str,
    dbt_parsed: Dbt,
    tmp_path: Path,
    source: str,
    target: str,
    schemas: str,
) -> None:
    here, there = request.getfixturevalue(source), request.getfixturevalue(target)
    deliver = deliverer(tmp_path)
    dump, *restore = COMMANDS
    with database(here, template) as warehouse:
        deliver("2024-02-24", [order("a", "2024-02-24"), order("b", "2024-02-25")], "2024-02-25")
        deliver("2024-02-25", [order("c", "2024-02-25", status="refunded")])
        dbt_parsed.run()
        before = warehouse.marts()
        create_roles()
        run(dump.replace("-n staging", schemas), server, tmp_path)
    _drop_roles(here)
    with database(there, "template0") as warehouse:
        # The server has no account that the dump names.
        assert not warehouse.query("select from pg_roles where rolname in %s", (ROLES,))
        for command in restore:
            run(command, server, tmp_path)
        if "mart" in schemas:
            assert warehouse.marts() == before
        preflight()
        run_command("alembic", "upgrade", "head")
        dbt_parsed.run()
        assert warehouse.marts() == before
        deliver("2024-02-26", [order("d", "2024-02-26")])
        assert warehouse.value("select max(delivery_id) from staging.delivery") == 3
        if source == "debian_15":
            # What docs/runbook.md ends an upgrade of PostgreSQL with.
            dbt_parsed.run()
            run_command("python", "-m", "checks", "prove", "--days", "2")


def _drop_roles(server: EmbeddedPostgres) -> None:
    env = server.env("postgres")
    with closing(
        psycopg2.connect(
            host=env["PGHOST"],
            port=env["PGPORT"],
            user=env["PGUSER"],
            password=env["PGPASSWORD"],
            dbname=env["PGDATABASE"],
        )
    ) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"drop role {', '.join(ROLES)}")
