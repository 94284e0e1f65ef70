"""A checkout stays its owner's after root has run a command in it."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import ROOT

# Another account can run this interpreter, which has this environment's packages.
PYTHON = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
SETPRIV = shutil.which("setpriv")


@pytest.fixture
def owner() -> pwd.struct_passwd:
    """The owner of a checkout: an account with a name, neither root nor `nobody`."""
    try:
        account = pwd.getpwnam("daemon")
        probe = as_(account, PYTHON, "-c", "import local.settings")
    except (KeyError, OSError):
        pytest.skip("only root can become somebody else, and not everywhere")
    if os.geteuid() != 0 or probe.returncode:
        pytest.skip("there is no interpreter here that root and others can run")
    return account


@pytest.fixture
def state(owner: pwd.struct_passwd) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        state = Path(folder) / ".local"
        state.mkdir()
        os.chown(state, owner.pw_uid, owner.pw_gid)
        yield state


def as_(account: pwd.struct_passwd, *command: str | Path) -> subprocess.CompletedProcess[str]:
    options = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    return as_root(SETPRIV or "setpriv", *options, *command)


def as_root(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": "/root", "PYTHONPATH": PACKAGES},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_root_does_in_somebodys_checkout_is_theirs(
    owner: pwd.struct_passwd, state: Path
) -> None:
    command = (PYTHON, "-m", "local", "down", "--state", state)
    shown = (PYTHON, "-m", "local", "env", "--state", state)
    for done in (as_root(*shown), as_root(*command), as_(owner, *shown), as_(owner, *command)):
        assert done.returncode == 0, done.stderr
    made = [state, *state.rglob("*")]
    assert {"lock", "settings.json"} <= {path.name for path in made}
    assert {path.stat().st_uid for path in made} == {owner.pw_uid}


def test_what_belongs_to_root_all_the_same_is_told_in_a_sentence(
    owner: pwd.struct_passwd, state: Path
) -> None:
    (state / "settings.json").touch(mode=0o600)
    done = as_(owner, PYTHON, "-m", "local", "env", "--state", state)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {state}/settings.json belongs to another user (root):"
        f" `sudo chown -R daemon {state}` gives it back.\n"
    )


def test_an_account_without_a_name_is_given_a_home_and_its_number(
    owner: pwd.struct_passwd, state: Path
) -> None:
    nameless = pwd.struct_passwd(("", "", 54321, 54321, "", "", ""))
    code = (
        "import json; from pathlib import Path; from local.environment import machine\n"
        "print(json.dumps(machine({}, Path('/h'))))"
    )
    done = as_(nameless, PYTHON, "-c", code)
    assert json.loads(done.stdout) == {"HOME": "/h", "PATH": os.defpath, "USER": "54321"}


def test_a_server_of_an_owner_without_a_name_gets_an_account_with_one(
    owner: pwd.struct_passwd, state: Path
) -> None:
    # A bind mount in a container may have such an owner; initdb refuses such an account.
    os.chown(state, 54321, 54321)
    code = (
        "import sys; from pathlib import Path; from local.postgres import EmbeddedPostgres\n"
        "folder = Path(sys.argv[1])\n"
        "with EmbeddedPostgres(folder / 'pg', fsync=False, account_of=folder) as pg:\n"
        "    print(pg.cluster.owner())"
    )
    done = as_root(PYTHON, "-c", code, state)
    assert done.stdout == "nobody\n", done.stderr
