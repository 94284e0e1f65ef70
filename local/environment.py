"""What of the caller's environment reaches the programs: what is named here, and nothing else.

A shell carries the settings of other projects: another Airflow, another dbt, a proxy for the
browser. A list of those to keep out would never be complete.

Standard library only: the interpreter that makes `.venv` imports this module too.
"""

import os
import pwd
from collections.abc import Iterable, Mapping
from pathlib import Path

from local.ports import HOST

CERTIFICATES = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE")

# The account and the machine. LD_LIBRARY_PATH: some interpreters do not start without it, and the
# libraries of the wheels have names of their own, which no other one is taken for.
_MACHINE = (
    *("HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LD_LIBRARY_PATH"),
    *("LOGNAME", "NO_COLOR", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"),
    *CERTIFICATES,
)
# One that is not there stops whoever looks into it.
_PLACES = ("HOME", "TMPDIR", *CERTIFICATES)
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")

# README, "Your own servers".
WAREHOUSE = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE")
DBT_ACCOUNT = ("DBT_USER", "DBT_ENV_SECRET_PGPASSWORD")
REPORT_API = (
    *("REPORT_API_URL", "REPORT_API_KEY", "REPORT_API_NICKNAME", "REPORT_API_COHORT"),
    "REPORT_STORAGE_URL",
)
AIRFLOW_METADATA = (
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC",
)
PAGE = "REPORT_PAGE"
LIMITS = ("MAX_REJECTED_SHARE", "MART_LOCK_TIMEOUT")

# What else libpq reads, for a server of the caller's. Left out: PGSERVICE and its file, which can
# name another server than PGHOST, to which dbt would not go; PGCLIENTENCODING, ours is UTF-8.
LIBPQ = (
    *("PGAPPNAME", "PGCHANNELBINDING", "PGCONNECT_TIMEOUT", "PGDATESTYLE", "PGGEQO"),
    *("PGGSSDELEGATION", "PGGSSENCMODE", "PGGSSLIB", "PGHOSTADDR", "PGKRBSRVNAME"),
    *("PGLOADBALANCEHOSTS", "PGMAXPROTOCOLVERSION", "PGMINPROTOCOLVERSION", "PGOPTIONS"),
    *("PGPASSFILE", "PGREQUIREAUTH", "PGREQUIREPEER", "PGREQUIRESSL", "PGSSLCERT"),
    *("PGSSLCERTMODE", "PGSSLCOMPRESSION", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLKEY"),
    *("PGSSLMAXPROTOCOLVERSION", "PGSSLMINPROTOCOLVERSION", "PGSSLNEGOTIATION"),
    *("PGSSLROOTCERT", "PGSSLSNI", "PGTARGETSESSIONATTRS", "PGTZ"),
)

# Names that begin so are read by one of the programs, whoever they were meant for.
FAMILIES = ("AIRFLOW", "_AIRFLOW", "DBT_", "PG", "PYTHON", "REPORT_")


def named(caller: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Those of `names` that the caller has set. An empty setting is an unset one."""
    return {name: caller[name] for name in names if caller.get(name)}


def machine(caller: Mapping[str, str], home: Path) -> dict[str, str]:
    """What a program needs to know of the account and the machine.

    Args:
        home: stands in for a home folder that does not exist.
    """
    env = named(caller, _MACHINE)
    env = {k: v for k, v in env.items() if k not in _PLACES or Path(v).exists()}
    try:
        account = pwd.getpwuid(os.geteuid())
        env.setdefault("HOME", account.pw_dir if Path(account.pw_dir).is_dir() else str(home))
    except KeyError:  # a container's user: programs that ask for its name would fail
        env.setdefault("HOME", str(home))
        env.setdefault("USER", str(os.geteuid()))
    env.setdefault("PATH", os.defpath)
    return env


def proxies(caller: Mapping[str, str]) -> dict[str, str]:
    """The proxies that Python's HTTP libraries can use: others stop them even for this machine."""
    names = (*_PROXIES, *map(str.lower, _PROXIES))
    found = {k: v for k, v in named(caller, names).items() if is_usable(v)}
    return {**found, **no_proxy(caller)}


def is_usable(proxy: str) -> bool:
    """Whether it is an HTTP proxy; for SOCKS the libraries lack their extras."""
    return "://" not in proxy or proxy.lower().startswith(("http://", "https://"))


def no_proxy(caller: Mapping[str, str]) -> dict[str, str]:
    """What is asked directly: the caller's hosts and this machine, which no proxy can reach."""
    told = ",".join(caller.get(name, "") for name in ("NO_PROXY", "no_proxy")).split(",")
    hosts = dict.fromkeys(host.strip() for host in (*told, HOST))
    # httpx takes [::1] for a broken address and refuses to start.
    direct = ",".join(host for host in hosts if host and "[" not in host)
    return {"NO_PROXY": direct, "no_proxy": direct}
