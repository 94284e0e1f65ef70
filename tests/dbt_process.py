"""`dbt run` as a separate process that costs only a fork.

A server process imports dbt once and parses the project once. Every run is a fork of that server.
It can be stopped, killed and waited for like a `dbt run` from a shell.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

# Long enough on a machine that is busy with other tests.
PATIENCE = 120.0


@cache
def _parsed() -> Any:
    from support import Dbt

    return Dbt()


def _run(environment: Mapping[str, str], arguments: tuple[str, ...], output: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    # The signal handlers of a program that a shell starts.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    done = _parsed().invoke("run", *arguments)
    if not done.success:
        print(done.exception or [(r.node.name, r.message) for r in done.result or ()])
    sys.stdout.flush()
    # The server's connections and files are not this process's to close.
    os._exit(0 if done.success else 1)


class DbtProcess:
    """One `dbt run` with the part of the interface of subprocess.Popen that tests need."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        number = time.monotonic_ns()
        self._output = folder / f"output-{number}"
        self._output.touch()
        paths = ("--target-path", f"{folder}/target-{number}", "--log-path", f"{folder}/{number}")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["dbt_process_preload"])
        self._process = context.Process(
            target=_run, args=(dict(os.environ), (*paths, *arguments), str(self._output))
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, or None while the run goes on."""
        return self._process.exitcode

    def wait(self, timeout: float = PATIENCE) -> int:
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"still running after {timeout} s"
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def said(self) -> str:
        return self._output.read_text()

    def ended_well(self) -> None:
        assert self.wait() == 0, self.said()
