"""`describe`: a data card, printed as text or shown as Markdown in a notebook."""

import dataclasses
import html
from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from tutorial_lib.data import catalogue, download, loading
from tutorial_lib.data.catalogue import Counts, Entry
from tutorial_lib.data.provenance import provenance

if TYPE_CHECKING:
    import datasets


@dataclasses.dataclass(frozen=True)
class DataCard:
    """What to know of a data set before using it: `print` it, or end a notebook's cell with it.

    Attributes:
        name, title: the catalogue's name, and one line for people.
        facts: heading and sentence of each fact, in reading order.
        classes: the class names.
        splits: class counts of each split: the official ones, then the book's as `book: train`.
        quirks: what surprises a user, a sentence each.
    """

    name: str
    title: str
    facts: Mapping[str, str]
    classes: tuple[str, ...]
    splits: Mapping[str, Counts]
    quirks: tuple[str, ...]

    def _table(self) -> list[list[str]]:
        """Return the table of class counts: a row a class, a column a split."""
        columns = self.splits.values()
        head = ["class", *self.splits]
        body = [
            [name, *(f"{counts[label]:,}" for counts in columns)]
            for label, name in enumerate(self.classes)
        ]
        return [head, *body, ["rows", *(f"{sum(counts):,}" for counts in columns)]]

    def __str__(self) -> str:
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [f"{self.name}: {self.title}"]
        lines += [f"  {heading}: {fact}" for heading, fact in self.facts.items()]
        lines += [f"  - {quirk}" for quirk in self.quirks] + [""]
        for first, *rest in table:
            cells = [first.ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
            lines.append("  " + "  ".join(cells))
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        head, *body = self._table()
        lines = [f"**{_escaped(self.title)}** (`{self.name}`)", ""]
        lines += [f"- {heading}: {_escaped(fact)}" for heading, fact in self.facts.items()]
        lines += [f"- {_escaped(quirk)}" for quirk in self.quirks] + [""]
        lines += [_line(head), _line(["---"] + ["--:"] * (len(head) - 1))]
        return "\n".join(lines + [_line(row) for row in body])


def describe(name: str) -> DataCard:
    """Return the data card of a set; nothing is downloaded for it.

    Raises:
        DataError: there is no such set, or an environment variable is set wrongly.
    """
    if name in catalogue.EMBEDDED:
        return _embedded_card(import_module(f"tutorial_lib.data.{name}").dataset())
    entry = catalogue.entry(name)
    facts = {
        "Task": f"{entry.task}, {len(entry.classes)} classes",
        "Language": entry.language,
        "Found": _found(entry),
        "Known to be partial": _partial(entry),
        "Cite": f"{entry.citation} {entry.link}",
        "Terms": entry.terms,
        "Book split": _book(entry),
    }
    return DataCard(
        name=name,
        title=entry.title,
        facts={heading: fact for heading, fact in facts.items() if fact},
        classes=entry.classes,
        splits={**entry.splits, **{f"book: {split}": n for split, n in entry.book.items()}},
        quirks=entry.quirks,
    )


def _found(entry: Entry) -> str:
    prepared = loading.prepared_folder(entry.name)
    cached = loading.cache_root() / entry.name
    if prepared is not None and prepared.is_dir():
        return f"prepared, in {prepared}"
    try:
        if cached.is_dir():
            return f"in the cache, {cached}"
    except OSError as error:
        return f"not here, and the cache {cached} cannot be entered: {error.strerror or error}"
    if not loading.downloads_allowed():
        return "not here, and TUTORIAL_OFFLINE=1 forbids to download it"
    servers = sorted({"/".join(download.address(file).split("/")[:3]) for file in entry.files})
    number = "1 file" if len(entry.files) == 1 else f"{len(entry.files)} files"
    return f"not here; load downloads {number} from {', '.join(servers)}"


def _partial(entry: Entry) -> str:
    parts = [
        f"{split} with {sum(counts) if counts else 0:,} of {sum(entry.splits[split]):,} rows"
        for split, counts in entry.partial.items()
    ]
    return f"prepared copies may hold {', '.join(parts)}" if parts else ""


def _book(entry: Entry) -> str:
    if entry.book_sha256:
        return f"no repeats, nothing of test in train; SHA-256 {entry.book_sha256[:16]}…"
    return "made when the set is loaded; the complete set has not been counted"


def _embedded_card(data: "datasets.DatasetDict") -> DataCard:
    record = provenance(data)
    classes = next(iter(data.values())).features["label"].names
    counts = {split: Counter(rows["label"]) for split, rows in data.items()}
    return DataCard(
        name=record.name,
        title=record.title,
        facts={"Found": "embedded in the package", "SHA-256": f"{record.sha256[:16]}…"},
        classes=tuple(classes),
        splits={s: tuple(found[i] for i in range(len(classes))) for s, found in counts.items()},
        quirks=(),
    )


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(_escaped(cell).replace('|', '&#124;') for cell in cells)} |"
