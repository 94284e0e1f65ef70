"""A shell full of other projects' settings, and commands started from it."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

LINE_FOR_A_SHELL = re.compile(r"export [A-Za-z_]\w*=|unset [A-Za-z_]\w*$")

# Each was seen to stop something here, or to change what it did.
HOSTILE = {
    # A proxy for the browser, and what is not asked through it.
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
    # Other projects that uv, pip and make are used for.
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
    # The shell, the machine, and what is not there any more.
    "BASH_ENV": "/nonexistent",
    "CDPATH": "/usr",  # has a folder `local`
    "COLUMNS": "1",
    "GIT_DIR": "/nonexistent",
    "LC_ALL": "xx_YY.UTF-8",
    "REQUESTS_CA_BUNDLE": "/nonexistent",
    "SSL_CERT_FILE": "/nonexistent",
    "TMPDIR": "/nonexistent",
    "TZ": "Mars/Phobos",
}


def run(*command: str | Path, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing in its environment but PATH and `env`."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=False,
    )


def local(state: Path, command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m local` on a state folder of the test's own."""
    return run(sys.executable, "-m", "local", command, "--state", state, cwd=ROOT, **env)


def make(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """make in this checkout, whose environment is not remade under the tests that run in it."""
    return run("make", "--assume-old=.venv/.ready", *arguments, cwd=ROOT, **env)


def on_state(state: Path) -> str:
    """For make's command line: its commands work on a state folder of the test's own."""
    return f"LOCAL=.venv/bin/python -E -m local --state {shlex.quote(str(state))}"
