"""A clone by a git that writes CRLF, as is usual with Windows."""

import shutil
import sys
from pathlib import Path

import pytest
from hostile import LINE_FOR_A_SHELL, ROOT, run


def git(folder: Path, *words: str | Path) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    done = run("git", "-C", folder, *who, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the files as they are here now, committed or not."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    source, clone = tmp_path / "source", tmp_path / "clone"
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(lambda name: (ROOT / name).is_file(), set(listed.split("\0"))):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    git(source, "init", "--quiet")
    git(source, "add", "--all")
    git(source, "commit", "--quiet", "--message", "as it is now")
    git(tmp_path, "clone", "--quiet", "--config", "core.autocrlf=true", source, clone)
    return clone


def test_everything_keeps_its_line_ends_and_runs(clone: Path, tmp_path: Path) -> None:
    # git reports the line ends of every file in the clone; a file that is no text has none.
    ends = [line.split() for line in git(clone, "ls-files", "--eol").splitlines()]
    assert {"w/lf"} < {in_folder for _, in_folder, *_ in ends} <= {"w/lf", "w/none", "w/-text"}
    # git sees no change either, which the next `commit --all` would commit.
    assert git(clone, "status", "--porcelain") == ""
    listed = run("make", cwd=clone)
    assert "warehouse" in listed.stdout
    refused = run(clone / "local" / "bootstrap.sh", tmp_path / "stamp", PYTHON="/nonexistent")
    assert refused.stderr.startswith("error: PYTHON=/nonexistent does not run")
    printed = run(sys.executable, "-m", "local", "env", "--state", tmp_path / "state", cwd=clone)
    lines = printed.stdout.splitlines()
    assert f"export PYTHONPATH={clone}" in lines, printed.stderr
    assert all(LINE_FOR_A_SHELL.match(line) for line in lines)
