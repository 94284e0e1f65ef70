"""Airflow's processes and their settings: API server, scheduler, DAG processor.

There is no triggerer, because no task defers. `airflow standalone` is not used, because its
children outlive it.
"""

import contextlib
import json
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import psycopg2
import requests
from psycopg2 import sql

from local.airflow_api import AirflowApi
from local.environment import AIRFLOW_METADATA
from local.kept import write_private
from local.ports import HOST, is_free
from local.processes import Processes
from local.settings import BIN, ROOT, Settings
from local.text import tail

DATABASE = "airflow"
USER = "admin"

_API_SERVER = "api_server"
_SCHEDULER = "scheduler"
DAG_PROCESSOR = "dag_processor"
_MIGRATION = "airflow_migration"

PARTS = {
    _API_SERVER: ["api-server"],
    # No log server: the API server reads the tasks' logs from the same disk.
    _SCHEDULER: ["scheduler", "--skip-serve-logs"],
    DAG_PROCESSOR: ["dag-processor"],
}

_CONNECTION, _ASYNC_CONNECTION = AIRFLOW_METADATA
_VERSION = f"Airflow {version('apache-airflow')}"
_START_SECONDS = 180


class AirflowError(RuntimeError):
    """Airflow cannot be started or does not answer; the text is one sentence for a person."""


