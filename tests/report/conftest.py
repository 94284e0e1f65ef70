"""Pages of shops in every state, and a real browser to open them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import shops
from playwright.sync_api import Browser, sync_playwright
from screens import CHROMIUM, FLAGS, Look, Screen
from support import Dbt, Warehouse, database

from local.postgres import EmbeddedPostgres


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"Chromium is not installed at {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


PageOf = Callable[[str], Path]


@pytest.fixture(scope="session")
def page_of(
    server: EmbeddedPostgres,
    template: str,
    dbt_parsed: Dbt,
    tmp_path_factory: pytest.TempPathFactory,
) -> PageOf:
    """Return a function that makes the page of a shop in the named state, once."""
    folder = tmp_path_factory.mktemp("pages")

    def make(state: str) -> Path:
        path = folder / f"{state}.html"
        if not path.exists():
            with database(server, template) as warehouse:
                shops.STATES[state](shops.Shop(warehouse, dbt_parsed, folder))
                path.write_text(shops.render(), encoding="utf-8")
        return path

    return make


@pytest.fixture(scope="module")
def demo_warehouse(
    server: EmbeddedPostgres,
    template: str,
    dbt_parsed: Dbt,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Warehouse]:
    """The demo's warehouse, kept while a module compares the page with its SQL."""
    with database(server, template) as warehouse:
        shops.demo(shops.Shop(warehouse, dbt_parsed, tmp_path_factory.mktemp("demo")))
        yield warehouse


@pytest.fixture
def look(browser: Browser, page_of: PageOf) -> Iterator[Look]:
    """Open the page of a state, or a file; at the end check for requests and errors."""
    with ExitStack() as stack:
        screens = []

        def open_page(
            what: str | Path, *, width: int = 1280, lang: str = "en", **options: Any
        ) -> Screen:
            path = what if isinstance(what, Path) else page_of(what)
            context = browser.new_context(
                viewport={"width": width, "height": 900}, locale=lang, **options
            )
            stack.callback(context.close)
            screens.append(screen := Screen(context.new_page()))
            screen.page.goto(f"{path.as_uri()}#lang={lang}")
            return screen

        yield open_page
        for screen in screens:
            assert screen.complaints == []
            assert {url.split(":")[0] for url in screen.requests} == {"file"}
