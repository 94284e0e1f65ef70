"""A shell full of other projects' settings, and commands that are started in it."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

LINE_FOR_A_SHELL = re.compile(r"export [A-Za-z_]\w*=|unset [A-Za-z_]\w*$")

# Each of these once stopped a program here, or changed what it did.
HOSTILE = {
    # A proxy for the browser, and the hosts that need no proxy.
    "ALL_PROXY": "socks5://proxy.invalid:1080",
    "http_proxy": "http://proxy.invalid:3128",
    "https_proxy": "http://proxy.invalid:3128",
    "NO_PROXY": "intranet.invalid,[::1]",
    # Another dbt project.
    "DBT_DEFER": "true",
    "DBT_ENGINE_TARGET": "prod",
    "DBT_ENV_SECRET_PGPASSWORD": "theirs",
    "DBT_PROFILE": "theirs",
    "DBT_PROFILES_DIR": "/nonexistent",
    "DBT_PROJECT_DIR": "/nonexistent",
    "DBT_RESOURCE_TYPES": "test",
    "DBT_STATE": "/nonexistent",
    "DBT_TARGET": "prod",
    "DBT_TARGET_PATH": "/nonexistent",
    "DBT_USER": "theirs",
    "DBT_WRITE_JSON": "false",
    # Another PostgreSQL server.
    "PGCHANNELBINDING": "require",
    "PGHOSTADDR": "192.0.2.1",
    "PGOPTIONS": "-c search_path=theirs",
    "PGPORT": "",
    "PGSERVICE": "theirs",
    "PGSSLMODE": "verify-full",
    "PGTARGETSESSIONATTRS": "standby",
    # Another Python.
    "PYTHONHOME": "/nonexistent",
    "PYTHONINSPECT": "1",
    "PYTHONPATH": "/nonexistent",
    "PYTHONSAFEPATH": "1",
    "PYTHONWARNINGS": "error",
    "VIRTUAL_ENV": "/nonexistent",
    # Another Airflow.
    "AIRFLOW_CONFIG": "/nonexistent",
    "AIRFLOW_HOME": "/nonexistent",
    "AIRFLOW__CORE__AUTH_MANAGER": "theirs.Manager",
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": "[]",
    "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "theirs.CONFIG",
    "AIRFLOW__SECRETS__BACKEND": "theirs.Backend",
    # Other projects that use uv, pip and make.
    "MAKEFLAGS": "w",
    "PIP_TARGET": "/nonexistent",
    "UV_NO_DEV": "1",
    "UV_OFFLINE": "1",
    "UV_PROJECT": "/nonexistent",
    # Settings that count on make's command line only.
    "ARGS": "it's",
    "DATE": "yesterday",
    "DEADLINE_MINUTES": "soon",
    "PYTHON": "/nonexistent",
    "RECORDED": "/nonexistent",
    "TODAY": "soon",
    # Set, but empty.
    "MART_LOCK_TIMEOUT": "",
    "MAX_REJECTED_SHARE": "",
    "PGHOST": "",
    "REPORT_API_URL": "",
    # The shell, the machine, and files that do not exist any more.
    "BASH_ENV": "/nonexistent",
    "CDPATH": "/usr",  # this folder has a subfolder `local`
    "COLUMNS": "1",
    "GIT_DIR": "/nonexistent",
    "LC_ALL": "xx_YY.UTF-8",
    "REQUESTS_CA_BUNDLE": "/nonexistent",
    "SSL_CERT_FILE": "/nonexistent",
    "TMPDIR": "/nonexistent",
    "TZ": "Mars/Phobos",
}


def run(*command: str | Path, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command with only PATH and `env` in its environment."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=False,
    )


def local(state: Path, command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m local` on a state folder of the test."""
    return run(sys.executable, "-m", "local", command, "--state", state, cwd=ROOT, **env)


def make(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run make in this checkout, without installing its environment again under running tests."""
    return run("make", "--assume-old=.venv/.ready", *arguments, cwd=ROOT, **env)


def on_state(state: Path) -> str:
    """Return words for make's command line, so that commands use a state folder of the test."""
    return f"LOCAL=.venv/bin/python -E -m local --state {shlex.quote(str(state))}"
