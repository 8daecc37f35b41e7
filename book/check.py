"""What must hold of the built pages: all are there, none calls outside, every link has an end."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from sphinx_external_toc.parsing import parse_toc_yaml


def sources(root: Path) -> dict[str, Path]:
    """Return the source file of each page of the table of contents.

    Raises:
        SystemExit: a page has no source.
    """
    found = {}
    for page in parse_toc_yaml(root / "_toc.yml"):
        paths = [root / f"{page}{suffix}" for suffix in (".ipynb", ".md")]
        found[page] = next((path for path in paths if path.exists()), None)
    missing = [page for page, path in found.items() if path is None]
    if missing:
        raise SystemExit(f"_toc.yml names pages that do not exist: {', '.join(missing)}")
    return found


def faults(root: Path, html: Path) -> list[str]:
    """Return what is wrong with the built pages, one line each."""
    wanted = [html / f"{page}.html" for page in [*sources(root), "index"]]
    wrong = [f"{path.relative_to(html)} was not built" for path in wanted if not path.is_file()]
    pages = [path for path in sorted(html.rglob("*.html")) if "_static" not in path.parts]
    read = {path.resolve(): _Page(path) for path in pages}
    for path, page in read.items():
        name = path.relative_to(html.resolve())
        wrong += [f"{name} fetches {address}" for address in page.outside]
        wrong += [f"{name} links to {link}, which is not there" for link in page.broken(read)]
        wrong += [f"{name} has a picture without a text alternative"] * page.pictures_without_alt
        wrong += [f"{name} has two parts named {one}" for one in page.twice]
    return wrong


class _Page(HTMLParser):
    """Collects what a page is made of.

    Attributes:
        outside: outside addresses that a browser fetches by itself; `<a href>` is not one.
        inside: addresses within the book, of links and of what is fetched.
        names: what a link can lead to.
        twice: names that stand at two parts.
        pictures_without_alt: how many.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path = path.resolve()
        self.outside: list[str] = []
        self.inside: list[str] = []
        self.names: set[str] = set()
        self.twice: list[str] = []
        self.pictures_without_alt = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        fetched = [given.get(name) for name in ("src", "srcset", "data", "poster")]
        if tag == "link" and "canonical" not in (given.get("rel") or ""):
            fetched.append(given.get("href"))
        links = [given.get("href")] if tag == "a" else []
        for address in filter(None, fetched + links):
            if not re.match(r"(https?|mailto|data|javascript):|//", address):
                self.inside.append(address)
            elif address in fetched and re.match("https?:|//", address):
                self.outside.append(address)
        if "id" in given:
            self.twice += [given["id"]] if given["id"] in self.names else []
            self.names.add(given["id"])
        if tag == "img" and given.get("alt") is None:
            self.pictures_without_alt += 1

    def broken(self, read: dict[Path, "_Page"]) -> list[str]:
        """Return the addresses within the book that lead nowhere."""
        found = []
        for address in self.inside:
            file, _, name = address.partition("#")
            target = self.path.parent / unquote(file.partition("?")[0]) if file else self.path
            target = target.resolve()
            there = read.get(target)
            missing = there and name and unquote(name) not in there.names
            if missing or not target.exists():
                found.append(address)
        return found
