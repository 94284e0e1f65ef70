"""Makes `.venv` from uv.lock: installs the pinned uv beside it, and lets uv do the rest.

local/bootstrap.sh calls it as `python -m local.install STAMP`. It needs venv or pip, and PyPI or a
package index that pip and uv are told of. It uses the standard library only, because nothing is
installed yet.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.accounts import become_owner, name_of
from local.environment import machine, named, proxies

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".local"
UV = STATE / "tools" / "bin" / "uv"
_PINNED = ROOT / "local" / "uv-requirements.txt"

# Where packages come from, and how. All other settings of pip and uv are for other projects.
_PACKAGES = (
    *("NETRC", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_DEFAULT_TIMEOUT", "PIP_EXTRA_INDEX_URL"),
    *("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_KEYRING_PROVIDER", "PIP_NO_INDEX", "PIP_PROXY"),
    *("PIP_RETRIES", "PIP_TIMEOUT", "PIP_TRUSTED_HOST"),
    *("UV_CONCURRENT_DOWNLOADS", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"),
    *("UV_HTTP_RETRIES", "UV_HTTP_TIMEOUT", "UV_INSECURE_HOST", "UV_KEYRING_PROVIDER"),
    *("UV_LINK_MODE", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS"),
)
# The files of pip and uv may name an index too. They are read only if an index is needed.
_FILES = ("PIP_CONFIG_FILE", "UV_CONFIG_FILE", "XDG_CONFIG_DIRS", "XDG_CONFIG_HOME")
_NO_FILES = {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "true"}

# The machine's certificates include those of a company's proxy; uv's own do not.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)

Command = Sequence[str | Path]


class InstallError(RuntimeError):
    """The environment cannot be installed; the text is one sentence for a person."""


def main(stamp: Path) -> int:
    """Make `.venv` agree with uv.lock, then write the stamp; return the exit status."""
    become_owner(ROOT)
    try:
        _install_uv(os.environ)
        _install_packages(os.environ, stamp)
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"error: {name_of(os.geteuid())} may not change {error.filename}.", file=sys.stderr)
        return 1
    return 0


def installing(caller: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of pip and uv, with which they read no file of the caller."""
    index = [name for name in caller if name.startswith("UV_INDEX")]
    return {
        "UV_SYSTEM_CERTS": str(any(Path(bundle).exists() for bundle in _BUNDLES)).lower(),
        **machine(caller, home=STATE),
        **proxies(caller),
        **named(caller, [*_PACKAGES, *index]),
        **_NO_FILES,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_USER": "0",
        "UV_CACHE_DIR": str(_cache(caller)),
        "UV_PYTHON_DOWNLOADS": "never",
    }


def _with_files(caller: Mapping[str, str]) -> dict[str, str]:
    env = {name: v for name, v in installing(caller).items() if name not in _NO_FILES}
    return {**env, **named(caller, _FILES)}


def _install_uv(caller: Mapping[str, str]) -> None:
    (pinned,) = re.findall(r"^uv==([0-9.]+)", _PINNED.read_text(), re.MULTILINE)
    env = installing(caller)
    if UV.exists() and pinned in _run([UV, "--version"], env).stdout.split():
        return
    print(f"Installing uv {pinned}", file=sys.stderr)
    tools = UV.parents[1]
    shutil.rmtree(tools, ignore_errors=True)
    STATE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE) as folder:
        # Debian has separate packages for venv and pip. Either is enough.
        python: Command = [Path(folder) / "bin" / "python"]
        if _run([sys.executable, "-E", "-m", "venv", folder], env).returncode:
            python = [sys.executable, "-E", "-s"]
            if _run([*python, "-m", "pip", "--version"], env).returncode:
                raise InstallError(
                    f"{sys.executable} has neither venv nor pip: install python3-venv or"
                    " python3-pip, or name another interpreter, as in"
                    " 'make PYTHON=/path/to/python3.12'."
                )
        install: Command = [
            *(*python, "-m", "pip", "install", "--quiet", "--no-input", "--only-binary", ":all:"),
            *("--require-hashes", "--target", tools, "-r", _PINNED),
        ]
        _first_that_works(
            ([install], _with_files(caller)),
            ([install], env),
            failure="uv could not be installed: PyPI must be reachable, or an index named in"
            " PIP_INDEX_URL",
        )


def _install_packages(caller: Mapping[str, str], stamp: Path) -> None:
    print("Installing the environment from uv.lock", file=sys.stderr)
    here = os.fsencode(ROOT)
    venv = ROOT / ".venv"
    # The programs in .venv name their interpreter by its path. So a .venv that was moved, copied or
    # never finished is made again.
    if venv.exists() and not (stamp.exists() and stamp.read_bytes() == here):
        shutil.rmtree(venv)
    python = ["--python", sys.executable]
    locked = STATE / "requirements.txt"
    sync: Command = [UV, "sync", "--quiet", "--frozen", "--compile-bytecode", *python]
    # `uv sync` fetches files from where the lock found them, whatever index it is told of.
    sync_from_index: list[Command] = [
        [UV, "export", "--quiet", "--frozen", "--no-emit-project", "--output-file", locked],
        [UV, "venv", "--quiet", "--allow-existing", *python, venv],
        [*(UV, "pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode"),
         # The lock has a hash of every file, so any of several indexes will do.
         *("--index-strategy", "unsafe-best-match", "--python", venv / "bin" / "python", locked)],
    ]  # fmt: skip
    _first_that_works(
        ([sync], installing(caller)),
        (sync_from_index, _with_files(caller)),
        failure="The environment could not be installed from uv.lock: PyPI must be reachable, or"
        " an index named in UV_DEFAULT_INDEX",
    )
    stamp.write_bytes(here)


def _cache(caller: Mapping[str, str]) -> Path:
    """Return the folder of uv's cache: the usual one or, if that cannot be written, one here."""
    home = machine(caller, home=STATE)["HOME"]
    caches = Path(caller.get("XDG_CACHE_HOME") or Path(home) / ".cache")
    folder = Path(caller.get("UV_CACHE_DIR") or caches / "uv")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            if all(os.access(entry, os.W_OK) for entry in folder.iterdir()):
                return folder
    except OSError:
        pass
    return STATE / "uv-cache"


def _first_that_works(*ways: tuple[Sequence[Command], Mapping[str, str]], failure: str) -> None:
    """Try ways (commands with an environment) in turn; if all fail, raise with their output."""
    said = []
    for commands, env in ways:
        for command in commands:
            done = _run(command, env)
            if done.returncode:
                said.append(done.stderr)
                break
        else:
            return
    print("".join(dict.fromkeys(said)), file=sys.stderr, end="")
    raise InstallError(f"{failure} (see above).")


def _run(command: Command, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, errors="replace", check=False
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
