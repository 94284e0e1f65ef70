"""Command line behind the Makefile: `python -m local COMMAND`."""

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import psycopg2
import requests

from local.accounts import become_owner, name_of
from local.airflow_api import AirflowApiError
from local.airflow_parts import USER as AIRFLOW_USER
from local.airflow_parts import AirflowError
from local.install import UV, installing
from local.pipeline import Pipeline, PipelineError
from local.postgres import PostgresError
from local.settings import BIN, ROOT, Settings, SettingsError
from local.stack import RUN, USER, Stack, StackError
from local.summary import summary
from local.text import complain, say

_DEADLINE_MINUTES = 30.0

_EXPECTED_ERRORS = (
    AirflowApiError,
    AirflowError,
    PipelineError,
    PostgresError,
    SettingsError,
    StackError,
    psycopg2.Error,
    requests.RequestException,
)


class _Interrupted(BaseException):
    """A signal asks this command to end. No Exception, so that nothing swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # The words after this one are for Airflow, whose options have the same names as ours.
    end = words.index("airflow") + 1 if "airflow" in words else len(words)
    words, words_for_airflow = words[:end], words[end:]
    commands: dict[str, Callable[[Stack], int]] = {
        "run": run,
        "warehouse": warehouse,
        "up": up,
        "down": down,
        "env": env,
        "load": load,
        "dbt": dbt,
        "airflow": lambda stack: airflow(stack, words_for_airflow),
        "doctor": doctor,
        "prove": prove_promise,
        "audit": audit,
        "test": test,
    }
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=commands)
    parser.add_argument("--dags", type=Path, help="take the DAGs from this folder instead")
    parser.add_argument("--state", type=Path, help="keep everything here instead of in .local")
    options = parser.parse_args(words)
    given = {"dags": options.dags, "state": options.state}
    folders = {name: folder.resolve() for name, folder in given.items() if folder}
    state = folders.get("state", Settings.state)
    become_owner(next(folder for folder in (state, *state.parents) if folder.exists()))
    # Whatever the umask is, nobody else may write the files that are kept here.
    os.umask(os.umask(0o022) | 0o022)
    settings = Settings(dict(os.environ), **folders)
    # libpq and the libraries read the environment of this process, too.
    os.environ.clear()
    os.environ.update(settings.inherited)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return commands[options.command](Stack(settings))
    except PermissionError as error:
        complain(_forbidden(error))
        return 1
    except _EXPECTED_ERRORS as error:
        complain(str(error).strip())
        return 1
    except _Interrupted as interrupted:
        complain(f"interrupted by {interrupted}")
        return 128 + interrupted.number


def _forbidden(error: PermissionError) -> str:
    if not error.filename:
        return str(error)
    path = Path(os.fsdecode(error.filename))
    with contextlib.suppress(PermissionError):
        owner = next(p for p in (path, *path.parents) if p.exists()).stat().st_uid
        return (
            f"{path} belongs to another user ({name_of(owner)}):"
            f" `sudo chown -R {name_of(os.geteuid())} {path.parent}` gives it back."
        )
    return f"{path} is closed to {name_of(os.geteuid())}."


def warehouse(stack: Stack) -> int:
    """Start the warehouse and create its tables; leave it running."""
    with stack.lock("warehouse"):
        stack.clear_leftovers()
        _start_warehouse(stack, USER)
        stack.prepare()
    say(f"The warehouse is ready: {_address(stack)}")
    say('In a shell: eval "$(make -s env)", then psql')
    return 0


def up(stack: Stack) -> int:
    """Start everything, Airflow's UI included; leave it running."""
    with stack.lock("up"):
        stack.clear_leftovers()
        began = time.monotonic()
        _start_warehouse(stack, USER)
        if stack.start_report_api(USER):
            say(f"Report API stand-in: {stack.settings.report_api['REPORT_API_URL']}")
        say("Preparing the tables and Airflow")
        stack.start_airflow(USER)
        stack.airflow.wait()
        say(f"Everything is up after {time.monotonic() - began:.0f} s")
    print(f"\n  Airflow   {stack.airflow.url}")
    print(f"  user      {AIRFLOW_USER}")
    print(f"  password  {stack.airflow.password}")
    print(f"  warehouse {_address(stack)}")
    print("\nIt stays up until `make down`.")
    return 0


