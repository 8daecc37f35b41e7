"""A browser without a window, and how it prints a page."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import playwright.sync_api

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WAIT = 600_000  # milliseconds for the mathematics of the whole book, and for its printing
MARGIN = {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
FOOT = (
    '<div style="width:100%;font-size:8px;text-align:center;font-family:sans-serif">'
    '<span class="pageNumber"></span></div>'
)


def chromium() -> str:
    """Return the path of an installed Chromium or Chrome.

    Raises:
        SystemExit: there is none.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or sys.exit(f"none of these browsers is installed: {', '.join(NAMES)}")


@contextlib.contextmanager
def browser() -> Iterator["playwright.sync_api.Browser"]:
    """Start the browser, and end it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium())
        yield started
        started.close()


def print_page(page: Path, target: Path, browser: "playwright.sync_api.Browser") -> None:
    """Print an HTML file when its mathematics is set, tagged for screen readers, with outline."""
    context = browser.new_context(offline=True, color_scheme="light")
    opened = context.new_page()
    opened.set_default_timeout(WAIT)
    opened.goto(page.resolve().as_uri())
    opened.evaluate("() => MathJax.startup.promise.then(() => true)")
    opened.pdf(
        path=target, format="A4", margin=MARGIN, scale=0.8, tagged=True, outline=True,
        display_header_footer=True, header_template="<span></span>", footer_template=FOOT,
    )  # fmt: skip
    context.close()
