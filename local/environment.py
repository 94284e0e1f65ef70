"""Lists the variables of the caller's environment that reach the programs; no other does.

A shell holds settings of other projects: another Airflow, another dbt, a proxy for the browser. A
list of variables to keep out would never be complete.

This module uses the standard library only, because the interpreter that makes `.venv` imports it.
"""

import os
import pwd
from collections.abc import Iterable, Mapping
from pathlib import Path

from local.ports import HOST

CERTIFICATES = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE")

# The account and the machine. Some interpreters do not start without LD_LIBRARY_PATH. It cannot
# replace the libraries of the wheels, because their file names are unique.
_MACHINE = (
    *("HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LD_LIBRARY_PATH"),
    *("LOGNAME", "NO_COLOR", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"),
    *CERTIFICATES,
)
# Programs fail if one of these paths does not exist.
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
# Whom to tell, by airflow/dags/sales_mart_alerts.py.
ALERTS = ("ALERT_WEBHOOK_URL", "ALERT_EMAIL_TO", "AIRFLOW_CONN_SMTP_DEFAULT")
METRICS = (
    *("AIRFLOW__METRICS__STATSD_ON", "AIRFLOW__METRICS__STATSD_HOST"),
    *("AIRFLOW__METRICS__STATSD_PORT", "AIRFLOW__METRICS__STATSD_PREFIX"),
)
LINEAGE = ("AIRFLOW__OPENLINEAGE__TRANSPORT", "AIRFLOW__OPENLINEAGE__NAMESPACE")
LIMITS = ("MAX_REJECTED_SHARE", "MART_LOCK_TIMEOUT")

# The other variables of libpq, for a server of the caller's. PGSERVICE and its file are left out:
# they can name another server than PGHOST, which dbt would not use. So is PGCLIENTENCODING: ours is
# UTF-8.
LIBPQ = (
    *("PGAPPNAME", "PGCHANNELBINDING", "PGCONNECT_TIMEOUT", "PGDATESTYLE", "PGGEQO"),
    *("PGGSSDELEGATION", "PGGSSENCMODE", "PGGSSLIB", "PGHOSTADDR", "PGKRBSRVNAME"),
    *("PGLOADBALANCEHOSTS", "PGMAXPROTOCOLVERSION", "PGMINPROTOCOLVERSION", "PGOPTIONS"),
    *("PGPASSFILE", "PGREQUIREAUTH", "PGREQUIREPEER", "PGREQUIRESSL", "PGSSLCERT"),
    *("PGSSLCERTMODE", "PGSSLCOMPRESSION", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLKEY"),
    *("PGSSLMAXPROTOCOLVERSION", "PGSSLMINPROTOCOLVERSION", "PGSSLNEGOTIATION"),
    *("PGSSLROOTCERT", "PGSSLSNI", "PGTARGETSESSIONATTRS", "PGTZ"),
)

# One of the programs reads names with these beginnings, even if they are meant for others.
FAMILIES = ("AIRFLOW", "_AIRFLOW", "DBT_", "PG", "PYTHON", "REPORT_")


def named(caller: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return those of `names` that the caller has set. An empty setting counts as unset."""
    return {name: caller[name] for name in names if caller.get(name)}


def machine(caller: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the variables that describe the account and the machine.

    Args:
        home: replaces a home folder that does not exist.
    """
    env = named(caller, _MACHINE)
    env = {k: v for k, v in env.items() if k not in _PLACES or Path(v).exists()}
    try:
        account = pwd.getpwuid(os.geteuid())
        env.setdefault("HOME", account.pw_dir if Path(account.pw_dir).is_dir() else str(home))
    except KeyError:  # a container's user without a name: programs that ask for the name would fail
        env.setdefault("HOME", str(home))
        env.setdefault("USER", str(os.geteuid()))
    env.setdefault("PATH", os.defpath)
    return env


def proxies(caller: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies that Python's HTTP libraries can use; others would make them fail."""
    names = (*_PROXIES, *map(str.lower, _PROXIES))
    found = {k: v for k, v in named(caller, names).items() if is_usable(v)}
    return {**found, **no_proxy(caller)}


def is_usable(proxy: str) -> bool:
    """Return whether it is an HTTP proxy; the libraries' extras for SOCKS are not installed."""
    return "://" not in proxy or proxy.lower().startswith(("http://", "https://"))


def no_proxy(caller: Mapping[str, str]) -> dict[str, str]:
    """Return the hosts to ask without a proxy: the caller's, and this machine."""
    told = ",".join(caller.get(name, "") for name in ("NO_PROXY", "no_proxy")).split(",")
    hosts = dict.fromkeys(host.strip() for host in (*told, HOST))
    # httpx rejects [::1] as a broken address and refuses to start.
    direct = ",".join(host for host in hosts if host and "[" not in host)
    return {"NO_PROXY": direct, "no_proxy": direct}
