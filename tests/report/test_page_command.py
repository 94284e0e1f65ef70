"""The command that writes the page: from the marts alone, whole or not at all."""

import base64
import hashlib
import json
import re
import resource
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
import shops
from support import DATABASE, ROOT, Dbt, Warehouse, command, run_command

from migrations.roles import create_roles
from report import marts, page

READER = f"{DATABASE}_reader"


@pytest.fixture
def week(warehouse: Warehouse, dbt: Dbt, tmp_path: Path) -> Warehouse:
    """A warehouse with one week in it."""
    shops.one_week(shops.Shop(warehouse, dbt, tmp_path))
    return warehouse


@pytest.fixture
def reader(week: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every connection use the reader's account."""
    create_roles()
    week.query(f"alter role {READER} password 'of the reader'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGUSER", READER)
        patch.setenv("PGPASSWORD", "of the reader")
        yield
    transformer, loader = f"{DATABASE}_transformer", f"{DATABASE}_loader"
    week.query(
        "drop view mart.d_customer_masked;"
        f"reassign owned by {transformer} to current_user;"
        f"drop owned by {loader}; drop owned by {transformer}; drop owned by {READER};"
        f"drop role {loader}, {transformer}, {READER};"
    )


def test_the_command_writes_the_page(week: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "report.html"
    done = run_command("python", "-m", "report", "--output", str(path))
    assert done.stdout == f"{path}: {path.stat().st_size:,} bytes\n"
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]
    assert path.stat().st_mode & 0o777 == 0o644
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and text.endswith("</html>")


def test_the_reader_sees_the_same_page(week: Warehouse, request: pytest.FixtureRequest) -> None:
    owner = shops.render()
    request.getfixturevalue("reader")
    assert week.value("select current_user") == READER
    assert shops.render() == owner


def test_no_customer_is_named(week: Warehouse) -> None:
    content = shops.render()
    names = week.query("select first_name, last_name from mart.d_customer")
    assert names
    assert not [name for pair in set(names) for name in pair if name in content]


def test_marts_that_are_not_there_are_a_sentence_and_leave_the_old_page(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text("the old page")
    warehouse.query("alter table mart.f_customer_retention rename to elsewhere")
    done = run_command("python", "-m", "report", "--output", str(path), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r'error: the warehouse is not prepared \(make warehouse\): relation "mart\.\w+" does not'
        r" exist\n",
        done.stderr,
    )
    assert path.read_text() == "the old page"


def test_a_page_that_does_not_fit_on_the_disk_leaves_the_old_one(
    week: Warehouse, tmp_path: Path
) -> None:
    path = tmp_path / "pages" / "report.html"
    path.parent.mkdir()
    path.write_text("the old page")
    limit = 20_000  # in bytes; the page is larger
    done = subprocess.run(
        command("python", "-m", "report", "--output", str(path)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert (done.returncode, done.stderr) == (1, "error: [Errno 27] File too large\n")
    assert path.read_text() == "the old page"
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]


def test_the_page_is_one_snapshot(week: Warehouse) -> None:
    """The page never shows half of a run that commits while it is read."""
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    with closing(week.connect()) as run, ThreadPoolExecutor() as pool:
        run.cursor().execute("lock table mart.f_item_cohort; delete from mart.f_item_cohort")
        reading = pool.submit(marts.read)
        while not week.value(waiting):
            assert not reading.done(), "the page does not read mart.f_item_cohort"
            time.sleep(0.01)
        run.commit()
        read = reading.result()
    assert sum(read.shop.first_customers) > 0
    assert sum(read.all_items.first_customers) > 0


def test_the_policy_names_the_script_and_the_style_of_the_page(week: Warehouse) -> None:
    week.query("update mart.d_item set item_name = '</script><b>&'")
    content = shops.render()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', content)
    for tag in ("script", "style"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", content, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    # The data cannot end their HTML element.
    (data,) = re.findall(r'id="data">(.*?)</script>', content, re.DOTALL)
    assert not set("<>&") & set(data)
    assert json.loads(data)["items"][0]["name"] == "</script><b>&"


def test_both_languages_say_the_same() -> None:
    room = Path(page.__file__).parent
    texts = json.loads((room / "texts.json").read_text(encoding="utf-8"))

    def places(text: Any) -> Any:
        forms = [text] if isinstance(text, str) else [*text.values()]
        return {
            frozenset(name for _, name, *_ in Formatter().parse(form) if name) for form in forms
        }

    english, russian = ({k: v for k, v in texts[lang].items() if k != "defs"} for lang in texts)
    assert english.keys() == russian.keys()
    for key, text in english.items():
        assert places(text) == places(russian[key]), key
        if isinstance(text, dict):
            assert set(text) == {"one", "other"}
            assert set(russian[key]) == {"one", "few", "many", "other"}
    assert len(texts["en"]["defs"]) == len(texts["ru"]["defs"])
    # All texts are used, and no text is missing.
    files = [*room.glob("script/*.js"), room / "totals.py", room / "page.html.j2"]
    written = "".join(file.read_text(encoding="utf-8") for file in files)
    names = {key.removesuffix("Item") for key in english}
    unused = [name for name in names if not re.search(rf"\b{name}\b", written)]
    assert unused == []
