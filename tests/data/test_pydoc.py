"""The embedded corpus of the standard library's documentation strings."""

import collections
import subprocess
import sys

import numpy as np
import pytest

from tutorial_lib.data import DatasetUnavailable, provenance, pydoc


@pytest.fixture(scope="module")
def data():
    return pydoc.dataset()


def test_some_thousand_rows_in_every_chapter(data):
    labels = np.concatenate([split["label"] for split in data.values()])
    counts = np.bincount(labels)
    assert len(labels) >= 3_000
    assert len(counts) == len(pydoc.CHAPTERS) >= 6
    assert counts.min() >= 200
    for split, share in {"train": 0.8, "validation": 0.1, "test": 0.1}.items():
        assert len(data[split]) / len(labels) == pytest.approx(share, abs=0.05)
        assert set(data[split]["label"]) == set(range(len(counts)))


def test_the_record_names_the_version_of_python(data):
    record = provenance(data)
    assert f"Python {sys.version.split()[0]}," in record.title
    assert record.source == "embedded"


def test_known_docstrings_have_their_chapter(data):
    """Texts read off the imported modules, chapters off the library reference."""
    import shutil
    import statistics
    import threading

    names = data["train"].features["label"].names
    rows = {row["text"]: names[row["label"]] for split in data.values() for row in split}
    for documented, chapter in (
        (statistics.harmonic_mean, "numbers"),
        (shutil.which, "files"),
        (threading.Barrier, "concurrency"),
    ):
        assert rows[pydoc.clean(documented.__doc__)] == chapter


def test_no_text_and_no_near_copy_crosses_the_splits(data):
    owners = collections.defaultdict(set)
    texts = [text for split in data.values() for text in split["text"]]
    assert len(set(texts)) == len(texts)
    for name, split in data.items():
        for text in split["text"]:
            words = "".join(c if c.isalpha() else " " for c in text.lower()).split()
            for start in range(max(1, len(words) - 7)):
                owners[tuple(words[start : start + 8])].add(name)
    assert max(map(len, owners.values())) == 1


def test_texts_are_prose(data):
    for text in data["train"]["text"]:
        assert len(text.split()) >= pydoc.SHORTEST
        assert "\n" not in text and "  " not in text and not text.startswith(">>>")


def test_clean_drops_doctests_rulers_and_layout():
    docstring = """Add two numbers.

        >>> add(1, 2)
        3
        ======
        Both may be
          negative.
        """
    assert pydoc.clean(docstring) == "Add two numbers. 3 Both may be negative."


def test_a_split_hangs_on_text_and_seed_alone():
    texts = [f"text {'abcdefghij'[i % 10] * (i // 10 + 1)} stands alone here" for i in range(500)]
    first = dict(zip(texts, pydoc.assign(texts, 0), strict=True))
    again = dict(zip(texts[::-1], pydoc.assign(texts[::-1], 0), strict=True))
    assert first == again
    assert pydoc.assign(texts[:50], 0) == [first[text] for text in texts[:50]]
    assert pydoc.assign(texts, 1) != list(first.values())


def test_texts_with_eight_words_in_common_are_tied_through_others():
    a, b = "one two three four five six seven eight", "nine ten eleven twelve a b c d"
    chain = [[a, f"{a} and then {b}", b, f"{i} {b}"] for i in range(40)]
    for seed, texts in enumerate(chain):
        assert len(set(pydoc.assign(texts, seed))) == 1


def test_text_of_two_chapters_is_left_out(tmp_path):
    same, other = "Return the number of rows that are left", "Wait until every thread is done"
    (tmp_path / "random.py").write_text(f'"""{same}."""\ndef f():\n    """{other}."""\n')
    (tmp_path / "queue.py").write_text(
        f'class Q:\n    def m(self):\n        """{same.upper()}"""\n'
    )
    (tmp_path / "shelve.py").write_text('"""Too short."""\n')
    package = tmp_path / "json"
    (package / "tests").mkdir(parents=True)
    (package / "tests" / "a.py").write_text('"""A test is no part of the library at all."""\n')
    (package / "__init__.py").write_text('"""Turn objects into text and back again."""\n')
    assert pydoc.gather(tmp_path) == [
        ("Turn objects into text and back again.", "internet data", "json"),
        (f"{other}.", "numbers", "random.f"),
    ]


def test_nothing_is_run(tmp_path):
    (tmp_path / "queue.py").write_text(
        '"""A module that must never be imported."""\nraise SystemExit\n'
    )
    assert [row.name for row in pydoc.gather(tmp_path)] == ["queue"]


def test_a_python_without_its_sources_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(pydoc, "_sources", lambda: tmp_path / "python.zip")
    with pytest.raises(DatasetUnavailable, match="no source files of Python's standard library"):
        pydoc.dataset()


def test_the_same_rows_in_another_process(data):
    code = (
        "from tutorial_lib.data import pydoc, provenance; print(provenance(pydoc.dataset()).sha256)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == provenance(data).sha256


def test_worth_learning_from_and_not_solved_by_a_bag_of_words(data):
    from tutorial_lib.baselines import NaiveBayes, bag_of_words

    words = bag_of_words((1, 1))
    x = words.fit_transform(data["train"]["text"])
    model = NaiveBayes().fit(x, np.array(data["train"]["label"]))
    truth = np.array(data["test"]["label"])
    accuracy = (model.predict(words.transform(data["test"]["text"])) == truth).mean()
    majority = np.bincount(truth).max() / len(truth)
    assert majority + 0.15 < accuracy < 0.95
