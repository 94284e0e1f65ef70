"""`make doctor` on one machine: it looks at what runs, and starts nothing."""

import json
import subprocess
from pathlib import Path

from hostile import ROOT, local, make, on_state

from local.postgres import EmbeddedPostgres
from local.settings import Settings
from local.stack import Stack


def found(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_nothing_runs_and_nothing_is_started(tmp_path: Path) -> None:
    done = local(tmp_path, "doctor")
    assert done.returncode == 2, done.stderr
    (server,) = [line for line in done.stdout.splitlines() if " server " in line]
    assert server.startswith("broken ") and server.endswith("  ->  make warehouse")
    assert "not looked at  airflow" in done.stdout
    stack = Stack(Settings({}, state=tmp_path))
    assert stack.processes.records() == [] and not stack.settings.postgres.is_running()


def test_days_are_judged_by_the_stand_ins_today(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres", fsync=False) as postgres:
        connection = postgres.connect("warehouse")
        connection.cursor().execute(
            "create schema staging;"
            "create table staging.delivery_day (day date, delivery_id bigint);"
            "insert into staging.delivery_day values ('2024-03-02', 1)"
        )
        connection.commit()
        connection.close()
        for words, state in (([], "well"), (["TODAY=2024-03-04"], "look at it")):
            done = make("doctor", "ARGS=--json", *words, on_state(tmp_path))
            assert found(done)["due"]["state"] == state, done.stdout
        assert done.returncode == 2 and str(ROOT) not in found(done)["server"]["text"]
