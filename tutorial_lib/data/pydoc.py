"""The embedded corpus `pydoc`: real text that every Python has with it.

The documentation strings of the installed Python's standard library, labelled by the chapter
of the library reference in which their module stands. The source files are parsed and never
imported, so nothing runs. Another version of Python gives other rows; the data set's title
names the version.
"""

import ast
import hashlib
import inspect
import platform
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .errors import DatasetUnavailable
from .provenance import attach

if TYPE_CHECKING:
    import datasets

# Chapters of "The Python Standard Library" (docs.python.org/3/library) that have enough text,
# and their modules, of Python 3.10 to 3.13; "files" joins the four chapters on files, their
# formats, compression and persistence, "internet" the two on protocols. The graphical chapter
# is left out because some systems ship it apart.
CHAPTERS = {
    "data types": "datetime _pydatetime zoneinfo calendar collections _collections_abc heapq "
    "bisect weakref _weakrefset types copy pprint reprlib enum graphlib",
    "numbers": "numbers decimal _pydecimal fractions random statistics",
    "files": "pathlib posixpath ntpath genericpath stat filecmp tempfile glob fnmatch linecache "
    "shutil fileinput pickle copyreg shelve dbm sqlite3 gzip bz2 lzma zipfile tarfile "
    "_compression csv configparser tomllib netrc plistlib",
    "operating system": "os io _pyio argparse optparse getopt logging getpass curses platform "
    "ctypes",
    "concurrency": "threading _threading_local multiprocessing concurrent subprocess sched queue",
    "internet": "asyncio socket ssl selectors urllib http ftplib poplib imaplib smtplib nntplib "
    "telnetlib uuid socketserver xmlrpc ipaddress wsgiref webbrowser cgi cgitb",
    "internet data": "email json mailbox mailcap mimetypes base64 binhex quopri uu html xml",
    "development": "typing pydoc doctest unittest bdb pdb timeit trace cProfile profile pstats "
    "tracemalloc",
}
SKIPPED = {"test", "tests", "idlelib", "lib2to3", "site-packages", "__pycache__"}
SHORTEST = 5  # words
SHARED = 8  # texts with so many words in a row in common stay in one split


class Docstring(NamedTuple):
    """A cleaned documentation string, its chapter, and what it documents."""

    text: str
    chapter: str
    name: str


def dataset(*, seed: int = 0) -> "datasets.DatasetDict":
    """Return the documentation strings in the splits train, validation and test (80/10/10).

    A text's split hangs on a hash of it and the seed alone. Texts that share `SHARED` words in
    a row are in the same split; a text that occurs in two chapters is in none.

    Returns:
        Columns `text`, `label` (the chapter) and `name` (the dotted name of what the text
        documents).

    Raises:
        DatasetUnavailable: the standard library's source files are not installed.
    """
    import datasets

    rows = gather(_sources())
    splits: dict[str, list[Docstring]] = {"train": [], "validation": [], "test": []}
    for row, split in zip(rows, assign([row.text for row in rows], seed), strict=True):
        splits[split].append(row)
    features = datasets.Features(
        text=datasets.Value("string"),
        label=datasets.ClassLabel(names=list(CHAPTERS)),
        name=datasets.Value("string"),
    )
    tables = datasets.DatasetDict()
    for split, docs in splits.items():
        texts, chapters, names = zip(*docs, strict=True)
        columns = {"text": texts, "label": chapters, "name": names}
        tables[split] = datasets.Dataset.from_dict(
            columns, features=features, split=datasets.NamedSplit(split)
        )
    title = f"documentation strings of Python {platform.python_version()}, {len(rows):,} rows"
    return attach(tables, name="pydoc", title=title, source="embedded")


def gather(root: Path) -> list[Docstring]:
    """Return the distinct docstrings below a standard library's folder, in a fixed order.

    Doctest lines and the layout go, and what is left must have at least `SHORTEST` words.
    Texts that differ only in capitals, digits or punctuation count as one.

    Raises:
        DatasetUnavailable: the folder holds no source file of these chapters.
    """
    found: dict[tuple[str, ...], list[Docstring]] = {}
    for path, module, chapter in _modules(root):
        for name, doc in _docstrings(path, module):
            text = clean(doc)
            if len(text.split()) >= SHORTEST:
                key = _words(text)
                found.setdefault(key, []).append(Docstring(text, chapter, name))
    if not found:
        raise DatasetUnavailable(
            "pydoc", [f"{root}: it holds no source files of Python's standard library"]
        )
    return [docs[0] for docs in found.values() if len({doc.chapter for doc in docs}) == 1]


def clean(docstring: str) -> str:
    """Return the prose of a docstring in one line: no doctests, no indentation, no rulers."""
    lines = [line.strip() for line in inspect.cleandoc(docstring).splitlines()]
    prose = [line for line in lines if not re.match(r">>>|\.\.\.|[-=~*+|]{3,}", line)]
    return " ".join(" ".join(prose).split())


def assign(texts: list[str], seed: int) -> list[str]:
    """Return the split of each text; texts that share `SHARED` words in a row share a split."""
    leader = list(range(len(texts)))

    def find(i: int) -> int:
        while leader[i] != i:
            i = leader[i]
        return i

    owner: dict[tuple[str, ...], int] = {}
    for i, text in enumerate(texts):
        words = _words(text)
        for start in range(len(words) - SHARED + 1):
            other = find(owner.setdefault(words[start : start + SHARED], i))
            leader[find(i)] = other
    first: dict[int, str] = {}  # the alphabetically first text of each group
    for i, text in enumerate(texts):
        first[find(i)] = min(text, first.get(find(i), text))
    return [_split(first[find(i)], seed) for i in range(len(texts))]


def _split(text: str, seed: int) -> str:
    digest = hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
    tenth = int.from_bytes(digest[:8], "big") % 10
    return {8: "validation", 9: "test"}.get(tenth, "train")


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\W\d_]+", text.lower()))


def _sources() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _modules(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield path, dotted name and chapter of each source file of the chapters."""
    chapter_of = {m: chapter for chapter, names in CHAPTERS.items() for m in names.split()}
    for top in sorted(chapter_of):
        for path in sorted([root / f"{top}.py", *(root / top).rglob("*.py")]):
            parts = path.relative_to(root).with_suffix("").parts
            if path.is_file() and not SKIPPED.intersection(parts):
                yield path, ".".join(parts).removesuffix(".__init__"), chapter_of[top]


def _docstrings(path: Path, module: str) -> Iterator[tuple[str, str]]:
    """Yield dotted name and docstring of a module, its classes, functions and methods."""

    documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

    def walk(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Module | documented):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield name, docstring
        statements = (n for n in ast.iter_child_nodes(node) if not isinstance(n, ast.expr))
        for child in statements:
            inner = f"{name}.{child.name}" if isinstance(child, documented) else name
            yield from walk(child, inner)

    yield from walk(ast.parse(path.read_bytes(), filename=str(path)), module)
