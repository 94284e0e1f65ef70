"""Installing `.venv` from a small lock file and package indexes of the test."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
from hostile import HOSTILE, ROOT

from local.install import UV

# Nothing answers there.
NO_PYPI = {"HTTPS_PROXY": "http://127.0.0.1:9", "UV_HTTP_RETRIES": "0", "PIP_RETRIES": "0"}


def wheel(index: Path, name: str, version: str, scripts: dict[str, str]) -> str:
    """Write a wheel that holds only commands; return its hash in the form of requirements."""
    index.mkdir(exist_ok=True)
    dist = f"{name}-{version}"
    files = {f"{dist}.data/scripts/{script}": text for script, text in scripts.items()} | {
        f"{dist}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{dist}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{dist}.dist-info/RECORD"
    files[record] = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in files.items())
    path = index / f"{dist}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            file = zipfile.ZipInfo(member)
            file.external_attr = 0o100755 << 16
            archive.writestr(file, text + f"{record},,\n" if member == record else text)
    digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    # The same wheel in a package index.
    page = index / "simple" / name.replace("_", "-") / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="../../{path.name}#{digest.replace(":", "=")}">{path.name}</a>')
    return digest


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with two packages in its lock, and beside it the folder `index` with them."""
    checkout, index = tmp_path / "a checkout", tmp_path / "index"
    local = checkout / "local"
    local.mkdir(parents=True)
    for path in (*(ROOT / "local").glob("*.py"), ROOT / "local" / "bootstrap.sh"):
        shutil.copy2(path, local)
    # The uv of these tests, with the name of the pinned one.
    pinned = re.findall(r"^uv==([\d.]+)", (ROOT / "local/uv-requirements.txt").read_text(), re.M)[0]
    uv = wheel(index, "uv", pinned, {"uv": f'#!/bin/sh\nexec "{UV}" "$@"\n'})
    (local / "uv-requirements.txt").write_text(f"uv=={pinned} --hash={uv}\n")
    wheel(index, "probe_for_all", "1.0", {"probe": "#!python\nprint('found')\n"})
    wheel(index, "probe_for_tests", "1.0", {"probe-tests": "#!python\nprint('found')\n"})
    ours = (ROOT / "pyproject.toml").read_text()
    groups: dict[str, list[str]] = {name: [] for name in tomllib.loads(ours)["dependency-groups"]}
    groups["dev"] = ["probe-for-tests"]
    (checkout / "pyproject.toml").write_text(
        '[project]\nname = "small"\nversion = "1"\nrequires-python = ">=3.11,<3.14"\n'
        'dependencies = ["probe-for-all"]\n'
        "[dependency-groups]\n"
        + "".join(f"{name} = {packages}\n" for name, packages in groups.items())
        + ours[ours.index("[tool.uv]") : ours.index("[tool.alembic]")]
    )
    subprocess.run(
        [UV, "lock", "--quiet", "--no-config", "--default-index", f"{index.as_uri()}/simple"],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "UV_CACHE_DIR": str(tmp_path / "cache")},
        check=True,
    )
    return checkout


def bootstrap(checkout: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["local/bootstrap.sh", ".venv/.ready"],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "HOME": str(checkout.parent), **NO_PYPI, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def with_uv(checkout: Path) -> Path:
    """Give a test a ready uv, so that it need not install one."""
    uv = checkout / ".local" / "tools" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.symlink_to(UV)
    return checkout


def commands(checkout: Path) -> list[str]:
    """Return the packages' commands that run."""
    made = sorted((checkout / ".venv" / "bin").glob("probe*"))
    return [path.name for path in made if subprocess.check_output([path], text=True) == "found\n"]


def test_other_projects_settings_do_not_change_what_is_installed(checkout: Path) -> None:
    home = checkout.parent
    (home / ".config" / "uv").mkdir(parents=True)
    (home / ".config" / "uv" / "uv.toml").write_text('required-version = "==0.0.1"\noffline = true')
    (home / ".config" / "pip").mkdir()
    (home / ".config" / "pip" / "pip.conf").write_text(
        f"[global]\nno-index = true\nfind-links = {home}/index\nuser = true\ntarget = {home}/theirs"
    )
    # A workspace that would include every folder.
    (home / "pyproject.toml").write_text(
        '[project]\nname = "theirs"\nversion = "1"\n[tool.uv.workspace]\nmembers = ["*"]\n'
    )
    env = {**HOSTILE, "XDG_CACHE_HOME": "/dev/null/cache", "UV_NO_DEFAULT_GROUPS": "1"}
    # make does not pass on a PYTHON from the environment.
    done = bootstrap(checkout, **{**env, "PYTHON": ""})
    assert done.returncode == 0, done.stderr
    assert commands(checkout) == ["probe", "probe-tests"]
    assert (checkout / ".venv" / ".ready").read_text() == str(checkout)
    assert not (home / "theirs").exists() and not (home / ".local").exists()
    # The usual folder of the cache cannot be written.
    assert (checkout / ".local" / "uv-cache").is_dir()


@pytest.mark.parametrize(
    "told",
    [
        {"UV_DEFAULT_INDEX": "{index}"},
        {"uv.toml": '[[index]]\nurl = "{index}"\ndefault = true'},
    ],
    ids=["by a variable", "in uv.toml"],
)
def test_another_index_is_asked_where_the_lock_leads_nowhere(
    checkout: Path, told: dict[str, str]
) -> None:
    index = checkout.parent / "a company's index"
    (checkout.parent / "index").rename(index)
    env = {name: text.format(index=f"{index.as_uri()}/simple") for name, text in told.items()}
    folder = checkout.parent / ".config" / "uv"
    folder.mkdir(parents=True)
    (folder / "uv.toml").write_text(env.pop("uv.toml", ""))
    done = bootstrap(with_uv(checkout), **env)
    assert done.returncode == 0, done.stderr
    assert commands(checkout) == ["probe", "probe-tests"]


def test_where_nobody_answers_all_that_was_tried_is_told(checkout: Path) -> None:
    shutil.rmtree(checkout.parent / "index")
    done = bootstrap(with_uv(checkout))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: The environment could not be installed from uv.lock: PyPI must be reachable, or an"
        " index named in UV_DEFAULT_INDEX (see above)."
    )
    assert not (checkout / ".venv" / ".ready").exists()


def test_a_moved_checkout_is_repaired(checkout: Path) -> None:
    assert bootstrap(with_uv(checkout)).returncode == 0
    moved = checkout.rename(checkout.with_name("moved"))
    with pytest.raises((OSError, subprocess.CalledProcessError)):
        commands(moved)
    assert bootstrap(moved).returncode == 0
    assert commands(moved) == ["probe", "probe-tests"]
