"""The built book as a browser sees it. `make test` builds it and names it in BOOK_HTML."""

import functools
import http.server
import os
import threading
from pathlib import Path

import pytest

BOOK = Path(os.environ.get("BOOK_HTML", "_build/smoke/html")).resolve()
CHAPTERS = sorted(p.relative_to(BOOK).as_posix() for p in BOOK.glob("notebooks/*.html"))
PAGES = [p.relative_to(BOOK).as_posix() for p in sorted(BOOK.rglob("*.html"))]
PAGES = [n for n in PAGES if not n.startswith("_static") and n != "index.html"]
# The pages of the package's source are made alike: the longest stands for all.
SOURCES = sorted(
    (n for n in PAGES if n.startswith("_modules/")), key=lambda n: (BOOK / n).stat().st_size
)
PAGES = [n for n in PAGES if n not in SOURCES[:-1]]


def pytest_collection_modifyitems(items):
    """Without a built book there is nothing to look at; `make test` builds one first."""
    if not (BOOK / "index.html").exists():
        assert not os.environ.get("CI"), f"no built book at {BOOK}"
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=f"no built book at {BOOK}: make test"))


class Watched:
    """A page of the browser that remembers what went wrong on it."""

    def __init__(self, context):
        self.page = context.new_page()
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", self._request)
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _request(self, request):
        if not request.url.startswith(("file:", "data:", "blob:", "http://127.0.0.1:")):
            self.outside.append(request.url)

    def open(self, address: str) -> "Watched":
        """Go to an address and wait until its mathematics is set."""
        self.page.goto(address)
        self.page.evaluate("() => window.MathJax?.startup?.promise")
        return self


@pytest.fixture(scope="session")
def contexts(browser):
    """The ways to look at pages, each made once: a new window takes seconds."""
    made = {}

    def context(dark: bool, phone: bool, scripts: bool, network: bool):
        wanted = dark, phone, scripts, network
        if wanted not in made:
            made[wanted] = browser.new_context(
                viewport={"width": 360, "height": 740} if phone else {"width": 1280, "height": 900},
                color_scheme="dark" if dark else "light",
                java_script_enabled=scripts,
                offline=not network,
            )
        return made[wanted]

    yield context
    for one in made.values():
        one.close()


@pytest.fixture
def opened(contexts):
    """A function that opens a page of the book from its folder, as a reader does."""
    pages = []

    def open_page(name: str, *, dark=False, phone=False, scripts=True):
        served = name.startswith("http:")
        watched = Watched(contexts(dark, phone, scripts, network=served))
        pages.append(watched.page)
        return watched.open(name if "://" in name else (BOOK / name).as_uri())

    yield open_page
    for page in pages:
        page.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def served():
    """The address of the book on a server, as on the web."""
    handler = functools.partial(_Quiet, directory=str(BOOK))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
