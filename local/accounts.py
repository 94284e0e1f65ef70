"""Chooses the account that does the work if the caller is root.

In somebody's checkout the owner does the work, and can use the results afterwards. PostgreSQL
refuses to run as root, so its programs always get another account.
"""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

# Either capability lets another account's process pass through a folder that only root may enter.
# Containers often grant root only the second.
_TRAVERSE_CAPABILITIES = ("dac_read_search", "dac_override")


class AccountError(RuntimeError):
    """No account can run the programs; the text is one sentence for a person."""


def become_owner(folder: Path) -> None:
    """If this process is root, continue as the owner of `folder`.

    Stays root if the owner has no name on this machine or may not run this interpreter.
    """
    uid = folder.stat().st_uid
    if os.geteuid() != 0 or uid == 0:
        return
    try:
        account = pwd.getpwuid(uid)
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        subprocess.run(
            [sys.executable, "-I", "-c", ""],
            cwd=folder,
            user=uid,
            group=account.pw_gid,
            extra_groups=groups,
            capture_output=True,
            check=True,
        )
    except (KeyError, OSError, subprocess.CalledProcessError):
        return
    os.setgroups(groups)
    os.setgid(account.pw_gid)
    os.setuid(uid)
    os.environ.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)


def name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class ServerAccount:
    """Runs PostgreSQL's programs as an account that may: the caller, or if that is root another.

    Root's server runs as the owner of `account_of` or, if that is root too, as `nobody`. That
    account becomes the owner of `folder` and `log`; no folder above changes its mode or owner.
    """

    def __init__(self, folder: Path, *, log: Path, initdb: Path, account_of: Path) -> None:
        self._prefix: list[str] = []
        self.uid: int | None = None
        self.gid: int | None = None
        owner = folder.stat().st_uid
        if os.geteuid() != 0:
            if owner != os.geteuid():
                raise AccountError(
                    f"The database in {folder.parent} belongs to another user"
                    f" ({name_of(owner)}): run as that user, or remove the folder."
                )
            return
        # A cluster belongs to the account that made it.
        self.uid, self.gid = _account(owner) if owner else _account_of(account_of)
        self.give(folder)
        self.give(log)
        for way in self._ways():
            self._prefix = way
            if self._works(initdb, folder):
                return
        raise AccountError(
            f"PostgreSQL refuses to run as root, and the user {name_of(self.uid)} may not enter"
            f" {folder.parent}: run as an ordinary user, or move the project to a folder others"
            " may enter."
        )

    def give(self, path: Path) -> None:
        """Make the server's account the owner of `path`."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def run(self, command: list[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
        # With a prefix, setpriv itself changes the account: it must still be root to keep the
        # capability.
        changes = self.uid is not None and not self._prefix
        return subprocess.run(
            [*self._prefix, *command],
            cwd=cwd,
            # No other variable of the caller, which might point PostgreSQL's programs elsewhere.
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            user=self.uid if changes else None,
            group=self.gid if changes else None,
            extra_groups=[] if changes else None,
            umask=0o077,
        )

    def _ways(self) -> list[list[str]]:
        ways: list[list[str]] = [[]]
        setpriv = shutil.which("setpriv")
        if setpriv:
            for name in _TRAVERSE_CAPABILITIES:
                ways.append(
                    [setpriv, f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups",
                     f"--inh-caps=+{name}", f"--ambient-caps=+{name}",
                     # PostgreSQL asks access() whether its programs can be run; without this the
                     # kernel answers for the account alone, as if it had no capability.
                     "--securebits=+no_setuid_fixup"]
                )  # fmt: skip
        return ways

    def _works(self, initdb: Path, folder: Path) -> bool:
        """Return whether the account, launched so, can enter the folder and run the programs."""
        # --show makes initdb find the other programs and start one, without creating anything.
        probe = 'cd "$1" && exec "$2" --show -D "$1"'
        try:
            done = self.run(["/bin/sh", "-c", probe, "sh", str(folder), initdb], cwd=Path("/"))
        except OSError:
            return False
        return done.returncode == 0


def _account(uid: int) -> tuple[int, int]:
    try:
        return uid, pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid, uid


def _account_of(folder: Path) -> tuple[int, int]:
    """Return the owner of `folder`; `nobody` if that is root or has no name, which initdb needs."""
    uid = folder.stat().st_uid
    if uid and name_of(uid) != str(uid):
        return _account(uid)
    try:
        return _account(pwd.getpwnam("nobody").pw_uid)
    except KeyError:  # some images have no account `nobody`
        return _account(65534)
