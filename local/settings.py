"""Where things are, what is kept between commands, and the environment of every program started.

The caller's environment decides two things: with PGHOST set the warehouse is that server, with
REPORT_API_URL set reports come from that service. Without them both are local. What `make env`
printed does not count as such a decision: it is recognised by how generated secrets begin.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

from local.ports import HOST, free_port
from local.postgres import LOCAL_SECRET, EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"

INCREMENT_DAYS = 7

# The stand-in's data surround this day; the service's real answers surround the real one.
_STAND_IN_TODAY = "2024-03-03"

_WAREHOUSE_VARIABLES = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE")
# PGSSLMODE, PGSERVICE, PGOPTIONS...; and dbt's own account.
_ABOUT_A_SERVER = ("PG", "DBT_USER", "DBT_ENV_SECRET_PGPASSWORD")

# Of another Python, Airflow or dbt project in the same shell.
_FOREIGN = (
    "AIRFLOW_CONFIG",
    "AIRFLOW_HOME",
    "DBT_TARGET_PATH",
    "DBT_LOG_PATH",
    "LOCAL_STACK_PART",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "VIRTUAL_ENV",
)


class SettingsError(RuntimeError):
    """What the caller has set does not fit; the text is one sentence for a person."""


@dataclass(frozen=True)
class Settings:
    """The settings of this checkout, or of another `state` folder for a trial."""

    caller: Mapping[str, str]
    state: Path = ROOT / ".local"
    dags: Path = ROOT / "airflow" / "dags"

    # ------------------------------------------------------------- warehouse

    @cached_property
    def postgres(self) -> EmbeddedPostgres:
        return EmbeddedPostgres(self.state / "postgres", account_of=ROOT)

    @property
    def warehouse_is_embedded(self) -> bool:
        return not self.caller.get("PGHOST") or self._is_local("PGPASSWORD")

    @property
    def warehouse(self) -> dict[str, str]:
        """The libpq variables of the warehouse."""
        if self.warehouse_is_embedded:
            return self.postgres.env()
        missing = [name for name in ("PGUSER", "PGDATABASE") if not self.caller.get(name)]
        if missing:
            raise SettingsError(f"PGHOST is set, so {' and '.join(missing)} must be set too.")
        return {name: self.caller[name] for name in _WAREHOUSE_VARIABLES if self.caller.get(name)}

    # ------------------------------------------------------------ report API

    @property
    def report_api_is_stand_in(self) -> bool:
        return not self.caller.get("REPORT_API_URL") or self._is_local("REPORT_API_KEY")

    def _is_local(self, secret: str) -> bool:
        """Whether the caller has it from `make env`, be it of another day or checkout."""
        return self.caller.get(secret, "").startswith(LOCAL_SECRET)

    @property
    def report_api(self) -> dict[str, str]:
        if self.report_api_is_stand_in:
            url = f"http://{HOST}:{self.port('report_api')}"
            return {
                "REPORT_API_URL": url,
                "REPORT_API_KEY": self._report_api_key,
                "REPORT_API_NICKNAME": "local",
                "REPORT_API_COHORT": "1",
                "REPORT_STORAGE_URL": url,
            }
        return {name: value for name, value in self.caller.items() if name.startswith("REPORT_")}

    @property
    def recorded(self) -> Path | None:
        """The folder with recorded answers that the stand-in shall give."""
        folder = self.caller.get("RECORDED")
        if not folder:
            return None
        path = Path(folder).expanduser().resolve()
        if not path.is_dir():
            raise SettingsError(f"RECORDED={folder} is not a folder.")
        return path

    @property
    def today(self) -> date:
        """The day reports are asked on: the stand-in's fixed one, or the real one in UTC."""
        if not self.report_api_is_stand_in:
            return datetime.now(UTC).date()
        text = self.caller.get("TODAY") or _STAND_IN_TODAY
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise SettingsError(f"TODAY={text} is not a date like {_STAND_IN_TODAY}.") from None

    @property
    def increment_days(self) -> list[date]:
        """The days before `today` whose increments the service still offers, oldest first."""
        days = [self.today - timedelta(days=back) for back in range(INCREMENT_DAYS, 0, -1)]
        if self.report_api_is_stand_in and (folder := self.recorded):
            days = [day for day in days if any(folder.glob(f"increment_{day}__*"))]
        return days

    @property
    def fingerprint(self) -> str:
        """Differs when running processes would have to be started anew to notice a change."""
        told = [self.warehouse, self.report_api, str(self.dags), str(self.postgres.port)]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    # ---------------------------------------------------------- what is kept

    def kept(self, name: str, size: int = 32) -> str:
        """A secret of `size` random bytes, generated at its first use, kept with mode 0600."""
        return self._keep(name, lambda: secrets.token_urlsafe(size))

    @property
    def _report_api_key(self) -> str:
        return self._keep("report_api_key", lambda: LOCAL_SECRET + secrets.token_urlsafe(32))

    def port(self, name: str) -> int:
        """A port that was free at its first use."""
        return int(self._keep(f"{name}_port", lambda: str(free_port())))

    def choose_port(self, name: str) -> None:
        """Choose another port: the kept one is taken."""
        self._write({**self._read(), f"{name}_port": str(free_port())})

    def _keep(self, name: str, make: Callable[[], str]) -> str:
        values = self._read()
        if name not in values:
            values[name] = make()
            self._write(values)
        return values[name]

    def _read(self) -> dict[str, str]:
        try:
            values: dict[str, str] = json.loads((self.state / "settings.json").read_text())
        except FileNotFoundError:
            return {}
        return values

    def _write(self, values: Mapping[str, str]) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        write_private(self.state / "settings.json", json.dumps(values, indent=1))

    # ----------------------------------------------------------- environment

    def for_shell(self) -> dict[str, str]:
        """What psql, dbt and the loader need, without what they inherit anyway."""
        return {
            **self.warehouse,
            **self.report_api,
            "DBT_PROJECT_DIR": str(ROOT / "dbt_project"),
            "DBT_PROFILES_DIR": str(ROOT),
        }

    def for_programs(self) -> dict[str, str]:
        """The whole environment of a program: the caller's, cleaned, with ours on top."""
        env = {name: value for name, value in self.caller.items() if name not in _FOREIGN}
        if self.warehouse_is_embedded:
            # What is set is meant for some other one.
            env = {name: v for name, v in env.items() if not name.startswith(_ABOUT_A_SERVER)}
        if self.report_api_is_stand_in:
            env = {name: v for name, v in env.items() if not name.startswith("REPORT_API_")}
        # A proxy cannot reach this machine's own addresses.
        direct = ",".join(filter(None, [env.get("NO_PROXY") or env.get("no_proxy"), HOST]))
        return {
            **env,
            **self.for_shell(),
            "PATH": self.path,
            "PYTHONPATH": str(ROOT),
            "NO_PROXY": direct,
            "no_proxy": direct,
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
        }

    @property
    def path(self) -> str:
        ours = [str(BIN), str(self.postgres.bin_dir)]
        theirs = self.caller.get("PATH", os.defpath).split(os.pathsep)
        return os.pathsep.join([*ours, *(entry for entry in theirs if entry not in ours)])


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner may read, complete or not at all."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    with open(unfinished, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    unfinished.rename(path)