class AirflowParts:
    """Airflow of one state folder; metadata on the embedded server, or where the caller says."""

    def __init__(self, settings: Settings, processes: Processes) -> None:
        self._settings = settings
        self._processes = processes
        self.home = settings.airflow_home

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._settings.port('airflow')}"

    @property
    def password(self) -> str:
        return self._settings.kept("airflow_password", size=12)

    @property
    def metadata_is_embedded(self) -> bool:
        return not self._settings.caller.get(_CONNECTION)

    def log(self, part: str) -> Path:
        return self._settings.state / "logs" / f"{part}.log"

    def environment(self, *, schedule: bool) -> dict[str, str]:
        """Return the environment of Airflow's processes; `schedule` activates the schedules."""
        settings = self._settings
        ours = {
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__EXPOSE_CONFIG": "False",
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(settings.port("airflow")),
            "AIRFLOW__API__SECRET_KEY": settings.kept("airflow_secret_key"),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": settings.kept("airflow_jwt_secret"),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(settings.dags),
            # Tasks report to this address. Airflow does not derive it from the port.
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            # With it dbt in a task takes half the CPU seconds that it takes with LocalExecutor.
            "AIRFLOW__CORE__EXECUTOR": "local.executor.WarmLocalExecutor",
            # A Fernet key ends in this padding.
            "AIRFLOW__CORE__FERNET_KEY": settings.kept("airflow_fernet_key") + "=",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__COSMOS__CACHE_DIR": str(self.home / "cosmos"),
            "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
            # Parsing a file takes two seconds, and files rarely change. A changed file is parsed at
            # once.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "15",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            # The pause between two tasks is 0.2 s instead of 1 s, for a tenth of an idle core.
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
            # An event of a task does not carry its Python code.
            "AIRFLOW__OPENLINEAGE__DISABLE_SOURCE_CODE": "True",
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": str(schedule),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            # A worker that misses the end of its task notices it at the next heartbeat: after 1 s
            # instead of 5 s.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }
        if self.metadata_is_embedded:
            address = settings.postgres.address(DATABASE)
            ours[_CONNECTION] = f"postgresql+psycopg2://{address}"
            ours[_ASYNC_CONNECTION] = f"postgresql+asyncpg://{address}"
            ours["AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS"] = "local.postgres.DIRECT"
            ours["AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS_ASYNC"] = (
                "local.postgres.DIRECT_ASYNC"
            )
        return {**settings.for_programs(), **ours}

    def start(self, parts: Sequence[str], *, owner: str, schedule: bool) -> list[str]:
        """Start those of `parts` that do not run; return their names. Does not wait for them."""
        missing = [part for part in parts if not self._processes.running(part)]
        if _API_SERVER in missing and not is_free(self._settings.port("airflow")):
            if self.is_running():
                # The running parts know only the old address.
                raise AirflowError(
                    f"Airflow's port {self._settings.port('airflow')} was taken by another program"
                    " while its API server was down: run `make down`, then try again."
                )
            self._settings.choose_port("airflow")
        self.home.mkdir(parents=True, exist_ok=True)
        write_private(self.home / "passwords.json", json.dumps({USER: self.password}) + "\n")
        for part in missing:
            self._processes.start(
                part,
                [BIN / "airflow", *PARTS[part]],
                cwd=ROOT,
                env=self.environment(schedule=schedule),
                log=self.log(part),
                owner=owner,
                fingerprint=self._settings.fingerprint,
            )
        return missing

    def wait(self) -> AirflowApi:
        """Wait until every part answers; return a logged-in client."""
        deadline = time.monotonic() + _START_SECONDS
        api = AirflowApi(self.url, USER, self.password)
        while True:
            self.check_alive()
            silent = self._silent_parts(api)
            if not silent:
                api.log_in()
                return api
            if time.monotonic() > deadline:
                logs = ", ".join(str(self.log(part)) for part in silent)
                raise AirflowError(
                    f"Airflow did not become healthy within {_START_SECONDS} s: see {logs}."
                )
            time.sleep(0.3)

    def check_alive(self) -> None:
        """Raise AirflowError, with the end of its log, when a part has died."""
        for part in PARTS:
            if not self._processes.running(part):
                raise AirflowError(
                    f"Airflow's {part.replace('_', ' ')} has ended; the end of {self.log(part)}:\n"
                    + tail(self.log(part))
                )

    def is_running(self) -> bool:
        """Whether any part of it is."""
        return any(self._processes.running(part) for part in PARTS)

    def _silent_parts(self, api: AirflowApi) -> list[str]:
        try:
            health = api.health()
        except requests.RequestException:
            return [_API_SERVER]
        return [part for part in (_SCHEDULER, DAG_PROCESSOR) if health[part] != "healthy"]

    def is_prepared(self) -> bool:
        """Return whether the metadata database is ready. The caller's own server is not asked."""
        if not self.metadata_is_embedded:
            return True
        with contextlib.suppress(psycopg2.OperationalError):  # not running, or never prepared
            return self._remark() == _VERSION
        return False

    def begin_migration(self, *, owner: str, schedule: bool) -> bool:
        """Start migrating the metadata database to the installed version, if needed."""
        # The database itself says which version it has, so a new database is migrated.
        if self.metadata_is_embedded and self._remark() == _VERSION:
            return False
        self._processes.start(
            _MIGRATION,
            [BIN / "airflow", "db", "migrate"],
            cwd=ROOT,
            env=self.environment(schedule=schedule),
            log=self.log(_MIGRATION),
            owner=owner,
        )
        return True

    def end_migration(self) -> None:
        """Wait for the migration; raise AirflowError with the end of its log if it failed."""
        if self._processes.wait(_MIGRATION) != 0:
            log = self.log(_MIGRATION)
            raise AirflowError(
                f"Airflow's metadata database could not be prepared; the end of {log}:\n{tail(log)}"
            )
        if self.metadata_is_embedded:
            self._remark(_VERSION)

    def _remark(self, text: str | None = None) -> str | None:
        """Set the comment on the metadata database if `text` is given; return the comment."""
        with contextlib.closing(self._settings.postgres.connect(DATABASE)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                if text is not None:
                    remark = sql.SQL("comment on database {} is {}")
                    cursor.execute(remark.format(sql.Identifier(DATABASE), sql.Literal(text)))
                cursor.execute(
                    "select shobj_description(oid, 'pg_database') from pg_database"
                    " where datname = %s",
                    (DATABASE,),
                )
                row = cursor.fetchone()
        return row[0] if row else None
