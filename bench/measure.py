"""Measures work: seconds, CPU of its processes and of PostgreSQL, memory; and work in rounds.

    python -m bench.measure FOLDER make run     # a command there, and all that it leaves running

Times on a shared machine mean little alone. So the sides of a comparison take turns, A B A B, and a
ratio compares two samples of one round.
"""

import contextlib
import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from local.postgres import EmbeddedPostgres, connect

ROOT = Path(__file__).resolve().parents[1]
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Sample:
    """What one piece of work took.

    `seconds`: by the clock. `cpu`: user and system seconds of the process and its children.
    `server_cpu`: the same of all processes of PostgreSQL meanwhile. `peak_mb`: the most memory that
    the process held plus that of its largest child, in units of 1,000,000 bytes; None if it was not
    measured.
    """

    seconds: float
    cpu: float
    server_cpu: float = 0.0
    peak_mb: float | None = None


@dataclass(frozen=True)
class Side:
    """One side of a comparison: `take` does the work once, in the first `rounds` rounds or all."""

    take: Callable[[int], Sample]
    rounds: int | None = None


def take_turns(sides: Mapping[str, Side], rounds: int) -> dict[str, list[Sample]]:
    """Do the work of every side in every round; return the samples in the order of the rounds."""
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            if side.rounds is None or number < side.rounds:
                sample = side.take(number)
                samples[name].append(sample)
                say(
                    f"  round {number + 1}  {name:<28}{sample.seconds:9.2f} s"
                    f"  CPU {sample.cpu:8.2f} s + PostgreSQL {sample.server_cpu:8.2f} s"
                    + (f"  {sample.peak_mb:6.0f} MB" if sample.peak_mb else "")
                )
    return samples


def say(text: str) -> None:
    print(text, flush=True)


@contextlib.contextmanager
def fresh_server(folder: Path) -> Iterator["Server"]:
    """Start a separate PostgreSQL like that of `make`: default settings, fsync on."""
    folder.chmod(0o755)  # root's server runs as another account
    with EmbeddedPostgres(folder / "postgres") as postgres:
        yield Server(postgres)


class Server:
    """A running PostgreSQL that nothing else uses, so that all its CPU is for the work."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres

    def env(self, database: str) -> dict[str, str]:
        """Return the whole environment of a program that works in `database`."""
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            **self.postgres.env(database),
            "DBT_PROJECT_DIR": str(ROOT / "dbt_project"),
            "DBT_PROFILES_DIR": str(ROOT),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
            "PYTHONPATH": str(ROOT),
        }

    def psql(self, *arguments: str | Path) -> list[str | Path]:
        """Return a command line of psql that stops at the first error."""
        return [self.postgres.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *arguments]

    def query(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, each committed by itself; return the rows of the last."""
        with contextlib.closing(connect(self.postgres.env(database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    def settle(self) -> None:
        """Make PostgreSQL write what earlier work has left, so that later work does not pay."""
        with contextlib.closing(self.postgres._connect_as_superuser()) as connection:
            connection.autocommit = True
            connection.cursor().execute("checkpoint")

    def cpu(self) -> float:
        pid = self.postgres.pid()
        assert pid is not None
        return tree_cpu(pid)

    def program(self, command: Sequence[str | Path], database: str, **env: str) -> Sample:
        """Run a program from the root of the project; return what it took, including its start."""
        self.settle()
        before = self.cpu()
        sample, _ = of_program(command, env={**self.env(database), **env})
        return replace(sample, server_cpu=self.cpu() - before)

    def worker(self, command: Sequence[str | Path], database: str, **env: str) -> Sample:
        """Run a program that uses `own_work`; return what its work took, without its start."""
        self.settle()
        before = self.cpu()
        _, output = of_program(command, env={**self.env(database), **env})
        sample = Sample(**json.loads(output.splitlines()[-1]))
        return replace(sample, server_cpu=self.cpu() - before)


def of_program(command: Sequence[str | Path], *, env: Mapping[str, str]) -> tuple[Sample, str]:
    """Run a program from the root of the project; return what it took, and what it printed.

    Raises:
        subprocess.CalledProcessError: if it fails, after its output was printed.
    """
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        say(text)
        raise subprocess.CalledProcessError(process.returncode, [str(word) for word in command])
    return Sample(seconds, used.ru_utime + used.ru_stime), text


@contextlib.contextmanager
def own_work() -> Iterator[None]:
    """Print, as a line of JSON, what this process and its children spend on the body."""
    started, cpu = time.perf_counter(), _own_cpu()
    yield
    seconds, cpu = time.perf_counter() - started, _own_cpu() - cpu
    status = Path("/proc/self/status").read_text()
    kilobytes = int(status.partition("VmHWM:")[2].split()[0])
    kilobytes += resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of the largest child
    peak = kilobytes * 1024 / 1e6
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak}))


def _own_cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def tree_cpu(pid: int) -> float:
    """Return CPU seconds of a process and its descendants, including those that have ended."""
    ticks = _tree_ticks(pid)
    # A process that ends between two readings is in neither: its parent does not count it yet.
    while (again := _tree_ticks(pid)).keys() != ticks.keys():
        ticks = again
    return sum(again.values()) / _TICKS_A_SECOND


def _tree_ticks(pid: int) -> dict[int, int]:
    """Return for each living process of the tree its ticks and those of its ended children."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The second field, the program's name in brackets, may hold any characters.
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            process = int(path.parent.name)
            parents[process], ticks[process] = int(fields[1]), sum(map(int, fields[11:15]))
    tree = {pid}
    while more := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return {member: ticks[member] for member in tree if member in ticks}


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield a temporary folder for one measurement; remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(folder: str, *command: str) -> int:
    """Run a command and wait for processes that it has left running, to count their CPU too."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    status = subprocess.run(command, cwd=folder, check=False).returncode
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
