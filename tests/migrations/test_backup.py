"""A dump of staging is a backup of the warehouse, as docs/deploying.md says."""

import subprocess
from pathlib import Path

from support import Dbt, database, deliverer, order, run_command

from local.postgres import EmbeddedPostgres


def test_staging_restored_makes_the_same_marts_and_takes_the_next_delivery(
    server: EmbeddedPostgres, template: str, dbt_parsed: Dbt, tmp_path: Path
) -> None:
    deliver = deliverer(tmp_path)

    def postgres_program(name: str, *arguments: str) -> None:
        subprocess.run([server.bin_dir / name, *arguments], check=True)

    dump = str(tmp_path / "staging.dump")
    with database(server, template) as warehouse:
        deliver("2024-02-24", [order("a", "2024-02-24"), order("b", "2024-02-25")], "2024-02-25")
        deliver("2024-02-25", [order("c", "2024-02-25", status="refunded")])
        dbt_parsed.run()
        before = warehouse.marts()
        postgres_program("pg_dump", "-Fc", "-n", "staging", "-f", dump)
    with database(server, "template0") as warehouse:
        postgres_program("pg_restore", "-d", warehouse.env["PGDATABASE"], dump)
        run_command("alembic", "upgrade", "head")
        dbt_parsed.run()
        assert warehouse.marts() == before
        deliver("2024-02-26", [order("d", "2024-02-26")])
        assert warehouse.value("select max(delivery_id) from staging.delivery") == 3
