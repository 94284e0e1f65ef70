"""Starts and stops the parts together: warehouse, report API stand-in, Airflow."""

import contextlib
import fcntl
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence

from local.accounts import name_of
from local.airflow_parts import DAG_PROCESSOR, PARTS, AirflowParts
from local.airflow_parts import DATABASE as AIRFLOW_DATABASE
from local.ports import HOST, is_free
from local.processes import Processes
from local.settings import BIN, ROOT, Settings
from local.text import say, tail

_POSTGRES = "postgres"
_REPORT_API = "report_api"
_REPORT_API_SECONDS = 20

# The owner of a part. Parts that `run` starts for itself end with it.
RUN = "run"
USER = "user"


class StackError(RuntimeError):
    """A part cannot be started or used; the text is one sentence for a person."""


class Stack:
    """All parts of one state folder. Commands that change them must hold `lock`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.processes = Processes(settings.state / "processes")
        self.airflow = AirflowParts(settings, self.processes)
        # The parts that this command has started and has to stop.
        self.started: list[str] = []

    @contextlib.contextmanager
    def lock(self, command: str) -> Iterator[None]:
        """Keep other commands from starting and stopping parts meanwhile, or raise StackError."""
        self.settings.state.mkdir(parents=True, exist_ok=True)
        path = self.settings.state / "lock"
        try:
            file = path.open("a+")
        except PermissionError:
            raise StackError(
                f"{self.settings.state} belongs to another user ({name_of(path.stat().st_uid)}):"
                " run as that user, or let that user run `make clean`."
            ) from None
        with file:
            try:
                # The lock ends with the process, even if that is killed.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise StackError(
                    f"`{file.read() or 'another command'}` is at work here:"
                    " wait for its end, or stop it."
                ) from None
            file.truncate(0)
            file.write(f"make {command} (process {os.getpid()})")
            file.flush()
            yield

    # ------------------------------------------------------------- starting

    def clear_leftovers(self) -> None:
        """Stop the parts that a killed `run` has left or a killed command could not record."""
        left = [record.name for record in self.processes.records() if record.owner == RUN]
        left += self.processes.strays()
        if self._unrecorded_postgres():
            left.append(_POSTGRES)
        if left:
            say(f"Stopping what an interrupted command has left: {', '.join(left)}")
            self._stop(left)

    def start_warehouse(self, owner: str) -> bool:
        """Start the embedded warehouse, if that is used; return whether it was started."""
        return self.settings.warehouse_is_embedded and self._start_postgres(owner)

    def _start_postgres(self, owner: str) -> bool:
        postgres = self.settings.postgres
        fresh = not postgres.is_running()
        if fresh:
            self._note(_POSTGRES, owner)
        postgres.start()
        pid = postgres.pid()
        if pid is None:
            raise StackError(f"PostgreSQL ended as soon as it had started: see {postgres.log}")
        if fresh or owner == USER:
            self.processes.adopt(_POSTGRES, pid, owner=owner)
        return fresh

    def prepare(self) -> None:
        """Create or upgrade the tables of loader and marts; needs a running warehouse."""
        self.program("python", "-m", "checks", "preflight", quiet=True)
        self.program("alembic", "upgrade", "head", quiet=True)
        self.program("dbt", "--quiet", "run", "--empty", quiet=True)

    def start_report_api(self, owner: str) -> bool:
        """Start the stand-in, if that is used; return whether it was started."""
        settings = self.settings
        if not settings.report_api_is_stand_in:
            return False
        options = ["--today", settings.today.isoformat(), "--running-seconds", "1"]
        if settings.recorded:
            options += ["--recorded", str(settings.recorded)]
        told = " ".join(options)
        record = self.processes.running(_REPORT_API)
        if record and record.fingerprint == told:
            if owner == USER:
                self.processes.adopt(_REPORT_API, record.pid, owner=owner, fingerprint=told)
            return False
        if record:
            say("Restarting the report API stand-in with other settings")
            self.processes.stop(_REPORT_API)
            owner = record.owner
        if not is_free(settings.port(_REPORT_API)):
            settings.choose_port(_REPORT_API)
        port = settings.port(_REPORT_API)
        log = settings.state / "logs" / f"{_REPORT_API}.log"
        self.processes.start(
            _REPORT_API,
            [BIN / "python", "-m", "shop_api", "--port", str(port), *options],
            cwd=ROOT,
            env=settings.for_programs(),
            log=log,
            owner=owner,
            fingerprint=told,
        )
        if not record:
            self._note(_REPORT_API, owner)
        deadline = time.monotonic() + _REPORT_API_SECONDS
        while not _answers(port):
            if not self.processes.running(_REPORT_API) or time.monotonic() > deadline:
                raise StackError(
                    f"The report API stand-in did not start; the end of {log}:\n{tail(log)}"
                )
            time.sleep(0.05)
        return True

    def start_airflow(self, owner: str) -> bool:
        """Start the missing parts of Airflow, and prepare the tables meanwhile.

        Returns whether the DAG processor was started. Does not wait until Airflow answers.
        """
        for part in PARTS:
            record = self.processes.running(part)
            if record and record.fingerprint != self.settings.fingerprint:
                raise StackError(
                    "Airflow is running with other settings (warehouse, report API, ports or path):"
                    " run `make down` first."
                )
        if self.airflow.metadata_is_embedded:
            self._start_postgres(owner)
            self.settings.postgres.create_database(AIRFLOW_DATABASE)
        # The schedule is active only with a real service, and only if Airflow is to keep running.
        schedule = owner == USER and not self.settings.report_api_is_stand_in
        # Migrating Airflow's tables keeps one core busy. Preparing the warehouse runs beside it.
        migrating = self.airflow.begin_migration(owner=owner, schedule=schedule)
        first = [part for part in PARTS if part != DAG_PROCESSOR]
        if not migrating:
            self._start_parts(first, owner, schedule)
        self.prepare()
        if migrating:
            self.airflow.end_migration()
            self._start_parts(first, owner, schedule)
        # Last, because the DAGs are made from the manifest that dbt has just written.
        return self._start_parts([DAG_PROCESSOR], owner, schedule)

    def _start_parts(self, parts: Sequence[str], owner: str, schedule: bool) -> bool:
        started = self.airflow.start(parts, owner=owner, schedule=schedule)
        for part in started:
            self._note(part, owner)
        return bool(started)

    def _note(self, name: str, owner: str) -> None:
        if owner == RUN:
            self.started.append(name)

    # -------------------------------------------------------------- stopping

    def stop_started(self) -> None:
        """Stop the parts that this command has started for itself, and no others."""
        self._stop(self.started)
        self.started = []

    def stop_everything(self) -> list[str]:
        """Stop every part that any command has started here; return their names."""
        names = [record.name for record in self.processes.records()] + self.processes.strays()
        if self._unrecorded_postgres():
            names.append(_POSTGRES)
        self._stop(names)
        return names

    def _unrecorded_postgres(self) -> bool:
        names = [record.name for record in self.processes.records()]
        return _POSTGRES not in names and self.settings.postgres.is_running()

    def _stop(self, names: Sequence[str]) -> None:
        # The database last, because the other parts write to it when they end.
        others = [name for name in names if name != _POSTGRES]
        if others:
            self.processes.stop(*others)
        if _POSTGRES in names:
            self.settings.postgres.stop()
            self.processes.forget(_POSTGRES)

    # -------------------------------------------------------------- programs

    def program(
        self,
        name: str,
        *arguments: str,
        quiet: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Run a program of the environment from the root; return its exit status.

        Its environment is `env`, if that is given. With `quiet` its output is shown only when it
        fails, which raises StackError.
        """
        done = subprocess.run(
            [BIN / name, *arguments],
            cwd=ROOT,
            env=self.settings.for_programs() if env is None else env,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
            check=False,
        )
        if quiet and done.returncode != 0:
            raise StackError(
                f"`{name} {' '.join(arguments)}` failed with status {done.returncode}:\n"
                + "\n".join("  " + line for line in done.stdout.strip().splitlines()[-30:])
            )
        return done.returncode


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False
