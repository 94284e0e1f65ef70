"""Airflow on several machines, as far as one machine can show it.

Each has a folder of its own with home, temporary files and a checkout, and sees no folder of the
others where mounts may be hidden (as root). They share what machines share: the metadata database,
the broker, the address of the API server. The installed packages are shared too, read only, as by
containers of one image.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from airflow_runs import wait_until
from groups import installed
from support import ROOT

from local.airflow_api import AirflowApi
from local.airflow_parts import DATABASE as METADATA
from local.airflow_parts import USER as AIRFLOW_USER
from local.pipeline import HISTORY, INCREMENT
from local.ports import HOST, free_port
from local.processes import Processes
from local.stack import USER, Stack

REDIS = Path("/usr/bin/redis-server")
WORKERS = ("worker-one", "worker-two")
_CENTRAL = "central"
_PARTS = ("api-server", "scheduler", "dag-processor")
# Read by loader and dbt only: what plans the runs does without the warehouse and its secrets.
_OF_WORKERS = ("PG", "REPORT_", "DBT_")
_HIDE = 'while [ "$1" != -- ]; do mount -t tmpfs none "$1"; shift; done; shift; exec "$@"'
_SETTINGS = {
    "AIRFLOW__CELERY__EXTRA_CELERY_CONFIG": json.dumps({"imports": ["local.warm_worker"]}),
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__CORE__HOSTNAME_CALLABLE": "worker_name.worker_name",
    # A worker that is gone is missed after 15 s instead of five minutes.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    # What it had taken from the queue and not begun is sent again.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "7200",
}


@dataclass(frozen=True)
class Machine:
    name: str
    folder: Path

    @property
    def checkout(self) -> Path:
        # Of another path on every machine.
        return self.folder / f"checkout of {self.name}"

    @property
    def home(self) -> Path:
        return self.folder / "home"


class Cluster:
    """A scheduler's machine and two workers. `stack` has the databases and their settings."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.programs = installed("workers", "loaders", "dbt", "airflow", "report", "workers")
        self.machines = {name: Machine(name, folder / name) for name in (_CENTRAL, *WORKERS)}
        self.processes: Processes = stack.processes
        self.broker_password = secrets.token_urlsafe()
        self._broker_port = free_port()
        self._can_hide = (
            subprocess.run(
                ["unshare", "--mount", "true"], capture_output=True, check=False
            ).returncode
            == 0
        )

    def start(self) -> AirflowApi:
        """Start all of it, and return Airflow's API when both workers wait for tasks."""
        stack = self.stack
        stack.settings.postgres.create_database(METADATA)
        self._lay_out()
        self._start_broker()
        self._start("migration", self.machines[_CENTRAL], "db", "migrate")
        stack.prepare()
        first, *others = self.machines.values()
        self._parse(first)
        for machine in others:
            shutil.copytree(first.checkout, machine.checkout, symlinks=True)
        assert self.processes.wait("migration") == 0, self.log("migration").read_text()
        for part in _PARTS:
            self._start(part, self.machines[_CENTRAL], part)
        for name in WORKERS:
            self.start_worker(name)
        api = AirflowApi(stack.airflow.url, AIRFLOW_USER, stack.airflow.password)
        wait_until(lambda: self._is_healthy(api))
        api.log_in()
        wait_until(lambda: api.dag(HISTORY) and api.dag(INCREMENT))
        wait_until(lambda: all("ready." in self.log(name).read_text() for name in WORKERS))
        return api

    def start_worker(self, name: str) -> None:
        machine = self.machines[name]
        # No server of logs: both would have the same port.
        words = ("celery", "worker", "--skip-serve-logs", "--celery-hostname", name)
        self._start(name, machine, *words)

    def kill(self, name: str) -> None:
        """End every process of a worker at once, as a machine does that loses its power."""
        record = self.processes.record(name)
        while members := self.processes._members(name, record):
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.processes.forget(name)

    def log(self, name: str) -> Path:
        return self.stack.settings.state / "logs" / f"{name}.log"

    # ------------------------------------------------------------- machines

    def _lay_out(self) -> None:
        for machine in self.machines.values():
            (machine.folder / "tmp").mkdir(parents=True)
            machine.home.mkdir()
        told = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        central = self.machines[_CENTRAL]
        for name in filter(None, told.split("\0")):
            if (ROOT / name).exists():
                (central.checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, central.checkout / name)
        passwords = json.dumps({AIRFLOW_USER: self.stack.airflow.password})
        (central.home / "passwords.json").write_text(passwords)

    def _parse(self, machine: Machine) -> None:
        """Have dbt write the manifest, as the building of an image does: without a warehouse."""
        env = {
            **self._environment(machine),
            "PGHOST": "none",
            "PGUSER": "none",
            "PGDATABASE": "none",
        }
        done = subprocess.run(
            [self.programs / "dbt", "parse"], cwd=machine.checkout, env=env,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def _environment(self, machine: Machine) -> dict[str, str]:
        env = self.stack.airflow.environment(schedule=False)
        if machine.name == _CENTRAL:
            env = {name: v for name, v in env.items() if not name.startswith(_OF_WORKERS)}
        address = self.stack.settings.postgres.address(METADATA)
        return {
            **env,
            **_SETTINGS,
            "AIRFLOW_HOME": str(machine.home),
            "AIRFLOW__CELERY__BROKER_URL": (
                f"redis://:{self.broker_password}@{HOST}:{self._broker_port}/0"
            ),
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{address}",
            "AIRFLOW__CORE__DAGS_FOLDER": str(machine.checkout / "airflow" / "dags"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(
                machine.home / "passwords.json"
            ),
            "AIRFLOW__COSMOS__CACHE_DIR": str(machine.home / "cosmos"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(machine.home / "logs"),
            "DBT_PROFILES_DIR": str(machine.checkout),
            "DBT_PROJECT_DIR": str(machine.checkout / "dbt_project"),
            "HOME": str(machine.home),
            "PATH": f"{self.programs}:{os.defpath}",
            "PYTHONPATH": f"{machine.checkout}:{machine.checkout / 'tests' / 'airflow'}",
            "REPORT_PAGE": str(machine.home / "report.html"),
            "TMPDIR": str(machine.folder / "tmp"),
            "WORKER_NAME": machine.name,
        }

    def _start(self, name: str, machine: Machine, *words: str) -> None:
        command: list[str | Path] = [self.programs / "airflow", *words]
        if self._can_hide:
            hidden = [str(m.folder) for m in self.machines.values() if m is not machine]
            hide = (
                'while [ "$1" != -- ]; do mount -t tmpfs none "$1"; shift; done; shift; exec "$@"'
            )
            command = ["unshare", "--mount", "sh", "-ec", hide, "sh", *hidden, "--", *command]
        self.processes.start(
            name,
            command,
            cwd=machine.folder,
            env=self._environment(machine),
            log=self.log(name),
            owner=USER,
        )

    # -------------------------------------------------------------- servers

    def _start_broker(self) -> None:
        # In a file, not on the command line, which every account of the machine can read.
        settings = self.stack.settings.state / "redis.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            f"bind {HOST}\nport {self._broker_port}\nrequirepass {self.broker_password}\n"
            f"save ''\ndir {self.stack.settings.state}\n"
        )
        self.processes.start(
            "broker",
            [REDIS, settings],
            cwd=self.stack.settings.state,
            env={"PATH": os.defpath},
            log=self.log("broker"),
            owner=USER,
        )

    def _is_healthy(self, api: AirflowApi) -> bool:
        for name in (*_PARTS, *WORKERS, "broker"):
            assert self.processes.running(name), self.log(name).read_text()[-3000:]
        try:
            health = api.health()
        except OSError:  # requests' own errors among them
            return False
        return all(health[part] == "healthy" for part in ("scheduler", "dag_processor"))


@contextmanager
def cluster(stack: Stack, folder: Path) -> Iterator[tuple[Cluster, AirflowApi]]:
    """A cluster at work; the stack's own end stops it."""
    machines = Cluster(stack, folder)
    yield machines, machines.start()
