"""What surrounds the warehouse: versions, settings, the report API, the manifest, the disk here."""

import os
import platform
import re
import shutil
import socket
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import urlsplit

from checks import dbt
from checks.doctor.finding import Finding, State
from loaders import settings as loader_settings
from loaders.errors import TerminalError

# As requires-python in pyproject.toml, which an image need not hold.
PYTHON = ((3, 11), (3, 13))
# Of a disk with less the next large delivery, or dbt's logs, may find none.
LOW_BYTES, NO_BYTES = 2 * 2**30, 2**28
CONNECT_SECONDS = 5
LINEAGE = "apache-airflow-providers-openlineage"
# As dbt takes it (macro _lock_timeout).
LOCK_TIMEOUT = re.compile("[0-9]+ ?(ms|s|min|h|d)?")


def versions() -> Iterator[Finding]:
    """Python, and the installed packages beside those of uv.lock."""
    python = platform.python_version()
    if not PYTHON[0] <= tuple(map(int, python.split(".")[:2])) <= PYTHON[1]:
        yield Finding("versions", State.BROKEN, f"Python {python}: expected 3.11 to 3.13")
        return
    lock = dbt.ROOT / "uv.lock"
    if not lock.exists():
        yield Finding("versions", State.NOT_LOOKED_AT, f"Python {python}; no uv.lock to compare")
        return
    # More than one where Pythons need different ones.
    locked: dict[str, set[str]] = defaultdict(set)
    for package in tomllib.loads(lock.read_text())["package"]:
        locked[package["name"]].add(package.get("version", ""))
    others = sorted(
        f"{name} {installed.version} instead of {' or '.join(sorted(locked[name]))}"
        for installed in distributions()
        if (name := re.sub("[-_.]+", "-", installed.name).lower()) in locked
        and installed.version not in locked[name]
    )
    if others:
        text = f"Python {python}; other packages than in uv.lock: {', '.join(others)}"
        yield Finding("versions", State.LOOK, text, "uv sync --frozen")
    else:
        yield Finding("versions", State.WELL, f"Python {python}, packages as in uv.lock")


def settings() -> Iterator[Finding]:
    """Settings that no program takes, or of which one undoes another."""
    broken, odd = list(_refused_settings()), list(_contradictions())
    if broken or odd:
        state = State.BROKEN if broken else State.LOOK
        yield Finding("settings", state, "; ".join([*broken, *odd]))
    else:
        yield Finding("settings", State.WELL, "no contradictions")


def _refused_settings() -> Iterator[str]:
    for check in (
        loader_settings.check_connection,
        loader_settings.max_rejected_share,
        *([loader_settings.ReportApiSettings.from_environment] if _set("REPORT_API_") else []),
    ):
        try:
            check()
        except TerminalError as error:
            yield str(error)
    timeout = os.environ.get("MART_LOCK_TIMEOUT") or "10min"
    if not LOCK_TIMEOUT.fullmatch(timeout):
        yield f"MART_LOCK_TIMEOUT is {timeout!r}: expected a time like 10min, 90s or 500ms"
    window = [bool(os.environ.get(f"SALES_WINDOW_{end}")) for end in ("START", "END")]
    if window[0] != window[1]:
        yield "of SALES_WINDOW_START and SALES_WINDOW_END only one is set: dbt refuses to run"
    port = os.environ.get("AIRFLOW__API__PORT", "8080")
    if port != "8080" and not os.environ.get("AIRFLOW__CORE__EXECUTION_API_SERVER_URL"):
        yield (
            f"AIRFLOW__API__PORT is {port} and AIRFLOW__CORE__EXECUTION_API_SERVER_URL is not set:"
            " every task fails with an empty log"
        )


def _contradictions() -> Iterator[str]:
    if os.environ.get("DBT_ENV_SECRET_PGPASSWORD") and not os.environ.get("DBT_USER"):
        yield "DBT_ENV_SECRET_PGPASSWORD is set and DBT_USER is not: dbt does not use it"
    if os.environ.get("SALES_WINDOW_START") and os.environ.get("SALES_WINDOW_END"):
        yield "SALES_WINDOW_START is set here: every dbt run without --vars builds these days only"
    if os.environ.get("AIRFLOW__OPENLINEAGE__TRANSPORT") and not _installed(LINEAGE):
        yield f"AIRFLOW__OPENLINEAGE__TRANSPORT is set and {LINEAGE} is not installed: no events"
    if service := os.environ.get("PGSERVICE"):
        yield f"PGSERVICE is {service!r}: the loader follows it, dbt does not"
    if _set("REPORT_API_"):
        try:
            if loader_settings.ReportApiSettings.from_environment().sends_key_in_the_clear:
                yield "REPORT_API_URL is http://: the key travels unencrypted"
        except TerminalError:
            pass  # told as refused


def _installed(name: str) -> bool:
    return any(distribution.name == name for distribution in distributions())


def _set(prefix: str) -> bool:
    return any(name.startswith(prefix) and value for name, value in os.environ.items())


def manifest() -> Iterator[Finding]:
    """The manifest that the DAGs are drawn from, beside the project that it was made of."""
    path = dbt.manifest()
    if not path.exists():
        yield Finding("manifest", State.BROKEN, "not there: no DAG can be drawn", "dbt parse")
    elif not dbt.is_current(path):
        yield Finding("manifest", State.LOOK, "older than the models", "dbt parse")
    else:
        yield Finding("manifest", State.WELL, "as new as the models")


def report_api() -> Iterator[Finding]:
    """Whether the service's host takes connections; nothing is asked of it."""
    url = os.environ.get("REPORT_API_URL", "")
    parts = urlsplit(url)
    if not parts.hostname:
        yield Finding("report API", State.NOT_LOOKED_AT, "REPORT_API_URL is not set")
        return
    if any(os.environ.get(name) for name in (f"{parts.scheme}_proxy", "HTTPS_PROXY", "ALL_PROXY")):
        yield Finding("report API", State.NOT_LOOKED_AT, "a proxy stands between")
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    where = f"{parts.hostname}:{port}"
    try:
        socket.create_connection((parts.hostname, port), CONNECT_SECONDS).close()
    except OSError as error:
        text = f"{where} takes no connection: {error.strerror or error}"
        yield Finding("report API", State.BROKEN, text, f"curl -v {parts.scheme}://{where}")
    else:
        yield Finding("report API", State.WELL, f"{where} takes connections")


def disk() -> Iterator[Finding]:
    """Room for the files that deliveries are fetched into, and for what dbt writes."""
    folders = {Path(tempfile.gettempdir()), dbt.manifest().parent, dbt.ROOT}
    yield room("disk here", [folder for folder in sorted(folders) if folder.exists()])


def room(check: str, folders: list[Path]) -> Finding:
    """Say how much is free where it is least."""
    free, folder = min((shutil.disk_usage(folder).free, folder) for folder in folders)
    text = f"{free / 2**30:.1f} GiB free in {folder}"
    state = State.BROKEN if free < NO_BYTES else State.LOOK if free < LOW_BYTES else State.WELL
    return Finding(check, state, text, "" if state is State.WELL else f"du -xh {folder} | sort -h")
