"""Background processes are found again, ended with all their children, and never mistaken."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from local.processes import Processes

# Like a scheduler with its tasks and their dbt: a leader with a child in another process group, a
# child in another session, and a child that ignores SIGTERM and hides its environment.
FAMILY = """
import os, signal, subprocess, sys, time
from pathlib import Path
children = [
    subprocess.Popen(["sleep", "60"], process_group=0),
    subprocess.Popen(["sleep", "60"], start_new_session=True),
    subprocess.Popen([sys.executable, "-c", "import signal, time\\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\nprint('deaf', flush=True)\\n"
        "time.sleep(60)"], stdout=subprocess.PIPE, env={}),
]
children[-1].stdout.readline()
Path(sys.argv[1]).write_text(" ".join(str(child.pid) for child in children))
time.sleep(60)
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path / "processes")
    yield processes
    processes.stop(*[r.name for r in processes.records()], *processes.strays(), grace=0)


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def start(processes: Processes, name: str, *command: str) -> int:
    record = processes.start(
        name,
        command,
        cwd=processes.folder.parent,
        env=dict(os.environ),
        log=processes.folder.parent / "logs" / f"{name}.log",
        owner="user",
    )
    return record.pid


def start_family(processes: Processes) -> list[int]:
    told = processes.folder.parent / "children"
    leader = start(processes, "family", sys.executable, "-c", FAMILY, str(told))
    until(lambda: told.exists() and bool(told.read_text()))
    return [leader, *map(int, told.read_text().split())]


def test_another_command_finds_and_ends_what_was_started(processes: Processes) -> None:
    pid = start(processes, "sleeper", "sleep", "60")
    other = Processes(processes.folder)
    found = other.running("sleeper")
    assert found is not None
    assert found.pid == pid
    other.stop("sleeper")
    assert not lives(pid)
    assert other.records() == []


def test_a_started_process_leads_a_session_of_its_own(processes: Processes) -> None:
    pid = start(processes, "sleeper", "sleep", "60")
    assert os.getsid(pid) == os.getpgid(pid) == pid != os.getsid(0)


def test_children_that_left_the_group_or_ignore_sigterm_end_too(processes: Processes) -> None:
    family = start_family(processes)
    assert all(map(lives, family))
    processes.stop("family", grace=0.5)
    assert not any(map(lives, family))


def test_children_of_a_killed_leader_end_too(processes: Processes) -> None:
    leader, *children = start_family(processes)
    os.kill(leader, signal.SIGKILL)
    until(lambda: not lives(leader))
    assert processes.running("family") is None
    assert all(map(lives, children))
    processes.stop("family", grace=0.5)
    assert not any(map(lives, children))


def test_starting_again_ends_what_a_killed_one_has_left(processes: Processes) -> None:
    leader, *children = start_family(processes)
    os.kill(leader, signal.SIGKILL)
    until(lambda: not lives(leader))
    again = start(processes, "family", "sleep", "60")
    assert not any(map(lives, children))
    assert lives(again)


def test_a_stranger_with_a_recycled_number_is_spared(processes: Processes) -> None:
    start(processes, "sleeper", "sleep", "60")
    record = processes.record("sleeper")
    assert record is not None
    processes.stop("sleeper")
    # Start times are in clock ticks. It takes many ticks until a process id is used again.
    time.sleep(2 / os.sysconf("SC_CLK_TCK"))
    # A session leader, like most daemons: only its start time differs.
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        try:
            recycled = replace(record, pid=stranger.pid)
            (processes.folder / "sleeper.json").write_text(json.dumps(asdict(recycled)))
            assert processes.running("sleeper") is None
            processes.stop("sleeper", grace=0)
            assert stranger.poll() is None
            assert processes.records() == []
        finally:
            stranger.kill()


def test_a_record_of_another_boot_means_nobody(processes: Processes) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        try:
            record = processes.adopt("sleeper", stranger.pid, owner="user")
            assert processes.running("sleeper") is not None
            rebooted = replace(record, boot_id="another")
            (processes.folder / "sleeper.json").write_text(json.dumps(asdict(rebooted)))
            assert processes.running("sleeper") is None
            processes.stop("sleeper", grace=0)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_what_was_never_recorded_is_found_by_its_mark(processes: Processes) -> None:
    pid = start(processes, "sleeper", "sleep", "60")
    processes.forget("sleeper")
    until(lambda: Processes(processes.folder).strays() == ["sleeper"])
    processes.stop("sleeper")
    assert not lives(pid)


def test_output_goes_to_a_private_log(processes: Processes) -> None:
    start(processes, "speaker", "sh", "-c", "echo said; echo complained >&2")
    log = processes.folder.parent / "logs" / "speaker.log"
    until(lambda: log.read_text() == "said\ncomplained\n")
    assert log.stat().st_mode & 0o777 == 0o600
    assert processes.wait("speaker") == 0
