"""The book's split: train, validation and test, the same rows on every machine.

No random number generator has a part in it: rows are ordered by the SHA-256 of a fixed word and
their text, and cut in that order. So the split depends on the texts alone.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Int64

from tutorial_lib.data.errors import DataError
from tutorial_lib.data.rows import Rows

NAMES = ("train", "validation", "test")
SEED = "tutorial_lib split 1"

Item = tuple[str, str, int]  # hash, text, label


def normalise(text: str) -> str:
    """Return the text with each run of white space as one blank: what counts as the same text."""
    return " ".join(text.split())


def book_split(official: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return train, validation and test made from the official splits.

    - An official test keeps its rows and their order, so that scores compare with those in the
      literature.
    - Train and validation lose empty texts, texts that carry different labels, repeats (the
      first stays) and texts that are also in test; train loses those in validation.
    - A test or a validation that is missing is cut from train, a tenth of each class. One
      single split, of whatever name, counts as train: so it is cut 8 : 1 : 1.
    - All but an official test are in the order of the hashes: their first n rows are a fair
      sample.

    Raises:
        DataError: the splits are not train with or without the others, a class has too few
            different texts to cut, or what is left out leaves a split without rows or train
            without a class that it had.
    """
    if len(official) == 1:
        official = {"train": next(iter(official.values()))}
    if "train" not in official or not set(official) <= set(NAMES):
        raise DataError(f"one split, or train and others of {NAMES}, are needed: {list(official)}")
    mixed = _contradictory([official[name] for name in official if name != "test"])
    seen = {normalise(text) for text in official["test"].texts} if "test" in official else set()
    seen |= mixed | {""}
    items = {
        name: _unseen(official[name], seen) for name in ("validation", "train") if name in official
    }
    missing = [name for name in ("test", "validation") if name not in official]
    items |= _cut(items["train"], missing)
    split = {name: _ordered(items[name]) for name in NAMES if name in items}
    split |= {"test": official["test"]} if "test" in official else {}
    _check_left(official["train"], split)
    return split


def _check_left(train: Rows, split: Mapping[str, Rows]) -> None:
    lost = sorted(set(train.labels) - set(split["train"].labels))
    empty = [name for name, rows in split.items() if not rows.texts]
    if lost or empty:
        left = f"train has no row of class {lost[0]} left" if lost else f"{empty[0]} has no row"
        raise DataError(
            f"{left}, once empty texts, repeats, texts that carry different labels and texts "
            "that are in another split are left out"
        )


def _contradictory(parts: Collection[Rows]) -> set[str]:
    """Return the texts that occur with more than one label."""
    labels: dict[str, set[int]] = defaultdict(set)
    for rows in parts:
        for text, label in zip(rows.texts, rows.labels, strict=True):
            labels[normalise(text)].add(label)
    return {text for text, found in labels.items() if len(found) > 1}


def _unseen(rows: Rows, seen: set[str]) -> list[Item]:
    """Return the rows whose texts are not in `seen`, and add them to it."""
    items = []
    for text, label in zip(rows.texts, rows.labels, strict=True):
        key = normalise(text)
        if key not in seen:
            seen.add(key)
            items.append((hashlib.sha256(f"{SEED}\0{key}".encode()).hexdigest(), text, label))
    return items


def _cut(train: list[Item], names: Collection[str]) -> dict[str, list[Item]]:
    """Cut a tenth of each class (rounded, at least one row) off train for each of the names."""
    classes: dict[int, list[Item]] = defaultdict(list)
    for item in sorted(train):
        classes[item[2]].append(item)
    parts: dict[str, list[Item]] = {name: [] for name in (*names, "train")}
    for label, items in classes.items():
        if len(items) <= len(names):
            raise DataError(f"class {label} has only {len(items)} different texts: too few to cut")
        tenth = max(1, (len(items) + 5) // 10)
        for place, name in enumerate(names):
            parts[name] += items[place * tenth : (place + 1) * tenth]
        parts["train"] += items[len(names) * tenth :]
    return parts


def _ordered(items: list[Item]) -> Rows:
    items = sorted(items)
    return Rows([text for _, text, _ in items], [label for _, _, label in items])


def stratified(labels: Int64[np.ndarray, "N"], size: int, seed: int = 0) -> Int64[np.ndarray, "_"]:
    """Return so many rows drawn by the seed, each class in proportion to its share of all.

    Raises:
        ValueError: fewer rows than classes, more than there are, or so many (but not all) that
            fewer than one of each class would be left; a class with a single row.
    """
    from sklearn.model_selection import train_test_split

    if size == len(labels):
        return np.arange(size)
    rows = np.arange(len(labels))
    return train_test_split(rows, train_size=size, stratify=labels, random_state=seed)[0]
