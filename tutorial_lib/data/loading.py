"""`load`: a data set by name, from the first place that has it."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from tutorial_lib.data import catalogue, download, reviews
from tutorial_lib.data.catalogue import Entry
from tutorial_lib.data.errors import DataError, DatasetUnavailable
from tutorial_lib.data.parse import PARSERS
from tutorial_lib.data.provenance import Provenance, attach, provenance
from tutorial_lib.data.rows import Rows, read_folder, split_path, to_datasets, write_folder
from tutorial_lib.data.splits import book_split

if TYPE_CHECKING:
    import datasets

LOCK_SECONDS = 1800


class Found(NamedTuple):
    """The official splits of a set, where they came from, and what is missing (in words)."""

    splits: dict[str, Rows]
    source: str
    partial: str


def load(
    name: str,
    *,
    splits: Literal["book", "official"] = "book",
    offline: str | None = None,
) -> "datasets.DatasetDict":
    """Return a data set with columns `text` and `label` (a `ClassLabel`).

    Looks in this order: prepared Parquet in the folder `TUTORIAL_DATA`
    (`<name>/<split>.parquet`, but `all.parquet` for `full` and `dev.parquet` for
    `validation`); the user's cache (`TUTORIAL_CACHE`, or the system's place for
    caches); a download from the catalogue's pinned addresses, unless `TUTORIAL_OFFLINE` is 1;
    the embedded corpus that `offline` names. What was found is checked against the catalogue:
    its class counts, and for `splits="book"` of a complete set the hash of its rows;
    a partial set or a stand-in is said in one printed line, and `provenance` of the result
    tells it to figures and recorded runs.

    Args:
        name: one of `names()`.
        splits: `book` gives train, validation and test, ready to use: see
            `splits.book_split`. `official` gives the publisher's rows under the publisher's
            split names (`full` where there is only one). An embedded corpus has one split.
        offline: the embedded corpus to use in the set's place where it cannot be had: `reviews`,
            `pydoc`, or reviews of one domain only, such as `reviews/film`.

    Raises:
        DataError: unknown name; `TUTORIAL_DATA` is not a folder or its copy is not what the
            catalogue describes.
        DatasetUnavailable: no place has it; the message says what failed where.
    """
    if splits not in ("book", "official"):
        raise DataError(f'splits is {splits!r}; it can be "book" or "official"')
    stand_ins = *catalogue.EMBEDDED, *(f"reviews/{domain}" for domain in reviews.DOMAINS)
    if offline not in (None, *stand_ins):
        raise DataError(f"offline is {offline!r}; it can be one of {stand_ins}")
    if name in catalogue.EMBEDDED:
        return _embedded(name)
    entry = catalogue.entry(name)
    try:
        found = _find(entry)
    except DatasetUnavailable as error:
        if offline is None:
            raise
        return _stand_in(offline, error)
    partial = found.partial
    if partial and splits == "book" and len(found.splits) == 1:
        (only,) = found.splits
        partial += f"; train, validation and test are cut from the official {only}"
    if partial:
        print(f"{name} is partial here: {partial}.")
    data = to_datasets(
        book_split(found.splits) if splits == "book" else found.splits, entry.classes
    )
    attach(data, name=name, title=entry.title, source=found.source, partial=partial)
    if splits == "book" and not partial:
        _check_rows(entry, provenance(data))
    return data


def _check_rows(entry: Entry, record: Provenance) -> None:
    if entry.book_sha256 and record.sha256 != entry.book_sha256:
        places = {"prepared": prepared_folder(entry.name), "cache": cache_root() / entry.name}
        folder = places.get(record.source)
        raise DataError(
            f"{entry.name} ({record.source}): its texts or labels are not the published ones; the "
            f"book's split has the SHA-256 {record.sha256}, the catalogue's is {entry.book_sha256}"
            + (f". Remove or replace {folder}" if folder else "")
        )


def prepared_folder(name: str) -> Path | None:
    """Return the set's folder in `TUTORIAL_DATA`, or None where the variable is not set.

    Raises:
        DataError: `TUTORIAL_DATA` is not a folder.
    """
    root = os.environ.get("TUTORIAL_DATA")
    if not root:
        return None
    if not Path(root).is_dir():
        raise DataError(f"TUTORIAL_DATA is {root!r}, which is not a folder: correct or unset it")
    return Path(root) / name


def cache_root() -> Path:
    """Return the cache's folder: `TUTORIAL_CACHE` where set, else the system's place."""
    import platformdirs

    return Path(os.environ.get("TUTORIAL_CACHE") or platformdirs.user_cache_dir("tutorial_lib"))


def downloads_allowed() -> bool:
    """Return whether `TUTORIAL_OFFLINE` leaves the network open.

    Raises:
        DataError: the variable is neither empty, 0 nor 1.
    """
    value = os.environ.get("TUTORIAL_OFFLINE") or "0"
    if value not in ("0", "1"):
        raise DataError(f"TUTORIAL_OFFLINE is {value!r}; set it to 1 or 0")
    return value == "0"


def places() -> str:
    """Return one line for people: where `load` looks for a set, in its order, and what is there."""
    try:
        folders = {"TUTORIAL_DATA": prepared_folder(""), "the cache": cache_root()}
        online = downloads_allowed()
    except DataError as error:
        return f"Data: {error}"
    sets = [name for name in catalogue.names() if name not in catalogue.EMBEDDED]
    words = [
        f"{place} ({sum(os.path.isdir(folder / name) for name in sets)} of {len(sets)} sets)"
        for place, folder in folders.items()
        if folder is not None
    ]
    words += ["a download"] if online else []
    offline = "" if online else "; TUTORIAL_OFFLINE=1 forbids a download"
    return f"Data: {', then '.join([*words, 'an embedded corpus'])}{offline}"


def _find(entry: Entry) -> Found:
    folder = prepared_folder(entry.name)
    if folder is not None and folder.is_dir():
        return _read(entry, folder, "prepared")
    tried = [f"TUTORIAL_DATA: {f'there is no {folder}' if folder else 'not set'}"]
    cached = cache_root() / entry.name
    try:
        if cached.is_dir():
            return _read(entry, cached, "cache")
        tried.append(f"cache: there is no {cached}")
    except DataError as error:
        tried.append(f"cache: damaged: {error}")
        print(f"The cached copy of {entry.name} is damaged and will be made again ({error}).")
    except OSError as error:
        tried.append(f"cache: {cached} cannot be entered: {error.strerror or error}")
    if not downloads_allowed():
        tried.append("download: switched off by TUTORIAL_OFFLINE=1")
        raise DatasetUnavailable(entry.name, tried)
    try:
        return _download(entry, cached)
    except download.FetchError as error:
        tried.append(f"download: {error}")
        raise DatasetUnavailable(entry.name, tried) from None  # the message has the reason
    except OSError as error:
        reason = f"download: cannot write to the cache {cached.parent}: {error.strerror or error}"
        tried.append(f"{reason}; make room there or set TUTORIAL_CACHE to another folder")
        raise DatasetUnavailable(entry.name, tried) from None  # the message has the reason


def _read(entry: Entry, folder: Path, source: str) -> Found:
    splits = read_folder(folder, list(entry.splits), entry.classes)
    try:
        return Found(splits, source, _missing(entry, splits))
    except DataError as error:
        files = ", ".join(split_path(folder, split).name for split in entry.splits)
        raise DataError(f"{error}; looked in {folder} for {files}") from None


def _missing(entry: Entry, splits: dict[str, Rows]) -> str:
    classes = len(entry.classes)
    return entry.missing({name: tuple(rows.counts(classes)) for name, rows in splits.items()})


def _download(entry: Entry, cached: Path) -> Found:
    """Fetch, parse, count and cache a set, while other processes wait for it."""
    root, name = cached.parent, entry.name
    with _locked(root / ".locks" / f"{name}.lock"):
        if cached.is_dir():  # another process was here first, unless this is the damaged copy
            with contextlib.suppress(DataError):
                return _read(entry, cached, "cache")
        downloads, unfinished = root / ".downloads" / name, root / ".unfinished" / name
        files = {file.name: download.fetch(file, downloads) for file in entry.files}
        splits = PARSERS[name](files)
        found = Found(splits, "download", _missing(entry, splits))
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            write_folder(unfinished, splits, entry.classes)
            if cached.is_dir():
                shutil.rmtree(cached)
            os.replace(unfinished, cached)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(downloads)
        return found


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import filelock

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"Another process fetches {path.stem}; waiting for it.")
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except filelock.Timeout as error:
            reason = f"another process has held {path} for {LOCK_SECONDS // 60} minutes"
            raise download.FetchError(reason) from error
    try:
        yield
    finally:
        lock.release()


def _embedded(name: str) -> "datasets.DatasetDict":
    corpus, _, domain = name.partition("/")
    module = import_module(f"tutorial_lib.data.{corpus}")
    return module.dataset(domains=[domain]) if domain else module.dataset()


def _stand_in(name: str, error: DatasetUnavailable) -> "datasets.DatasetDict":
    data = _embedded(name)
    print(
        f"{error.name} could not be had here ({error.tried[-1]}); "
        f"the embedded corpus {name} stands in for it."
    )
    title, corpus = provenance(data).title, name.partition("/")[0]
    return attach(data, name=corpus, title=title, source="embedded", stands_in_for=error.name)
