"""Labelled texts in memory, and the Parquet folders they are kept in."""

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tutorial_lib.data.errors import DataError

if TYPE_CHECKING:
    import datasets
    import pyarrow

# `all` is reserved in `datasets`, and its name for `dev` is `validation`.
FILE_OF_SPLIT = {"full": "all", "validation": "dev"}


class Rows(NamedTuple):
    """Texts and their labels (indices into the class names), in one order."""

    texts: list[str]
    labels: list[int]

    def counts(self, classes: int) -> list[int]:
        """Return the number of rows of each class."""
        found = Counter(self.labels)
        return [found[label] for label in range(classes)]


def to_datasets(splits: Mapping[str, Rows], classes: Sequence[str]) -> "datasets.DatasetDict":
    """Return the splits as a `DatasetDict` with columns `text` and `label` (a ClassLabel)."""
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(classes))}
    )
    return datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict(
                {"text": rows.texts, "label": rows.labels}, features=features, split=name
            )
            for name, rows in splits.items()
        }
    )


def split_path(folder: Path, split: str) -> Path:
    """Return where a split is kept in a set's folder."""
    return folder / f"{FILE_OF_SPLIT.get(split, split)}.parquet"


def write_folder(folder: Path, splits: Mapping[str, Rows], classes: Sequence[str]) -> None:
    """Write each split to a Parquet file that names the classes.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    import pyarrow.parquet

    folder.mkdir(parents=True)
    for name, data in to_datasets(splits, classes).items():
        pyarrow.parquet.write_table(data.data.table, split_path(folder, name), compression="zstd")


def read_folder(folder: Path, splits: Sequence[str], classes: Sequence[str]) -> dict[str, Rows]:
    """Read those of the splits that the folder holds.

    Raises:
        DataError: a file is damaged, lacks a column, has other class names, an empty cell or
            a label that is not the index of a class.
    """
    paths = {name: split_path(folder, name) for name in splits}
    return {name: _read(path, classes) for name, path in paths.items() if path.is_file()}


def _read(path: Path, classes: Sequence[str]) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    wanted = {
        "text": ("string", "large_string"),
        "label": [f"int{bits}" for bits in (8, 16, 32, 64)],
    }
    for name, types in wanted.items():
        if name not in table.column_names:
            raise DataError(f"{path} has no column {name!r}, only {table.column_names}")
        if str(table.schema.field(name).type) not in types or table[name].null_count:
            raise DataError(f"{path}: column {name!r} holds empty cells or is of a wrong type")
    named = _class_names(table.schema)
    if named is not None and named != list(classes):
        raise DataError(f"{path}: its classes are {named}, the catalogue's {list(classes)}")
    rows = Rows(table["text"].to_pylist(), table["label"].to_pylist())
    wrong = sorted(set(rows.labels) - set(range(len(classes))))
    if wrong:
        raise DataError(f"{path}: label {wrong[0]} is not between 0 and {len(classes) - 1}")
    return rows


def _class_names(schema: "pyarrow.Schema") -> list[str] | None:
    """Return the class names that `datasets` writes into a Parquet schema, if they are there."""
    written = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    return written.get("info", {}).get("features", {}).get("label", {}).get("names")


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all parts in their order."""
    return Rows(
        list(itertools.chain.from_iterable(part.texts for part in parts)),
        list(itertools.chain.from_iterable(part.labels for part in parts)),
    )
