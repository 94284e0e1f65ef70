"""The variables of the caller that reach the programs, read from the programs' environment."""

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import HOSTILE, ROOT, local

from local import environment
from local.postgres import EmbeddedPostgres
from local.settings import Settings, SettingsError
from local.stack import Stack

OWN_SERVER = {"PGHOST": "db.example", "PGUSER": "me", "PGDATABASE": "shop"}
REAL_API = {
    "REPORT_API_URL": "https://shop.example",
    "REPORT_API_KEY": "theirs",
    "REPORT_API_NICKNAME": "me",
    "REPORT_API_COHORT": "9",
}


# Connect like the scheduler, and like the API server.
ASK_METADATA = """
import asyncio
from airflow import settings
from sqlalchemy import text

settings.configure_vars()
settings.configure_orm()
with settings.engine.connect() as session:
    one = session.scalar(text("select current_database()"))

async def ask():
    async with settings.AsyncSession() as session:
        return await session.scalar(text("select current_database()"))

print(one, asyncio.run(ask()))
"""


def test_of_a_hostile_shell_nothing_reaches_airflow_dbt_and_the_loader(tmp_path: Path) -> None:
    clean = Settings({"PATH": "/bin"}, state=tmp_path)
    hostile = Settings({"PATH": "/bin", **HOSTILE}, state=tmp_path)
    of_the_machine = {"LC_ALL", "TZ"}
    for_clean = Stack(clean).airflow.environment(schedule=False)
    for_hostile = Stack(hostile).airflow.environment(schedule=False)
    assert for_hostile.keys() - for_clean.keys() == of_the_machine
    # The list of hosts without a proxy may be longer, because there is no proxy.
    assert {n for n in for_clean if for_clean[n] != for_hostile[n]} == {"NO_PROXY", "no_proxy"}
    assert hostile.fingerprint == clean.fingerprint


def test_the_settings_of_the_readme_are_those_that_count(tmp_path: Path) -> None:
    table = (ROOT / "README.md").read_text().partition("## Your own servers")[2]
    cells = re.findall(r"^\| (`.*?) \|", table.partition("\n## ")[0], re.M)
    told = {name for cell in cells for name in re.findall(r"`([A-Z_]+)`", cell)}
    e = environment
    groups = (e.WAREHOUSE, e.DBT_ACCOUNT, e.REPORT_API, e.AIRFLOW_METADATA, e.LIMITS, [e.PAGE],
              e.ALERTS, e.METRICS, e.LINEAGE)  # fmt: skip
    assert told == {name for group in groups for name in group}
    caller = dict.fromkeys([*told, *e.LIBPQ], "5433") | REAL_API | {e.PAGE: "/pages/report.html"}
    assert caller.items() <= Settings(caller, state=tmp_path).for_programs().items()


