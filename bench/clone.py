"""Measures `make run` in a fresh clone of the commit here, and everything that CI does."""

import os
import subprocess
import sys
from pathlib import Path

from bench.measure import ROOT, Sample, Side, of_program, scratch, take_turns

# Variables of the caller's shell, make and servers, which are not meant for a clone.
_NOT_PASSED_ON = ("AIRFLOW", "DBT_", "MAKE", "MFLAGS", "PG", "PYTHON", "REPORT_", "VIRTUAL_ENV")


def measure_run(*, quick: bool, rounds: int) -> dict[str, list[Sample]]:
    """Measure installing from the package cache, then `make run` with all that it starts."""
    with scratch() as folder:
        if quick:
            # The smallest command that starts a server and ends it, in this environment.
            clone = _clone(folder / "clone")
            (clone / ".venv").symlink_to(ROOT / ".venv")
            made = ("make", "--assume-old=.venv/.ready", "warehouse", "down")
            return take_turns({"run": Side(lambda _: _of_tree(clone, *made))}, 1)
        return take_turns(
            {
                "install": Side(
                    lambda n: _of_tree(_clone(folder / f"{n}"), "make", ".venv/.ready")
                ),
                "run": Side(lambda n: _of_tree(folder / f"{n}", "make", "run")),
            },
            min(rounds, 3),
        )


def measure_ci(*, quick: bool, rounds: int) -> dict[str, list[Sample]]:
    """Measure `.ci/run` once. Not in a quick round, which is a part of `.ci/run`."""
    if quick:
        return {}
    with scratch() as folder:
        clone = _clone(folder / "clone")
        return take_turns({"ci": Side(lambda _: _of_tree(clone, ".ci/run"))}, 1)


def _clone(folder: Path) -> Path:
    folder.parent.chmod(0o755)  # root's server runs as another account
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    return folder


def _of_tree(clone: Path, *command: str) -> Sample:
    """Run a command in the clone; count also processes that leave its session, like a server."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_PASSED_ON)}
    return of_program([sys.executable, "-m", "bench.measure", clone, *command], env=env)[0]
