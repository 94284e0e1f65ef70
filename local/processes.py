"""Background processes that outlive the command that started them.

Each process gets a session of its own and a record (`NAME.json`) with its process id and start
time. By these a later command finds the process, and does not mistake another process with the same
number for it. Records and marks name their folder, so a copy of the folder claims no process.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from local.kept import identity, open_private

_GRACE_SECONDS = 10
_KILL_SECONDS = 5

# This variable marks every process started here. By it `stop` finds children that left their
# session, such as dbt started by a task, and processes whose starter was killed before it wrote a
# record.
_MARK = "LOCAL_STACK_PART"


@dataclass(frozen=True)
class Record:
    """One started process. `started` is its start time in clock ticks after boot."""

    name: str
    pid: int
    started: int
    boot_id: str
    folder: str
    # "run": the process ends with `make run`. "user": it stays until `make down`.
    owner: str
    # Differs if the process was started with other settings.
    fingerprint: str = ""


class Processes:
    """The processes recorded in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        # Processes that this one has started: it must collect their exit status.
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: Path,
        owner: str,
        fingerprint: str = "",
    ) -> Record:
        """Start `command` in a session of its own, its output appended to `log` (mode 0600).

        Ends first the children that an earlier, killed process of this name has left.
        """
        if self.record(name):
            self.stop(name, grace=2)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", opener=open_private) as output:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**env, _MARK: self._mark(name)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[name] = process
        return self.adopt(name, process.pid, owner=owner, fingerprint=fingerprint)

    def wait(self, name: str) -> int:
        """Wait for the end of a process that this command has started; return its exit status."""
        status = self._children.pop(name).wait()
        self.forget(name)
        return status

    def adopt(self, name: str, pid: int, *, owner: str, fingerprint: str = "") -> Record:
        """Record the running process `pid`, replacing an earlier record of that name."""
        started = _started(pid) or 0
        record = Record(name, pid, started, _boot_id(), self._identity, owner, fingerprint)
        unfinished = self.folder / f"{name}.new"
        unfinished.write_text(json.dumps(asdict(record)))
        unfinished.rename(self.folder / f"{name}.json")
        return record

    def record(self, name: str) -> Record | None:
        """Return the record of `name`, whether or not its process lives."""
        try:
            record = Record(**json.loads((self.folder / f"{name}.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return record if record.folder == self._identity else None

    def records(self) -> list[Record]:
        found = (self.record(path.stem) for path in sorted(self.folder.glob("*.json")))
        return [record for record in found if record]

    def running(self, name: str) -> Record | None:
        """Return the record of `name` if its process lives."""
        record = self.record(name)
        return record if record and _is_alive(record) else None

    def forget(self, name: str) -> None:
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def stop(self, *names: str, grace: float = _GRACE_SECONDS) -> None:
        """End the named processes with all their children, and forget them.

        All get SIGTERM at once, and SIGKILL after `grace` seconds.
        """
        records = {name: self.record(name) for name in names}
        for name, record in records.items():
            if record and _is_alive(record):
                # Only the group: the leader itself ends its tasks, which have groups of their own.
                _signal_group(record.pid, signal.SIGTERM)
            else:
                _signal(self._members(name, record), signal.SIGTERM)
        if self._await_end(records, grace):
            return
        for name, record in records.items():
            _signal(self._members(name, record), signal.SIGKILL)
        if not self._await_end(records, _KILL_SECONDS):
            raise RuntimeError(f"These processes do not end: {', '.join(names)}.")

    def strays(self) -> list[str]:
        """Return the names of parts that run without a record, because their starter was killed."""
        prefix = f"{_MARK}={self._mark('')}".encode()
        names = {
            entry[len(prefix) :].decode()
            for pid in _pids()
            for entry in _environment(pid)
            if entry.startswith(prefix)
        }
        return sorted(names - {record.name for record in self.records()})

    def _await_end(self, records: Mapping[str, Record | None], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        left = dict(records)
        while True:
            for name, record in list(left.items()):
                if not self._members(name, record):
                    self.forget(name)
                    del left[name]
            if not left or time.monotonic() > deadline:
                return not left
            time.sleep(0.1)

    def _members(self, name: str, record: Record | None) -> list[int]:
        """Return the living processes of a part: those of its session, and those with its mark."""
        mark = f"{_MARK}={self._mark(name)}".encode()
        members = []
        for pid in _pids():
            stat = _stat(pid)
            if stat is None or stat.is_zombie or pid == os.getpid():
                continue
            if mark in _environment(pid) or (record and _in_session(stat, record)):
                members.append(pid)
        return members

    @property
    def _identity(self) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        return identity(self.folder)

    def _mark(self, name: str) -> str:
        return f"{self._identity}/{name}"


@dataclass(frozen=True)
class _Stat:
    pid: int
    is_zombie: bool
    session: int
    started: int
    uid: int


def _in_session(stat: _Stat, record: Record) -> bool:
    if stat.session != record.pid or record.boot_id != _boot_id():
        return False
    if stat.uid != os.geteuid() or stat.started < record.started:
        return False
    # The kernel does not reuse a dead leader's number while its session exists. So if another
    # process has that number now, the session is another, too.
    leader = _started(record.pid)
    return leader is None or leader == record.started


def _is_alive(record: Record) -> bool:
    stat = _stat(record.pid)
    return (
        stat is not None
        and not stat.is_zombie
        and stat.started == record.started
        and record.boot_id == _boot_id()
    )


def _started(pid: int) -> int | None:
    stat = _stat(pid)
    return stat.started if stat else None


def _stat(pid: int) -> _Stat | None:
    path = Path(f"/proc/{pid}/stat")
    try:
        # The second field, the program's name in brackets, may hold any characters.
        fields = path.read_text(errors="replace").rpartition(")")[2].split()
        return _Stat(pid, fields[0] == "Z", int(fields[3]), int(fields[19]), path.stat().st_uid)
    except OSError:
        return None


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []  # a process of another user


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)
