"""The daily tasks of docs/runbook.md, done as the page says: it shows what its commands print."""

import doctest
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from known_shop import lines
from support import ROOT, command, run_command, write_orders

from local.postgres import EmbeddedPostgres
from shop_api.recorded import RecordedSource
from shop_api.server import serve
from shop_api.shop import Shop

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("runbook")]

RUNBOOK = ROOT / "docs" / "runbook.md"
KEY = "the key of the runbook's service"
TODAY = date(2024, 3, 3)
WEEK = [f"2024-02-{day}" for day in range(25, 30)] + ["2024-03-01", "2024-03-02"]


def transcript(section: str) -> list[tuple[str, str]]:
    """Return every command of the section and what the page says it prints.

    A command begins with `$` in an indented block, its further lines with `>`; `...` stands for
    what differs from run to run.
    """
    text = RUNBOOK.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("    $ "):
            found.append((line[6:], ""))
        elif line.startswith("    > "):
            found[-1] = (f"{found[-1][0]}\n{line[6:]}", "")
        elif line.startswith("    ") and found:
            found[-1] = (found[-1][0], found[-1][1] + line[4:] + "\n")
    assert found, section
    return found


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A warehouse on a server of its own: accounts belong to the whole server."""
    with (
        EmbeddedPostgres(tmp_path / "postgres", fsync=False) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in server.env().items():
            patch.setenv(name, value)
        run_command("alembic", "upgrade", "head")
        run_command("dbt", "run", "--empty")
        yield server


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Path]:
    """A report API that delivers the files of this folder."""
    folder = tmp_path / "deliveries"
    folder.mkdir()
    history = [line for day in ("2024-02-20", "2024-02-21") for line in lines(day)]
    write_orders(folder / f"report_{TODAY}__user_order_log.csv", history)
    for day in WEEK:
        # The service has one more column since this day.
        more = {"loyalty": "gold"} if day == "2024-03-02" else {}
        path = write_orders(folder / f"increment_{day}__user_order_log_inc.csv", lines(day))
        if more:
            header, *rows = path.read_text().splitlines()
            path.write_text("\n".join([f"{header},loyalty", *(f"{row},gold" for row in rows)]))
    shop = Shop(RecordedSource(folder), today=TODAY, api_key=KEY, running_seconds=0)
    with serve(shop) as url, pytest.MonkeyPatch.context() as patch:
        told = {"URL": url, "KEY": KEY, "NICKNAME": "runbook", "COHORT": "1"}
        for name, value in told.items():
            patch.setenv(f"REPORT_API_{name}", value)
        yield folder


def shell(warehouse: EmbeddedPostgres, folder: Path, words: str) -> str:
    """Run one command of the page; return what it prints."""
    programs = Path(command("python")[0]).parent
    done = subprocess.run(
        ["bash", "-c", words],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{programs}:{warehouse.bin_dir}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PSQLRC": os.devnull,
        },
        # Asks nobody: a password is read from the standard input.
        start_new_session=True,
        input="new password\nnew password\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return re.sub("[ \t]+$", "", done.stdout, flags=re.M)


def test_the_daily_tasks_print_what_the_page_shows(
    warehouse: EmbeddedPostgres, service: Path, tmp_path: Path
) -> None:
    # What the page has at hand: the file of a day, corrected.
    write_orders(tmp_path / "corrected.csv", lines("2024-02-27", seed=1))
    (tmp_path / "new_password").write_text("new password")
    same = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for words, expected in transcript("Daily tasks"):
        printed = shell(warehouse, tmp_path, words)
        right = doctest.OutputChecker().check_output(expected, printed, same)
        assert right, f"$ {words}\n{printed}\ninstead of\n{expected}"
