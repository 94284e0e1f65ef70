"""Draws the README's picture: `python tests/report/picture.py report.html report.png`."""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from screens import CHROMIUM, FLAGS

# The picture shows the head to the first items.
WIDTH, HEIGHT = 1200, 1232


def main(page_path: Path, picture: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(f"{page_path.resolve().as_uri()}#lang=en")
        page.screenshot(path=picture)
        browser.close()
    print(f"{picture}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
