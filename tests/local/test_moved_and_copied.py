"""A moved state folder keeps its processes; a copy has none."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import local

from local.airflow_parts import DAG_PROCESSOR
from local.settings import Settings
from local.stack import RUN, USER, Stack


def stack(state: Path) -> Stack:
    return Stack(Settings({"PATH": os.environ["PATH"]}, state=state))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The database, the stand-in, and a process in place of a part of Airflow."""
    folder = tmp_path_factory.mktemp("checkouts")
    original = stack(folder / "original" / ".local")
    try:
        original.start_warehouse(USER)
        original.start_report_api(USER)
        original.processes.start(
            DAG_PROCESSOR,
            ["sleep", "60"],
            cwd=folder,
            env={},
            log=original.airflow.log(DAG_PROCESSOR),
            owner=RUN,
            fingerprint=original.settings.fingerprint,
        )
        yield original
    finally:
        for state in folder.glob("*/.local"):
            stack(state).stop_everything()


def copy_of(original: Stack, name: str) -> Stack:
    here = original.settings.state.parent
    subprocess.run(["cp", "-a", here, here.with_name(name)], check=True)
    return stack(here.with_name(name) / ".local")


def alive(stack: Stack) -> list[str]:
    names = ["postgres", "report_api", DAG_PROCESSOR]
    return [name for name in names if stack.processes.running(name)]


def test_a_copy_leaves_what_the_original_has_started_alone(running: Stack) -> None:
    copy = copy_of(running, "copy")
    assert alive(copy) == []
    copy.clear_leftovers()
    assert local(copy.settings.state, "down").stdout.endswith("Nothing was running\n")
    assert len(alive(running)) == 3
    assert running.settings.postgres.is_running()
    # The mark of a process without a record does not lead there either.
    record = running.processes.record(DAG_PROCESSOR)
    assert record is not None
    running.processes.forget(DAG_PROCESSOR)
    assert copy.processes.strays() == []
    assert running.processes.strays() == [DAG_PROCESSOR]
    running.processes.adopt(DAG_PROCESSOR, record.pid, owner=RUN)


def test_a_copy_has_servers_and_ports_of_its_own(running: Stack) -> None:
    running.settings.port("airflow")
    copy = copy_of(running, "another copy")
    theirs, ours = running.settings, copy.settings
    # The copy has started nothing yet. Its `make env` must not lead to the original.
    assert ours.postgres.port != theirs.postgres.port
    for name in ("airflow", "report_api"):
        assert ours.port(name) != theirs.port(name)
        assert ours.port(name) == stack(ours.state).settings.port(name)
    assert ours.for_shell()["PGPASSWORD"] == theirs.for_shell()["PGPASSWORD"]
    # The cluster of a running server was copied, so it looks like one after a crash.
    assert copy.start_warehouse(USER) and copy.start_report_api(USER)
    assert ours.postgres.pid() != theirs.postgres.pid()
    assert len(alive(running)) == 3
    copy.stop_everything()
    assert len(alive(running)) == 3


def test_a_moved_folder_stops_what_was_started_before(running: Stack) -> None:
    before = running.settings.state.parent
    after = before.with_name("moved")
    shutil.move(before, after)
    moved = stack(after / ".local")
    assert len(alive(moved)) == 3
    assert moved.settings.postgres.is_running()
    done = local(moved.settings.state, "down")
    assert done.stdout.split("  ")[1] == f"Stopped: {DAG_PROCESSOR}, postgres, report_api\n"
    assert not moved.settings.postgres.is_running()
    assert alive(moved) == []