def test_an_own_servers_settings_do_not_keep_airflow_from_its_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_a_session = ("PGDATESTYLE", "PGGEQO", "PGTZ")  # every server refuses nonsense in these
    disturbing = dict.fromkeys(set(environment.LIBPQ) - set(of_a_session), "nonsense") | {
        "PGCONNECT_TIMEOUT": "10",
        "PGGSSLIB": "gssapi",
        "PGSSLNEGOTIATION": "direct",
        "PGSSLROOTCERT": "system",
        "PGTARGETSESSIONATTRS": "standby",
    }
    for name, value in disturbing.items():
        monkeypatch.setenv(name, value)
    stack = Stack(Settings({"PATH": "/usr/bin:/bin", **OWN_SERVER}, state=tmp_path))
    with EmbeddedPostgres(tmp_path / "postgres", fsync=False) as postgres:
        postgres.create_database("airflow")
        with contextlib.closing(postgres.connect("airflow")) as connection:
            assert connection.info.dbname == "airflow"
        done = subprocess.run(
            [sys.executable, "-c", ASK_METADATA],
            env={**stack.airflow.environment(schedule=False), **disturbing},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.startswith("airflow airflow\n"), done.stderr


@pytest.mark.parametrize(
    "caller, refusal",
    [
        ({"PGHOST": "one,two"}, "PGHOST=one,two is a list: name one server."),
        ({"PGPORT": "5432,5433"}, "PGPORT=5432,5433 is a list: name one server."),
        ({"PGHOSTADDR": "::1,127.0.0.1"}, "PGHOSTADDR=::1,127.0.0.1 is a list: name one server."),
        ({"PGPORT": "postgres"}, "PGPORT=postgres is not a port number."),
        ({"PGPORT": "65536"}, "PGPORT=65536 is not a port number."),
    ],
)
def test_a_server_that_only_some_programs_would_find_is_refused(
    tmp_path: Path, caller: dict[str, str], refusal: str
) -> None:
    with pytest.raises(SettingsError) as error:
        Settings({**OWN_SERVER, **caller}, state=tmp_path).for_programs()
    assert str(error.value) == refusal


def test_an_empty_setting_is_an_unset_one(tmp_path: Path) -> None:
    table = [*environment.WAREHOUSE, *environment.DBT_ACCOUNT, *environment.REPORT_API,
             *environment.AIRFLOW_METADATA, *environment.LIMITS, *environment.LIBPQ,
             *environment.ALERTS, *environment.METRICS, *environment.LINEAGE,
             environment.PAGE, "HOME", "TMPDIR", "RECORDED", "TODAY"]  # fmt: skip
    empty = dict.fromkeys(table, "")
    assert Settings(empty, state=tmp_path).for_programs() == Settings({}, tmp_path).for_programs()
    theirs = {**OWN_SERVER, **REAL_API}
    with_empty = Settings({**empty, **theirs}, state=tmp_path)
    assert with_empty.for_programs() == Settings(theirs, state=tmp_path).for_programs()
    assert {"PGPORT", "PGSSLMODE"} <= set(with_empty.to_unset())


def test_a_proxy_is_for_the_real_service_only(tmp_path: Path) -> None:
    proxies = {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": "intra.example,[::1]"}
    here = Settings(proxies, state=tmp_path).for_programs()
    assert "HTTPS_PROXY" not in here
    out = Settings({**proxies, **REAL_API, "ALL_PROXY": "socks5://p"}, tmp_path).for_programs()
    assert out["HTTPS_PROXY"] == proxies["HTTPS_PROXY"]
    # Two programs of this machine use no proxy, and a proxy that no library can use is left out.
    assert out["NO_PROXY"] == out["no_proxy"] == "intra.example,127.0.0.1"
    assert "ALL_PROXY" not in out


@pytest.mark.parametrize(
    "way_out, refusal",
    [
        ({"ALL_PROXY": "socks5://me:secret@p:1"}, "is a socks5 one, which the loader cannot use"),
        ({"https_proxy": "socks4://p:1", "HTTPS_PROXY": "http://p:1"}, "is a socks4 one"),
        ({"SSL_CERT_FILE": "/nonexistent"}, "SSL_CERT_FILE=/nonexistent: there is no such file"),
    ],
)  # fmt: skip
def test_a_way_to_the_real_service_that_nobody_can_go_is_refused(
    tmp_path: Path, way_out: dict[str, str], refusal: str
) -> None:
    with pytest.raises(SettingsError, match=refusal) as error:
        Settings({**REAL_API, **way_out}, state=tmp_path).for_programs()
    assert "secret" not in str(error.value)
    # The stand-in needs no proxy, and neither does a service in NO_PROXY.
    Settings(way_out, state=tmp_path).for_programs()
    if "SSL_CERT_FILE" not in way_out:
        direct = {**REAL_API, **way_out, "NO_PROXY": "shop.example"}
        Settings(direct, state=tmp_path).for_programs()


def test_what_changes_the_programs_changes_the_fingerprint(tmp_path: Path) -> None:
    first = Settings({**OWN_SERVER, **REAL_API}, state=tmp_path)
    for changed in ({"MAX_REJECTED_SHARE": "0.5"}, {"PGSSLROOTCERT": "/ca"}, {"DBT_USER": "t"},
                    {"HTTPS_PROXY": "http://p:1"}):  # fmt: skip
        other = Settings({**first.caller, **changed}, state=tmp_path)
        assert other.fingerprint != first.fingerprint
    other = Settings({**first.caller, "TERM": "dumb", "PATH": "/elsewhere"}, state=tmp_path)
    assert other.fingerprint == first.fingerprint


def test_a_home_that_is_not_there_is_replaced(tmp_path: Path) -> None:
    there = environment.machine({"HOME": str(tmp_path)}, home=ROOT)
    assert there["HOME"] == str(tmp_path)
    assert environment.machine({"HOME": str(tmp_path / "gone")}, home=ROOT)["HOME"] in (
        str(Path("~").expanduser()), str(ROOT),
    )  # fmt: skip


def test_names_that_a_shell_cannot_unset_are_left_out_of_the_eval(tmp_path: Path) -> None:
    printed = local(tmp_path, "env", **{"PYTHON.THEIRS": "1", "PYTHONSTARTUP": "/theirs"})
    unset = [line for line in printed.stdout.splitlines() if line.startswith("unset")]
    assert unset == ["unset PYTHONSTARTUP"]
