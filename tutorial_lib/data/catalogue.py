"""What is known of each data set, before any of it is here (`catalogue.json`)."""

import dataclasses
import difflib
import functools
import json
from collections.abc import Mapping
from importlib import resources

from tutorial_lib.data.errors import DataError

EMBEDDED = ("reviews", "pydoc")

Counts = tuple[int, ...]  # rows of each class, in the order of the class names


@dataclasses.dataclass(frozen=True)
class File:
    """One original file: its pinned address and how to know it.

    Exactly one hash is given: `git_blob_sha1` is git's name for the content, the SHA-1 of
    `blob <size>`, a NUL byte and the content.
    """

    url: str
    sha256: str = ""
    md5: str = ""
    git_blob_sha1: str = ""
    bytes: int | None = None

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One data set of the catalogue.

    Attributes:
        splits: class counts of each official split (`full` where there is only one).
        partial: splits that are known to be had in part only, from other sources than the
            publisher's: their class counts, or None where the split is missing altogether.
        book, book_sha256: class counts of the book's split and the hash of its rows
            (`provenance.fingerprint`); empty where the complete set could not be had to count.
    """

    name: str
    title: str
    task: str
    language: str
    classes: tuple[str, ...]
    splits: Mapping[str, Counts]
    citation: str
    link: str
    terms: str
    quirks: tuple[str, ...]
    files: tuple[File, ...]
    book: Mapping[str, Counts] = dataclasses.field(default_factory=dict)
    book_sha256: str = ""
    partial: Mapping[str, Counts | None] = dataclasses.field(default_factory=dict)

    def missing(self, found: Mapping[str, Counts]) -> str:
        """Compare class counts with the catalogue's; return what is missing, in words.

        The answer is empty for a complete set; a set that is partial in another way than the
        known one is an error.

        Raises:
            DataError: the rows or class counts of a split differ from the catalogue's.
        """
        words = []
        for split, published in self.splits.items():
            counts = found.get(split)
            if counts == published:
                continue
            if split not in self.partial or counts != self.partial[split]:
                raise DataError(
                    f"{self.name}, split {split}: class counts are "
                    f"{list(counts) if counts else 'missing'}, the catalogue's {list(published)}"
                )
            rows = (
                f"{sum(counts):,} of {sum(published):,}"
                if counts
                else f"none of {sum(published):,}"
            )
            words.append(f"{split} has {rows} rows")
        return "; ".join(words)


@functools.cache
def _entries() -> dict[str, Entry]:
    text = resources.files("tutorial_lib.data").joinpath("catalogue.json").read_text("utf-8")
    return {name: _entry(name, **facts) for name, facts in json.loads(text).items()}


def _entry(name: str, **facts) -> Entry:
    for key in ("splits", "book", "partial"):
        facts[key] = {
            split: None if counts is None else tuple(counts)
            for split, counts in facts.get(key, {}).items()
        }
    facts["files"] = tuple(File(**file) for file in facts["files"])
    return Entry(name=name, **facts | {key: tuple(facts[key]) for key in ("classes", "quirks")})


def names() -> list[str]:
    """Return the names that `load` knows: the catalogue's, then the embedded corpora's."""
    return [*_entries(), *EMBEDDED]


def entry(name: str) -> Entry:
    """Return a set's entry in the catalogue.

    Raises:
        DataError: there is no such set; the message gives the nearest names.
    """
    if name in _entries():
        return _entries()[name]
    near = difflib.get_close_matches(name.lower(), names(), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names())}"
    raise DataError(f"there is no data set {name!r}: {hint}")