def down(stack: Stack) -> int:
    """Stop everything that was started from this checkout."""
    with stack.lock("down"), _unhurried():
        stopped = stack.stop_everything()
    say(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing was running")
    return 0


def run(stack: Stack) -> int:
    """The main job: history, a week of increments, a summary."""
    minutes = _deadline_minutes(stack.settings)
    with stack.lock("run"):
        stack.clear_leftovers()
        try:
            return _run(stack, time.monotonic() + 60 * minutes)
        finally:
            with _unhurried():
                if stack.started:
                    say(f"Stopping what this job has started: {', '.join(stack.started)}")
                stack.stop_started()


def _run(stack: Stack, deadline: float) -> int:
    settings = stack.settings
    days = settings.increment_days
    began = time.monotonic()
    _start_warehouse(stack, RUN)
    stack.start_report_api(RUN)
    say("Preparing the tables and Airflow")
    since = datetime.now(UTC)
    fresh = stack.start_airflow(RUN)
    pipeline = Pipeline(stack.airflow, stack.airflow.wait(), deadline)
    pipeline.make_ready(fresh=fresh, since=since)
    say(f"Ready after {time.monotonic() - began:.0f} s; Airflow: {stack.airflow.url}")
    try:
        runs = pipeline.run_history()
        runs += pipeline.run_increments(days) if days else []
    except BaseException:
        # If Airflow stays up, it must not go on with this job's unfinished runs.
        with contextlib.suppress(*_EXPECTED_ERRORS), _unhurried():
            pipeline.abandon()
        raise
    print(summary(settings.warehouse, runs, settings.report_page), flush=True)
    say(f"Done in {time.monotonic() - began:.0f} s")
    return 0


def env(stack: Stack) -> int:
    """Print `export NAME='value'` and `unset NAME` lines for a shell."""
    settings = stack.settings
    lines = [f"export {name}={shlex.quote(value)}" for name, value in settings.for_shell().items()]
    print("\n".join([*lines, *(f"unset {name}" for name in settings.to_unset())]))
    if settings.warehouse_is_embedded and not settings.postgres.is_running():
        print("The warehouse is not running yet: make warehouse", file=sys.stderr)
    return 0


def load(stack: Stack) -> int:
    """Load the history, or with DATE one day's increment."""
    day = stack.settings.day("DATE")
    arguments = ["increment", "--date", day.isoformat()] if day else ["history"]
    with stack.lock("load"):
        stack.clear_leftovers()
        try:
            if _start_warehouse(stack, USER):
                stack.prepare()
            stack.start_report_api(RUN)
            return stack.program("python", "-m", "loaders", *arguments)
        finally:
            with _unhurried():
                stack.stop_started()


def dbt(stack: Stack) -> int:
    """Run dbt with the words of ARGS."""
    words = _words(stack.settings)
    if not words:
        raise SettingsError("Say what dbt shall do, as in: make dbt ARGS='run --select f_sales'.")
    if stack.settings.warehouse_is_embedded and not stack.settings.postgres.is_running():
        with stack.lock("dbt"):
            stack.clear_leftovers()
            _start_warehouse(stack, USER)
            stack.prepare()
    return stack.program("dbt", *words)


def airflow(stack: Stack, words: Sequence[str]) -> int:
    """Run Airflow's command line with the settings of what `make up` starts."""
    if not stack.airflow.is_prepared():
        raise StackError("Airflow's database is not there: `make up` prepares and starts it.")
    env = stack.airflow.environment(schedule=not stack.settings.report_api_is_stand_in)
    program = str(BIN / "airflow")
    os.execve(program, [program, *words], env)


def doctor(stack: Stack) -> int:
    """Say how everything is, with the words of ARGS; start and change nothing."""
    options = _words(stack.settings)
    if stack.settings.report_api_is_stand_in:
        # Its days are not those of the clock.
        options = ["--today", stack.settings.today.isoformat(), *options]
    env = stack.settings.for_programs()
    if stack.airflow.is_running():
        env = stack.airflow.environment(schedule=not stack.settings.report_api_is_stand_in)
    return stack.program("python", "-m", "checks", "doctor", *options, env=env)


def prove_promise(stack: Stack) -> int:
    """Prove that the marts equal a fresh build after repeated and killed runs."""
    with stack.lock("prove"):
        if stack.settings.warehouse_is_embedded and not stack.settings.postgres.is_running():
            stack.clear_leftovers()
            _start_warehouse(stack, RUN)
        try:
            return stack.program("python", "-m", "checks", "prove")
        finally:
            with _unhurried():
                stack.stop_started()


def audit(stack: Stack) -> int:
    """Check the locked packages for known vulnerabilities, by the advisories of osv.dev.

    Returns 0 if none are known, 1 after listing some, 3 if the advisories cannot be reached.
    """
    done = subprocess.run(
        [UV, "audit", "--frozen", "--preview-features", "audit-command"],
        cwd=ROOT,
        env=installing(stack.settings.caller),
        check=False,
    )
    if done.returncode == 2:  # uv's "could not do it"
        complain("nothing was checked: the advisories (api.osv.dev) could not be read, see above")
        return 3
    return done.returncode


def test(stack: Stack) -> int:
    """Run the tests, with the words of ARGS for pytest."""
    os.chdir(ROOT)
    python = str(BIN / "python")
    # By its full path, from which Python finds its environment.
    os.execv(python, [python, "-m", "pytest", *_words(stack.settings)])


def _start_warehouse(stack: Stack, owner: str) -> bool:
    fresh = stack.start_warehouse(owner)
    if fresh:
        say(f"PostgreSQL started: {_address(stack)}")
    return fresh


def _address(stack: Stack) -> str:
    pg = stack.settings.warehouse
    return f"{pg['PGHOST']}:{pg.get('PGPORT', '5432')}, database {pg['PGDATABASE']}"


def _words(settings: Settings) -> list[str]:
    text = settings.caller.get("ARGS", "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"ARGS={text} cannot be read: {error}.") from None


def _deadline_minutes(settings: Settings) -> float:
    text = settings.caller.get("DEADLINE_MINUTES") or str(_DEADLINE_MINUTES)
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"DEADLINE_MINUTES={text} is not a number of minutes.") from None


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise _Interrupted(number)


@contextlib.contextmanager
def _unhurried() -> Iterator[None]:
    """Let only SIGKILL interrupt the cleanup: half a cleanup would leave processes."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
