"""The book's split: what it promises, on made-up rows and on every real set."""

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tutorial_lib.data import DataError, catalogue
from tutorial_lib.data.rows import Rows, read_folder
from tutorial_lib.data.splits import book_split, stratified

SETS = [name for name in catalogue.names() if name not in catalogue.EMBEDDED]


def same(text):
    return " ".join(text.split())


def made_up(seed, rows=600):
    """Rows of three classes with repeats, contradictions, empty texts and odd blanks."""
    draw = random.Random(seed)
    texts = [f"w{draw.randrange(rows)} {'  ' * draw.randrange(2)}end\n" for _ in range(rows)]
    texts[::97] = ["  "] * len(texts[::97])
    return Rows(texts, [draw.choice([0, 1, 1, 2]) for _ in range(rows)])


def official(real, name):
    entry = catalogue.entry(name)
    return read_folder(real / name, list(entry.splits), entry.classes)


def assert_book_split(given, split):
    """The promises of `book_split`, checked row by row with sets and counters."""
    assert list(split) == ["train", "validation", "test"]
    keys = {name: [same(text) for text in rows.texts] for name, rows in split.items()}
    if "test" in given and len(given) > 1:
        assert split["test"] == given["test"]
        ours = ["train", "validation"]
    else:
        ours = ["train", "validation", "test"]
    assert not set(keys["train"]) & set(keys["validation"])
    assert not set(keys["test"]) & {*keys["train"], *keys["validation"]}
    pool = [rows for name, rows in given.items() if name != "test" or len(given) == 1]
    labels = {}
    for rows in pool:
        for text, label in zip(rows.texts, rows.labels, strict=True):
            labels.setdefault(same(text), set()).add(label)
    outside = set() if "test" in ours else set(keys["test"])
    wanted = {key for key, found in labels.items() if key and len(found) == 1} - outside
    assert Counter(key for name in ours for key in keys[name]) == Counter(wanted)
    for name in ours:
        for key, label in zip(keys[name], split[name].labels, strict=True):
            assert labels[key] == {label}
    uncut = given.get("validation") if len(given) > 1 else None
    held = {same(text) for text in uncut.texts} if uncut else set()
    sizes = Counter(label for key in wanted - held for label in labels[key])
    for name in {"validation", "test"} - (set(given) if len(given) > 1 else set()):
        for label, size in sizes.items():
            assert abs(split[name].labels.count(label) - size / 10) <= 0.5


@pytest.mark.parametrize("names", [["full"], ["train"], ["train", "test"], ["train", "validation"],
                                   ["train", "validation", "test"]])  # fmt: skip
@pytest.mark.parametrize("seed", range(5))
def test_promises_on_made_up_rows(names, seed):
    given = {name: made_up(10 * seed + place) for place, name in enumerate(names)}
    assert_book_split(given, book_split(given))


@pytest.mark.parametrize("name", SETS)
def test_promises_and_published_counts_on_real_rows(real, name):
    given, entry = official(real, name), catalogue.entry(name)
    split = book_split(given)
    assert_book_split(given, split)
    if entry.book:
        assert entry.book == {
            part: tuple(rows.counts(len(entry.classes))) for part, rows in split.items()
        }
    assert bool(entry.book) == (not entry.partial)


@pytest.mark.parametrize("names", [["full"], ["train", "test"]])
def test_the_order_of_the_rows_does_not_matter(names):
    given = {name: made_up(place) for place, name in enumerate(names)}
    shuffled = {}
    for name, rows in given.items():
        pairs = list(zip(*rows, strict=True))
        random.Random(1).shuffle(pairs)
        shuffled[name] = Rows(*map(list, zip(*pairs, strict=True)))
    one, other = book_split(given), book_split(shuffled)
    for name in ("train", "validation"):
        assert [same(text) for text in one[name].texts] == [same(t) for t in other[name].texts]
        assert one[name].labels == other[name].labels


def test_the_cut_is_by_sha256_as_documented():
    texts = [f"text {number}" for number in range(40)]
    split = book_split({"full": Rows(texts, [0] * 20 + [1] * 20)})

    def by_hash(some):
        return sorted(
            some, key=lambda t: hashlib.sha256(b"tutorial_lib split 1\0" + t.encode()).digest()
        )

    first, second = by_hash(texts[:20]), by_hash(texts[20:])
    assert split["test"].texts == by_hash(first[:2] + second[:2])
    assert split["validation"].texts == by_hash(first[2:4] + second[2:4])
    assert split["train"].texts == by_hash(first[4:] + second[4:])


def test_the_first_rows_of_train_are_a_fair_sample():
    split = book_split({"full": Rows([f"text {n}" for n in range(4000)], [0] * 2000 + [1] * 2000)})
    # 400 draws of a fair coin: five standard deviations are 50.
    assert abs(sum(split["train"].labels[:400]) - 200) < 50


def test_another_process_with_another_hash_seed_gives_the_same_split():
    code = (
        "from tutorial_lib.data.splits import book_split; from tutorial_lib.data.rows import Rows;"
        "print(book_split({'full': Rows([f'text {n % 90}' for n in range(100)], [0, 1] * 50)}))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1 and "text 1" in outputs.pop()


@pytest.mark.parametrize(
    "given, complaint",
    [
        ({"validation": made_up(0), "test": made_up(1)}, "train and others"),
        ({"train": made_up(0), "tset": made_up(1)}, "train and others"),
        ({"full": Rows(["a", "b", "c", "d"], [0, 0, 0, 1])}, "class 1 has only 1 different texts"),
    ],
)
def test_what_cannot_be_split_is_an_error(given, complaint):
    with pytest.raises(DataError, match=complaint):
        book_split(given)


def test_a_draw_keeps_the_shares_of_the_classes():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    rows = stratified(labels, 20, seed=1)
    assert len(set(rows.tolist())) == 20
    assert np.bincount(labels[rows]).tolist() == [12, 6, 2]
    assert not np.array_equal(rows, stratified(labels, 20, seed=2))
    assert stratified(labels, 100).tolist() == list(range(100))
    for size in (2, 101):
        with pytest.raises(ValueError, match="train_size"):
            stratified(labels, size)
