"""The Makefile: its list of targets, and its output."""

import re
import subprocess
from pathlib import Path

import pytest
from hostile import LINE_FOR_A_SHELL, ROOT, make, run

# The targets that users and CI call.
PROMISED = [
    "run", "warehouse", "up", "down", "env", "load", "dbt", "docs", "doctor", "prove", "takeover",
    "report", "roles", "test", "test-faults", "test-report", "test-workers", "test-image", "bench",
    "lint", "fmt", "audit", "clean",
]  # fmt: skip


def listed() -> list[str]:
    return [line.split()[0] for line in make().stdout.splitlines()]


def test_make_alone_lists_every_target_in_one_line_each() -> None:
    done = make()
    assert (done.returncode, done.stderr) == (0, "")
    assert set(PROMISED) <= set(listed())
    for line in done.stdout.splitlines():
        name, explanation = re.split(r"\s{2,}", line, maxsplit=1)
        assert name and len(explanation) > 5 and len(line) <= 100


def test_every_phony_target_has_a_line_and_a_rule() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert len(phony) == 1
    assert sorted(phony[0].split()) == sorted(listed())
    for target in listed():
        assert make("--dry-run", target).returncode == 0, target


def test_targets_that_need_the_environment_make_it_first() -> None:
    text = (ROOT / "Makefile").read_text()
    for target in set(listed()) - {"help", "clean"}:
        assert re.search(rf"^{target}: \$\(READY\)", text, re.MULTILINE), target


def test_the_callers_python_settings_do_not_reach_the_commands(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('somebody else\\'s module')")
    printed = make("-s", "env", PYTHONPATH=str(tmp_path), VIRTUAL_ENV="/theirs")
    assert printed.returncode == 0, printed.stderr
    assert all(LINE_FOR_A_SHELL.match(line) for line in printed.stdout.splitlines())
    assert "unset VIRTUAL_ENV" not in printed.stdout
    assert f"export PYTHONPATH={ROOT}" in printed.stdout.splitlines()


@pytest.mark.parametrize("flags", [["-w"], ["-C", str(ROOT)], ["MAKEFLAGS=w"]])
def test_make_itself_says_nothing_into_the_eval(flags: list[str]) -> None:
    env = {"MAKEFLAGS": "w"} if flags == ["MAKEFLAGS=w"] else {}
    printed = make(*([] if env else flags), "env", **env)
    assert printed.returncode == 0, printed.stderr
    assert len(printed.stdout.splitlines()) > 10
    assert all(LINE_FOR_A_SHELL.match(line) for line in printed.stdout.splitlines())


# Replaces the command and prints its environment.
SHOW = "LOCAL=sh -c env"


def test_settings_of_makes_command_line_count_there_only() -> None:
    names = ["ARGS", "DATE", "DEADLINE_MINUTES", "PYTHON", "RECORDED", "TODAY"]
    by_chance = make("-s", "load", SHOW, **dict.fromkeys(names, "by chance"))
    assert "by chance" not in by_chance.stdout and "PATH=" in by_chance.stdout
    meant = make("-s", "load", SHOW, *(f'{name}=it\'s "meant"' for name in names))
    assert {f'{name}=it\'s "meant"' for name in names} <= set(meant.stdout.splitlines())


@pytest.mark.parametrize("path, remade", [(str(ROOT), False), (f"{ROOT} copied", True)])
def test_a_moved_or_copied_environment_is_remade(tmp_path: Path, path: str, remade: bool) -> None:
    stamp = tmp_path / "ready"
    stamp.write_text(path)
    planned = run("make", "--dry-run", "down", f"READY={stamp}").stdout
    assert (f"local/bootstrap.sh {stamp}" in planned) is remade


@pytest.mark.parametrize("target", ["roles", "takeover"])
def test_refused_settings_stop_what_would_use_them(target: str) -> None:
    done = make("-s", target, PGHOST="server.invalid", PGUSER="", PGDATABASE="")
    assert (done.returncode, done.stdout) == (2, "")
    refused, make_itself = done.stderr.splitlines()
    assert refused == "error: PGHOST is set, so PGUSER and PGDATABASE must be set too."
    assert make_itself.startswith("make: ***")


def test_a_bad_interpreter_is_refused_in_a_sentence(tmp_path: Path) -> None:
    # Like a pyenv shim for a version that nobody has chosen.
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\necho 'pyenv: version not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    done = subprocess.run(
        [ROOT / "local" / "bootstrap.sh", tmp_path / "stamp"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(shim)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"error: PYTHON={shim} does not run, or is not Python 3.11, 3.12 or 3.13.\n"
    )
