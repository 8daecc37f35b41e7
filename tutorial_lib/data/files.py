"""`from_files`: a user's own labelled texts, checked row by row."""

import codecs
import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tutorial_lib.data.errors import DataError
from tutorial_lib.data.provenance import attach
from tutorial_lib.data.rows import Rows, to_datasets
from tutorial_lib.data.splits import book_split

if TYPE_CHECKING:
    import datasets

SHOWN = 20  # bad rows listed in a message
LONGEST_FIELD = 2**31 - 1  # the csv module's own limit, 131,072 characters, is too low for texts
NUL = "\udc00"  # stands for a NUL byte, which the csv module of Python 3.10 refuses


class Record(NamedTuple):
    """A row as read: where it stands, its two cells, what is wrong with it, its number of lines."""

    place: str
    text: Any = None
    label: Any = None
    fault: str = ""
    lines: int = 1


def from_files(
    paths: str | Path | Mapping[str, str | Path],
    *,
    text: str = "text",
    label: str = "label",
    classes: Sequence[str] | Mapping[Any, str] | None = None,
    splits: Literal["book", "official"] = "book",
    bad_rows: Literal["error", "drop"] = "error",
    name: str = "",
) -> "datasets.DatasetDict":
    """Return labelled texts from CSV, TSV, JSONL or Parquet files (told by their suffix).

    Files are UTF-8. A CSV or TSV begins with a header and quotes fields by `"`; a JSONL holds
    one object a line.

    Args:
        paths: one file, or a file for each split.
        text, label: the columns to read.
        classes: the class names in their order, where labels are names or indices from 0; or
            each label of the files with its class name, as in `{1: "World", 2: "Sports"}`;
            None to take the labels of train (or of the one file), sorted.
        splits: `book` cleans and cuts the rows to train, validation and test, as `load` does
            (`splits.book_split`); `official` leaves every row in the split it came in.
        bad_rows: `error` refuses files with bad rows; `drop` leaves such rows out and prints
            which; an open quote takes all lines up to the next quote with it, and their number
            is printed and recorded.
        name: the data set's name in captions and recorded runs; the first file's by default.

    Raises:
        DataError: no file, a suffix not known, a column missing or there twice, a split name
            that will not do, a class named twice, a label that could mean two classes,
            bad rows (each with its line number, the first 20 shown: wrong number of fields,
            unparsable line, no text, empty text, text that is not a string, NUL byte, bad UTF-8,
            no label, unknown label), no row at all, rows of one class only, a class too small
            to cut, a split or a class of train that cleaning leaves empty.
    """
    if splits not in ("book", "official") or bad_rows not in ("error", "drop"):
        raise DataError(f"splits={splits!r}, bad_rows={bad_rows!r}: one of them is not known")
    files = _files(paths)
    read = {split: _read(path, text, label) for split, path in files.items()}
    if classes is None:
        main = read.get("train") or next(iter(read.values()))
        found = _sorted_labels({_key(r.label) for r in main if not r.fault})
        classes = dict(zip(found, found, strict=True))  # names only: a number is no index here
    index, class_names = _index(classes)
    read = {split: _with_known_labels(records, index) for split, records in read.items()}
    faults = [
        f"{files[split]}, {record.place}: {record.fault}"
        for split, records in read.items()
        for record in records
        if record.fault
    ]
    number = _number(record for records in read.values() for record in records if record.fault)
    if faults and bad_rows == "error":
        report = _report(number, faults)
        raise DataError(f"{report}\nMend them, or leave them out with bad_rows='drop'.")
    if faults:
        print(f"Left out: {_report(number, faults)}")
    rows = {split: _good(records, index) for split, records in read.items()}
    _check_classes(rows, files)
    data = to_datasets(book_split(rows) if splits == "book" else rows, class_names)
    return attach(
        data,
        name=name or next(iter(files.values())).stem,
        title=name or ", ".join(path.name for path in files.values()),
        source="files",
        partial=f"bad rows left out: {number}" if faults else "",
    )


def _files(paths: str | Path | Mapping[str, str | Path]) -> dict[str, Path]:
    given = paths if isinstance(paths, Mapping) else {"full": paths}
    files = {split: Path(path) for split, path in given.items()}
    if not files:
        raise DataError("no file is named")
    for split, path in files.items():
        if not isinstance(split, str) or not re.fullmatch(r"\w+", split) or split == "all":
            raise DataError(f"{split!r} cannot be a split's name: take train, validation or test")
        if not path.is_file():
            raise DataError(f"there is no file {path}")
        if path.suffix not in READERS:
            raise DataError(f"{path}: its suffix is none of {', '.join(READERS)}")
    return files


def _read(path: Path, text: str, label: str) -> list[Record]:
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        records = READERS[path.suffix](path, text, label)
        return [record._replace(fault=_fault(record)) for record in records]
    finally:
        csv.field_size_limit(limit)


def _read_csv(path: Path, text: str, label: str, delimiter: str = ",") -> Iterator[Record]:
    with open(path, "rb") as file:
        if file.read(3) != codecs.BOM_UTF8:
            file.seek(0)
        # Undecodable bytes become lone surrogates here, and are found again in `_fault`.
        lines = (line.decode("utf-8", "surrogateescape").replace("\0", NUL) for line in file)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise DataError(f"{path}, line 1: the header is not CSV ({error})") from error
        columns = [_column(path, header, name) for name in (text, label)]
        while True:
            before = reader.line_num
            place = f"line {before + 1}"
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fault = f"not CSV ({error}, at line {reader.line_num})"
                yield Record(place, fault=fault, lines=reader.line_num - before)
                continue
            lines = reader.line_num - before
            if row and len(row) != len(header):
                fault = f"{len(row)} fields instead of {len(header)}"
                yield Record(place, fault=fault, lines=lines)
            elif row:
                yield Record(place, *(row[column] for column in columns), lines=lines)


