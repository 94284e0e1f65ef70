"""What the caller's environment decides, and the output of `env` for a shell."""

import contextlib
import os
import socket
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hostile import LINE_FOR_A_SHELL, local, run

from local.ports import HOST
from local.postgres import EmbeddedPostgres, connect
from local.settings import ROOT, Settings, SettingsError
from local.stack import Stack, StackError

REAL_API = {
    "REPORT_API_URL": "https://shop.example",
    "REPORT_API_KEY": "theirs",
    "REPORT_API_NICKNAME": "me",
    "REPORT_API_COHORT": "9",
}


def test_env_is_evaluated_by_a_shell_and_connects(tmp_path: Path) -> None:
    state = tmp_path / "it's a state"
    with EmbeddedPostgres(state / "postgres", fsync=False):
        odd = "/odd/$HOME/it's"
        printed = local(state, "env", PATH=f"{os.environ['PATH']}:{odd}")
        assert printed.returncode == 0, printed.stderr
        assert all(LINE_FOR_A_SHELL.match(line) for line in printed.stdout.splitlines())
        done = subprocess.run(
            ["/bin/sh", "-c", 'eval "$1"; psql -Atc "select current_user"; command -v dbt; '
             'echo "$DBT_PROJECT_DIR"; echo "${PATH##*:}"', "sh", printed.stdout],
            env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.stdout.splitlines() == [
        "warehouse",
        str(ROOT / ".venv/bin/dbt"),
        str(ROOT / "dbt_project"),
        odd,
    ], done.stderr


def test_what_env_printed_is_not_taken_for_a_server_of_the_callers(tmp_path: Path) -> None:
    settings = Settings({}, state=tmp_path)
    again = Settings({"PATH": "/bin", **settings.for_shell()}, state=tmp_path)
    assert again.warehouse_is_embedded
    assert again.report_api_is_stand_in
    # Even if the port has changed since.
    again = Settings({**settings.for_shell(), "PGPORT": "1"}, state=tmp_path)
    assert again.warehouse["PGPORT"] == settings.warehouse["PGPORT"]
    # Not even if all of it was removed and made again.
    anew = Settings(settings.for_shell(), state=tmp_path / "another")
    assert anew.warehouse_is_embedded and anew.report_api_is_stand_in
    assert anew.warehouse["PGPASSWORD"] != settings.warehouse["PGPASSWORD"]


def test_a_server_of_the_callers_is_passed_through_unchanged(tmp_path: Path) -> None:
    theirs = {
        "PGHOST": "db.example",
        "PGPORT": "6432",
        "PGUSER": "me",
        "PGPASSWORD": "theirs",
        "PGDATABASE": "shop",
        "PGSSLMODE": "verify-full",
    }
    settings = Settings({**theirs, "PGSSLROOTCERT": "/their/ca"}, state=tmp_path)
    assert settings.warehouse == theirs
    assert settings.for_programs()["PGSSLROOTCERT"] == "/their/ca"
    # Airflow's own tables stay on the embedded server.
    airflow = Stack(settings).airflow.environment(schedule=False)
    metadata = urlsplit(airflow["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    assert (metadata.hostname, metadata.path) == (HOST, "/airflow")
    assert airflow["PGHOST"] == "db.example"


def test_half_a_server_is_refused_in_a_sentence(tmp_path: Path) -> None:
    done = local(tmp_path, "env", PGHOST="db.example", PGUSER="me")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: PGHOST is set, so PGDATABASE must be set too.\n"


def test_settings_for_some_other_server_do_not_reach_the_embedded_one(tmp_path: Path) -> None:
    elsewhere = {
        "PGSSLMODE": "require", "PGTARGETSESSIONATTRS": "primary", "PGPASSFILE": "/theirs",
        "DBT_USER": "transformer", "DBT_ENV_SECRET_PGPASSWORD": "secret",
    }  # fmt: skip
    env = Settings({**elsewhere, "PGSERVICE": "work"}, state=tmp_path).for_programs()
    assert {name for name in env if name.startswith("PG")} == {
        "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE",
    }  # fmt: skip
    assert not {"DBT_USER", "DBT_ENV_SECRET_PGPASSWORD"} & set(env)
    own = {"PGHOST": "db", "PGUSER": "me", "PGDATABASE": "shop"}
    there = Settings({**elsewhere, **own, "PGSERVICE": "work"}, state=tmp_path).for_programs()
    assert {**elsewhere, **own}.items() <= there.items()
    # The loader would use the service, and dbt the host.
    assert "PGSERVICE" not in there


def test_a_real_report_service_is_used_with_the_real_day(tmp_path: Path) -> None:
    settings = Settings({**REAL_API, "TODAY": "2024-03-03"}, state=tmp_path)
    assert not settings.report_api_is_stand_in
    assert {k: settings.for_programs()[k] for k in REAL_API} == REAL_API
    assert abs((settings.today - datetime.now(UTC).date()).days) <= 1


def test_the_stand_in_has_a_fixed_day_and_the_week_before(tmp_path: Path) -> None:
    days = Settings({}, state=tmp_path).increment_days
    assert (days[0], days[-1], len(days)) == (date(2024, 2, 25), date(2024, 3, 2), 7)
    assert Settings({"TODAY": "2024-01-02"}, state=tmp_path).increment_days[0] == date(2023, 12, 26)
    for other in ("soon", "20240102", "2024-W01-2"):
        with pytest.raises(SettingsError, match=f"TODAY={other} is not a date like 2024-03-03"):
            Settings({"TODAY": other}, state=tmp_path).increment_days  # noqa: B018


def test_of_recorded_deliveries_only_the_recorded_days_are_loaded(tmp_path: Path) -> None:
    for day in ("2024-02-25", "2024-03-01", "2022-12-05"):
        (tmp_path / f"increment_{day}__user_order_log_inc.csv").touch()
    settings = Settings({"RECORDED": str(tmp_path)}, state=tmp_path)
    assert settings.increment_days == [date(2024, 2, 25), date(2024, 3, 1)]


def test_the_callers_other_projects_stay_outside(tmp_path: Path) -> None:
    theirs = {
        "PYTHONPATH": "/theirs",
        "VIRTUAL_ENV": "/theirs",
        "AIRFLOW_HOME": "/theirs",
        "DBT_PROJECT_DIR": "/theirs",
    }
    env = Stack(Settings(theirs, state=tmp_path)).airflow.environment(schedule=False)
    assert "/theirs" not in env.values()
    assert env["AIRFLOW_HOME"] == str(tmp_path / "airflow")


def test_secrets_are_kept_in_a_private_file(tmp_path: Path) -> None:
    settings = Settings({}, state=tmp_path)
    secret = settings.kept("something")
    assert Settings({}, state=tmp_path).kept("something") == secret
    assert (tmp_path / "settings.json").stat().st_mode & 0o777 == 0o600


def test_nobody_else_may_write_what_is_kept(tmp_path: Path) -> None:
    state = tmp_path / "state"
    script = 'umask 000; exec "$0" -m local down --state "$1"'
    done = run("/bin/sh", "-c", script, sys.executable, state)
    assert done.returncode == 0, done.stderr
    assert state.is_dir()
    assert [path for path in (state, *state.rglob("*")) if path.stat().st_mode & 0o022] == []


def test_two_commands_at_once_are_refused_in_a_sentence(tmp_path: Path) -> None:
    stack = Stack(Settings({}, state=tmp_path))
    with stack.lock("run"):
        second = Stack(Settings({}, state=tmp_path)).lock("up")
        with pytest.raises(StackError, match=r"`make run \(process \d+\)` is at work"), second:
            pass
        done = local(tmp_path, "down")
    assert done.returncode == 1
    assert "is at work here" in done.stderr
    with Stack(Settings({}, state=tmp_path)).lock("up"):
        pass


def test_down_stops_what_runs_and_says_what(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres", fsync=False)
    postgres.start()
    stack = Stack(Settings(dict(os.environ), state=tmp_path))
    stack.start_report_api("user")
    port = stack.settings.port("report_api")
    with contextlib.closing(socket.create_connection((HOST, port))):
        pass
    done = local(tmp_path, "down")
    assert done.stdout.split("  ")[1] == "Stopped: report_api, postgres\n"
    assert not postgres.is_running()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port))
    assert local(tmp_path, "down").stdout.endswith("Nothing was running\n")


def test_what_was_interrupted_before_its_record_is_mended_or_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    stack = Stack(Settings({}, state=tmp_path))
    postgres = stack.settings.postgres
    try:
        for owner in ("run", "user"):
            with monkeypatch.context() as patch:
                patch.setattr(EmbeddedPostgres, "_ensure_role", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    stack.start_warehouse(owner)
            assert postgres.is_running()
            if owner == "run":
                # Like the `finally` of the job.
                stack.stop_started()
                assert not postgres.is_running()
        postgres.start()
        with contextlib.closing(connect(postgres.env())):
            pass
        # Nobody knows who started it, so the next job stops it first.
        Stack(stack.settings).clear_leftovers()
        assert not postgres.is_running()
    finally:
        stack.stop_everything()


def test_a_tls_mode_for_some_other_server_is_unset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    with EmbeddedPostgres(tmp_path / "postgres", fsync=False) as postgres:
        with contextlib.closing(connect(postgres.env())):
            pass
        printed = local(tmp_path, "env", PGSSLMODE="verify-full")
        assert "unset PGSSLMODE" in printed.stdout.splitlines()


def test_a_stand_in_for_another_day_replaces_the_running_one(tmp_path: Path) -> None:
    first = Stack(Settings({}, state=tmp_path))
    later = Stack(Settings({"TODAY": "2024-03-10"}, state=tmp_path))
    try:
        assert first.start_report_api("user")
        assert not first.start_report_api("user")
        assert later.start_report_api("run")
        record = later.processes.running("report_api")
        assert record is not None
        assert "--today 2024-03-10" in record.fingerprint
        # It keeps its owner: the job that restarted it does not end it.
        assert record.owner == "user"
        later.stop_started()
        assert later.processes.running("report_api")
    finally:
        first.stop_everything()
