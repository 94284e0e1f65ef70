"""Paths, values kept between commands, and the environment of every program that is started.

The caller's environment decides two things. If PGHOST is set, the warehouse is on that server. If
REPORT_API_URL is set, reports come from that service. Without them both are local. Variables that
`make env` has printed do not count: generated secrets begin in a way that identifies them.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

from requests.utils import select_proxy, should_bypass_proxies

from loaders.deliveries import INCREMENT_DAYS
from local import environment
from local.kept import KeptValues
from local.ports import HOST, free_port
from local.postgres import LOCAL_SECRET, EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
# This folder precedes the environment's programs in the PATH of a person's shell.
COMMANDS = ROOT / "local" / "commands"

# The stand-in has data around this day; a real service has data around the real day.
_STAND_IN_TODAY = date(2024, 3, 3)


class SettingsError(RuntimeError):
    """A setting of the caller cannot be used; the text is one sentence for a person."""


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
        theirs = environment.named(self.caller, environment.WAREHOUSE)
        for name in ("PGHOST", "PGHOSTADDR", "PGPORT"):
            # dbt accepts no lists, and two programs could write to two servers.
            if "," in self.caller.get(name, ""):
                raise SettingsError(f"{name}={self.caller[name]} is a list: name one server.")
        port = theirs.get("PGPORT", "5432")
        if not (port.isdecimal() and 0 < int(port) < 2**16):
            raise SettingsError(f"PGPORT={port} is not a port number.")
        return theirs

    # ------------------------------------------------------------ report API

    @property
    def report_api_is_stand_in(self) -> bool:
        return not self.caller.get("REPORT_API_URL") or self._is_local("REPORT_API_KEY")

    def _is_local(self, secret: str) -> bool:
        """Return whether the value comes from `make env`, even of another day or checkout."""
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
        self._refuse_unusable_way_out()
        return environment.named(self.caller, environment.REPORT_API)

    def _refuse_unusable_way_out(self) -> None:
        """Raise SettingsError for certificates or a proxy that no program here could use."""
        url = self.caller["REPORT_API_URL"]
        for name in environment.CERTIFICATES:
            if (path := self.caller.get(name)) and not Path(path).exists():
                raise SettingsError(f"{name}={path}: there is no such file or folder.")
        told = {name: self.caller.get(name) or self.caller.get(name.upper())
                for name in ("http_proxy", "https_proxy", "all_proxy")}  # fmt: skip
        proxies = {name.removesuffix("_proxy"): proxy for name, proxy in told.items() if proxy}
        proxy = select_proxy(url, proxies)
        direct = environment.no_proxy(self.caller)["NO_PROXY"]
        if proxy and not environment.is_usable(proxy) and not should_bypass_proxies(url, direct):
            raise SettingsError(
                f"The proxy for REPORT_API_URL is a {proxy.partition(':')[0]} one, which the loader"
                " cannot use: name an HTTP proxy in HTTPS_PROXY, or the service in NO_PROXY."
            )

    @property
    def recorded(self) -> Path | None:
        """The folder with recorded deliveries that the stand-in serves."""
        folder = self.caller.get("RECORDED")
        if not folder:
            return None
        path = Path(folder).expanduser().resolve()
        if not path.is_dir():
            raise SettingsError(f"RECORDED={folder} is not a folder.")
        return path

    @property
    def today(self) -> date:
        """The day on which reports are asked for: the stand-in's fixed one, or today in UTC."""
        if not self.report_api_is_stand_in:
            return datetime.now(UTC).date()
        return self.day("TODAY") or _STAND_IN_TODAY

    def day(self, name: str) -> date | None:
        """Return the day that the caller has set under this name, written like 2024-02-25."""
        text = self.caller.get(name)
        if not text:
            return None
        try:
            day = date.fromisoformat(text)
        except ValueError:
            day = None
        if day is None or day.isoformat() != text:
            raise SettingsError(f"{name}={text} is not a date like {_STAND_IN_TODAY}.")
        return day

    @property
    def increment_days(self) -> list[date]:
        """The days before `today` whose increments the service still has, oldest first."""
        days = [self.today - timedelta(days=back) for back in range(INCREMENT_DAYS, 0, -1)]
        if self.report_api_is_stand_in and (folder := self.recorded):
            days = [day for day in days if any(folder.glob(f"increment_{day}__*"))]
        return days

    @property
    def fingerprint(self) -> str:
        """A digest of the settings that running processes notice only after a restart."""
        told = [
            *(self.settings_of_caller, self.warehouse, self.report_api),
            *(str(self.dags), str(ROOT), str(self.postgres.port), str(self.report_page)),
        ]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    # ---------------------------------------------------------- what is kept

    @property
    def airflow_home(self) -> Path:
        return self.state / "airflow"

    @cached_property
    def _kept(self) -> KeptValues:
        return KeptValues(self.state)

    def kept(self, name: str, size: int = 32) -> str:
        """Return a secret of `size` random bytes, generated at its first use."""
        return self._kept.get(name, lambda: secrets.token_urlsafe(size))

    @property
    def _report_api_key(self) -> str:
        return self._kept.get("report_api_key", lambda: LOCAL_SECRET + secrets.token_urlsafe(32))

    def port(self, name: str) -> int:
        """Return a port that was free at its first use."""
        return int(self._kept.get(f"{name}_port", lambda: str(free_port())))

    def choose_port(self, name: str) -> None:
        """Choose another port, because the kept one is taken."""
        self._kept.save({f"{name}_port": str(free_port())})

    # ----------------------------------------------------------- environment

    @property
    def settings_of_caller(self) -> dict[str, str]:
        """The caller's settings that are meant for the programs here."""
        names = [
            *environment.AIRFLOW_METADATA,
            *environment.LIMITS,
            *environment.ALERTS,
            *environment.METRICS,
            *environment.LINEAGE,
        ]
        if not self.warehouse_is_embedded:
            names += [*environment.WAREHOUSE, *environment.LIBPQ, *environment.DBT_ACCOUNT]
        env = environment.named(self.caller, names)
        if not self.report_api_is_stand_in:
            env |= environment.named(self.caller, environment.REPORT_API)
            env |= environment.proxies(self.caller)
        return env

    @property
    def inherited(self) -> dict[str, str]:
        """The caller's variables that reach the programs."""
        return {**environment.machine(self.caller, home=self.state), **self.settings_of_caller}

    def for_shell(self) -> dict[str, str]:
        """Return what psql, dbt, the loader and Airflow need in a person's shell, in any folder."""
        return {
            **self.warehouse,
            **self.report_api,
            **environment.no_proxy(self.caller),
            "AIRFLOW_HOME": str(self.airflow_home),
            "DBT_PROFILES_DIR": str(ROOT),
            "DBT_PROJECT_DIR": str(ROOT / "dbt_project"),
            "DO_NOT_TRACK": "1",
            "PATH": self._path(COMMANDS, BIN, self.postgres.bin_dir),
            "PYTHONPATH": str(ROOT),
            # Names are Russian, even if the locale is not UTF-8.
            "PYTHONUTF8": "1",
        }

    @property
    def report_page(self) -> Path:
        """The page for analysts, which both DAGs write last."""
        return Path(self.caller.get(environment.PAGE) or self.state / "report.html").absolute()

    def for_programs(self) -> dict[str, str]:
        """Return the whole environment of a program."""
        path = self._path(BIN, self.postgres.bin_dir)
        page = {environment.PAGE: str(self.report_page)}
        return {**self.inherited, **self.for_shell(), "PATH": path, **page}

    def to_unset(self) -> list[str]:
        """Return the caller's settings of other projects that would change the programs here."""
        theirs = [name for name in self.caller if name.startswith(environment.FAMILIES)]
        # A shell can unset only names that a shell could have set.
        return [name for name in theirs if name not in self.for_programs() and name.isidentifier()]

    def _path(self, *first: Path) -> str:
        ours = [str(COMMANDS), str(BIN), str(self.postgres.bin_dir)]
        theirs = self.inherited["PATH"].split(os.pathsep)
        kept = [entry for entry in theirs if entry not in ours]
        return os.pathsep.join([*map(str, first), *kept])
