"""Stops a real process at a named point of its work, where it can be killed or overtaken.

In the database a gate is an advisory lock that the test holds. A trigger waits for it, or the lock
that the code itself takes. Between client and service a gate is a proxy that stops answering.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dbt_process import PATIENCE, DbtProcess
from support import ROOT, Warehouse, command


class Gate:
    """A closed gate in the database: `wait` until a process has reached it, then `open` it."""

    def __init__(self, warehouse: Warehouse, key: str) -> None:
        self._warehouse = warehouse
        self._key = key
        self._connection = warehouse.connect()
        self._connection.cursor().execute("select pg_advisory_lock(hashtext(%s))", (key,))
        self._connection.commit()

    def waiting(self) -> list[int]:
        """Return the backends that wait at the gate."""
        return [
            pid
            for (pid,) in self._warehouse.query(
                "select pid from pg_locks where locktype = 'advisory' and not granted"
                " and database = (select oid from pg_database where datname = current_database())"
                " and (classid::bigint << 32 | objid::bigint) = hashtext(%s)::bigint",
                (self._key,),
            )
        ]

    def wait(self, process: Started | DbtProcess, number: int = 1) -> None:
        """Return when `number` backends wait here."""
        give_up_at = time.monotonic() + PATIENCE
        while len(self.waiting()) < number:
            assert process.poll() is None, "the process ended before it came to the gate"
            assert time.monotonic() < give_up_at, "nobody came to the gate"
            time.sleep(0.02)

    def open(self) -> None:
        self._connection.close()


def wait_blocked(warehouse: Warehouse, number: int) -> None:
    """Return when this many backends wait for an advisory lock, of a gate or of the code."""
    give_up_at = time.monotonic() + PATIENCE
    while (
        warehouse.value(
            "select count(*) from pg_locks where locktype = 'advisory' and not granted and database"
            " = (select oid from pg_database where datname = current_database())"
        )
        < number
    ):
        assert time.monotonic() < give_up_at, "nobody was blocked"
        time.sleep(0.02)


@contextmanager
def gate_on_lock(warehouse: Warehouse, name: str) -> Iterator[Gate]:
    """Yield a gate at the point where the code takes the lock `name`."""
    gate = Gate(warehouse, name)
    try:
        yield gate
    finally:
        gate.open()


@contextmanager
def gate_on_table(warehouse: Warehouse, event: str, table: str) -> Iterator[Gate]:
    """Yield a gate before or after an event on a table, or at the commit that follows the event."""
    gate = Gate(warehouse, "gate")
    warehouse.query(
        "create or replace function stand_at_gate() returns trigger language plpgsql as $$ begin"
        " perform pg_advisory_xact_lock_shared(hashtext('gate')); return null; end $$"
    )
    if event == "commit":
        warehouse.query(
            f"create constraint trigger gate after insert or delete on {table}"
            " deferrable initially deferred for each row execute function stand_at_gate()"
        )
    else:
        warehouse.query(
            f"create trigger gate {event} on {table}"
            " for each statement execute function stand_at_gate()"
        )
    try:
        yield gate
    finally:
        gate.open()
        # The backend of a killed client holds the table until it notices, after some seconds.
        warehouse.query(f"drop trigger gate on {table}")


class Started(subprocess.Popen[bytes]):
    """A process whose output goes to a file."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self._output = folder / f"output-{time.monotonic_ns()}"
        with self._output.open("wb") as output:
            super().__init__(command(*arguments), cwd=ROOT, stdout=output, stderr=output)

    def said(self) -> str:
        return self._output.read_text()

    def ended_well(self) -> None:
        assert self.wait(PATIENCE) == 0, self.said()


def kill(process: Started | DbtProcess, how: signal.Signals = signal.SIGKILL) -> None:
    """Kill a process and wait for its end."""
    assert process.poll() is None, "it had ended by itself"
    process.send_signal(how)
    process.wait(PATIENCE)


class StoppingProxy:
    """Passes calls on to the service until the path of one holds `stop_at`; that call hangs.

    With `halfway` the proxy first sends half of the answer.
    """

    def __init__(self, service: str, stop_at: str, *, halfway: bool = False) -> None:
        self.reached = threading.Event()
        self._ended = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b""
                stops = stop_at in self.path
                if halfway or not stops:
                    # The service puts the address of the call into its answers.
                    names = ("X-Nickname", "X-Cohort", "X-Project", "X-API-KEY", "Host")
                    headers = {name: self.headers[name] for name in names if self.headers[name]}
                    request = urllib.request.Request(
                        service + self.path, headers=headers, method=self.command
                    )
                    with urllib.request.urlopen(request) as answer:
                        body = answer.read()
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body[: len(body) // 2] if stops else body)
                    self.wfile.flush()
                if stops:
                    proxy.reached.set()
                    proxy._ended.wait(PATIENCE)
                    self.close_connection = True

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> StoppingProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
