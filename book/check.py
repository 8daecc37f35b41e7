"""What must hold of the built pages: each page of the contents is there, none calls outside."""

from html.parser import HTMLParser
from pathlib import Path

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
    for path in sorted(html.rglob("*.html")):
        reader = _Fetches()
        reader.feed(path.read_text(encoding="utf-8"))
        wrong += [f"{path.relative_to(html)} fetches {address}" for address in reader.outside]
    return wrong


class _Fetches(HTMLParser):
    """Collects the outside addresses that a browser fetches by itself; `<a href>` is not one."""

    def __init__(self):
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        addresses = [given.get(name) for name in ("src", "srcset", "data", "poster")]
        if tag == "link" and "canonical" not in (given.get("rel") or ""):
            addresses.append(given.get("href"))
        for address in filter(None, addresses):
            if address.startswith(("http:", "https:", "//")):
                self.outside.append(address)
