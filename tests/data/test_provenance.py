"""The record that travels with a data set, and the caption that it gives."""

import hashlib

import datasets
import pytest

from tutorial_lib import plots
from tutorial_lib.data.provenance import attach, caption_of, fingerprint, provenance
from tutorial_lib.data.rows import Rows, to_datasets

SENTENCE = "Data: a small corpus (files)"


@pytest.fixture
def data():
    """Ten rows of train and four of test."""
    rows = Rows([f"text {n}" for n in range(10)], [0, 1] * 5)
    splits = {"train": rows, "test": Rows(rows.texts[:4], rows.labels[:4])}
    facts = {"name": "small", "title": "a small corpus", "source": "files"}
    return attach(to_datasets(splits, ["no", "yes"]), **facts)


def test_a_caption_says_when_only_a_part_of_the_rows_is_used(data):
    train = data["train"]
    assert caption_of(data) == caption_of(train) == f"{SENTENCE}."
    assert caption_of(train.select(range(3))) == f"{SENTENCE}; 3 of 10 rows of train."
    assert caption_of(train.filter(lambda row: row["label"])).endswith("; 5 of 10 rows of train.")
    assert caption_of(train.map(lambda row: {"n": 1}).shuffle(seed=0)) == f"{SENTENCE}."
    assert caption_of(train.train_test_split(2, seed=0)["test"]).endswith(
        "; 2 of 10 rows of train."
    )
    smaller = datasets.DatasetDict(data | {"train": train.take(3)})
    assert caption_of(smaller) == f"{SENTENCE}; 3 of 10 rows of train."
    assert provenance(smaller) == provenance(data)


def test_rows_of_no_one_split_are_held_against_the_whole_set(data):
    both = datasets.concatenate_datasets([data["train"], data["test"]])
    assert caption_of(both) == f"{SENTENCE}."
    assert caption_of(both.select(range(12))) == f"{SENTENCE}; 12 of 14 rows."


def test_a_figure_says_it(data):
    drawn, _ = plots.figure()
    part = data["train"].select(range(3))
    assert plots.picture(drawn, alt="x", caption="A.", data=part).caption.endswith(
        f"A. {SENTENCE}; 3 of 10 rows of train."
    )


def test_a_set_without_a_record_is_an_error(data):
    other = to_datasets({"train": Rows(["a"], [0])}, ["no", "yes"])
    for lost in (
        other,
        datasets.DatasetDict(),
        datasets.Dataset.from_pandas(data["train"].to_pandas()),
    ):
        with pytest.raises(ValueError, match="carries no provenance"):
            caption_of(lost)


def test_the_hash_is_of_the_names_labels_and_texts_in_their_order():
    splits = {"train": Rows(["a", "b"], [0, 1]), "test": Rows(["c"], [1])}
    content = "\0".join(["test", "1", "c"]) + "\0".join(["train", "0", "a", "1", "b"])
    expected = hashlib.sha256(content.encode()).hexdigest()
    assert fingerprint(to_datasets(splits, ["no", "yes"])) == expected


def test_attach_changes_the_splits_in_place(data):
    assert attach(data, name="b", title="b", source="files") is data
    assert provenance(data["test"]).name == "b"