def _read_tsv(path: Path, text: str, label: str) -> Iterator[Record]:
    return _read_csv(path, text, label, delimiter="\t")


def _read_jsonl(path: Path, text: str, label: str) -> Iterator[Record]:
    with open(path, "rb") as file:
        for number, content in enumerate(file, start=1):
            place = f"line {number}"
            try:
                found = json.loads(content.decode("utf-8-sig")) if content.strip() else None
            except UnicodeDecodeError:
                yield Record(place, fault="not UTF-8")
            except json.JSONDecodeError as error:
                yield Record(place, fault=f"not JSON ({error.msg}, column {error.colno})")
            except (ValueError, RecursionError) as error:  # too long a number, too many brackets
                yield Record(place, fault=f"not JSON that can be read ({error})")
            else:
                if isinstance(found, dict) and {text, label} <= found.keys():
                    yield Record(place, found[text], found[label])
                elif content.strip():
                    has = f"only {sorted(found)}" if isinstance(found, dict) else "no object"
                    yield Record(place, fault=f"no fields {text!r} and {label!r}: {has}")


def _read_parquet(path: Path, text: str, label: str) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    for name in (text, label):
        _column(path, table.column_names, name)
    rows = zip(table[text].to_pylist(), table[label].to_pylist(), strict=True)
    return (Record(f"row {number}", *row) for number, row in enumerate(rows, start=1))


READERS = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}


def _column(path: Path, header: Sequence[str], name: str) -> int:
    if name not in header:
        raise DataError(f"{path} has no column {name!r}; its columns are {list(header)}")
    if list(header).count(name) > 1:
        raise DataError(f"{path} has the column {name!r} twice; its columns are {list(header)}")
    return list(header).index(name)


def _key(value: Any) -> str:
    """Return a label as it is looked up: `1`, `1.0`, `"1.0"` and `" 1"` are the same."""
    return re.sub(r"^([+-]?\d+)\.0+$", r"\1", str(value).strip())


def _sorted_labels(labels: set[str]) -> list[str]:
    try:
        return sorted(labels, key=int)
    except ValueError:
        return sorted(labels)


def _index(classes: Sequence[str] | Mapping[Any, str]) -> tuple[dict[str, int], list[str]]:
    """Return the class index of each label that may occur, and the class names."""
    if isinstance(classes, Mapping):
        names = list(dict.fromkeys(classes.values()))
        index: dict[str, int] = {}
        for label, name in classes.items():
            if index.setdefault(_key(label), names.index(name)) != names.index(name):
                raise DataError(f"classes={dict(classes)}: label {_key(label)!r} has two names")
        return index, names
    names = list(classes)
    numbers = {str(number): number for number in range(len(names))}
    named = {_key(name): number for number, name in enumerate(names)}
    if len(named) < len(names):
        raise DataError(f"classes={names}: a class is named twice")
    if any(numbers.get(name, number) != number for name, number in named.items()):
        raise DataError(
            f"classes={names}: a label could be a name or an index; "
            'give each label its class name, as in {"1": "one", "0": "zero"}'
        )
    return numbers | named, names


def _fault(record: Record) -> str:
    """Return what is wrong with a record, in words, whatever the classes are."""
    if record.fault:
        return record.fault
    text, label = record.text, record.label
    if not isinstance(text, str):
        return f"the text is not a string: {text!r}"
    for name, cell in {"text": text, "label": str(label)}.items():
        if "\0" in cell or NUL in cell:
            return f"a NUL byte in the {name}"
    if not _is_unicode(text) or not _is_unicode(str(label)):
        return "not UTF-8"
    if not text.strip():
        return "the text is empty"
    if label is None or label != label or _key(label) == "":
        return "no label"
    if isinstance(label, (list, dict, bytes)):
        return f"the label is no string and no number: {label!r}"
    return ""


def _with_known_labels(records: Sequence[Record], index: Mapping[str, int]) -> list[Record]:
    """Return the records, those with a label that is not in the index marked as faulty."""
    return [
        record
        if record.fault or _key(record.label) in index
        else record._replace(
            fault=f"label {record.label!r} is unknown; known are {', '.join(index)}"
        )
        for record in records
    ]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(bad: Iterable[Record]) -> str:
    """Return how many rows are bad, and how many lines of the files they take, where more."""
    lines = [record.lines for record in bad]
    more = f" ({sum(lines):,} lines)" if sum(lines) > len(lines) else ""
    return f"{len(lines):,}{more}"


def _report(number: str, faults: Sequence[str]) -> str:
    more = [f"and {len(faults) - SHOWN:,} more"] if len(faults) > SHOWN else []
    return "\n  ".join([f"bad rows: {number}", *faults[:SHOWN], *more])


def _good(records: Sequence[Record], index: Mapping[str, int]) -> Rows:
    good = [record for record in records if not record.fault]
    return Rows([r.text for r in good], [index[_key(r.label)] for r in good])


def _check_classes(rows: Mapping[str, Rows], files: Mapping[str, Path]) -> None:
    for split, found in rows.items():
        if not found.texts:
            raise DataError(f"{files[split]} holds no row to use")
    main = "train" if "train" in rows else next(iter(rows))
    if len(set(rows[main].labels)) < 2:
        raise DataError(f"{files[main]} holds rows of one class only: nothing to learn from")
