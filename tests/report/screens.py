"""A page in the browser, as tests see it."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Screen:
    """A page in the browser. It keeps requests to the network and errors."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def text(self, selector: str) -> str:
        """Return the text in one line with plain spaces."""
        return " ".join(self.page.locator(selector).first.inner_text().split())

    def table(self, selector: str) -> list[list[str]]:
        """Return the cells of a table by rows; a bar precedes a cell's small print."""
        rows: list[list[str]] = self.page.eval_on_selector(
            selector, "table => [...table.rows].map(row => [...row.cells].map(c => c.innerText))"
        )
        return [[_plain(cell) for cell in row] for row in rows]

    def choose(self, **values: str) -> None:
        """Set filters by the texts of their options."""
        for name, label in values.items():
            self.page.locator(f"#{name}").select_option(label=label)


def _plain(cell: str) -> str:
    lines = (" ".join(line.split()) for line in cell.splitlines())
    return "|".join(line for line in lines if line)


Look = Callable[..., Screen]
