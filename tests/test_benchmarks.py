"""Under the recorded runs of the networks: splits do not leak, cuts keep both ends."""

import dataclasses

import numpy as np
import pytest

from benchmarks import networks

RECIPE = networks.RECIPES["lstm-imdb"]


def test_every_text_is_tested_once_and_never_trained_on_in_its_fold():
    texts = [str(i) for i in range(200)]
    labels = np.arange(200) % 2
    tested = []
    for parts, rows in networks.folds_of(texts, labels):
        strings = [set(parts[name][0]) for name in ("train", "validation", "test")]
        assert sum(map(len, strings)) == len(set.union(*strings)) == 200
        assert [int(text) for text in parts["test"][0]] == rows.tolist()
        tested += rows.tolist()
    assert sorted(tested) == list(range(200))


def test_a_long_text_keeps_its_first_quarter_and_its_end():
    recipe = dataclasses.replace(RECIPE, length=8)
    short, long = "a b c", " ".join(map(str, range(20)))
    assert networks.tokens_of(recipe, [short]) == [["a", "b", "c"]]
    expected = ["0", "1", "14", "15", "16", "17", "18", "19"]
    assert networks.tokens_of(recipe, [long]) == [expected]


def test_capital_letters_stay_where_a_recipe_asks_for_them():
    cased = dataclasses.replace(RECIPE, cased=True)
    assert networks.tokens_of(cased, ["Who is it?"]) == [["Who", "is", "it", "?"]]
    assert networks.tokens_of(RECIPE, ["Who is it?"]) == [["who", "is", "it", "?"]]


def test_pairs_stand_after_the_words():
    recipe = dataclasses.replace(RECIPE, length=None, pairs=True)
    assert networks.tokens_of(recipe, ["a b c", "a"]) == [["a", "b", "c", "a b", "b c"], ["a"]]


@pytest.mark.parametrize(
    ("word", "looks"),
    [
        ("1999", "<4 digits>"), ("1,000", "<digits and others>"), ("NASA", "<AA >"),
        ("Running", "<Aa ing>"), ("grapes", "<a s>"), ("is", "<a >"), ("I", "<Aa >"),
    ],
)  # fmt: skip
def test_a_rare_word_is_known_by_what_it_looks_like(word, looks):
    assert networks.signature(word) == looks


@pytest.mark.parametrize("refit", [False, True])
def test_a_refit_trains_on_the_validation_texts_too(refit, monkeypatch):
    import datasets

    seen = {}

    def fit(recipe, texts, classes, seed):
        seen.update({split: (list(strings), list(y)) for split, (strings, y) in texts.items()})
        return texts["test"][1], None

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    rows = {"train": ["x", "y"], "validation": ["z", "v"], "test": ["t", "u"]}
    splits = {
        split: datasets.Dataset.from_dict({"text": strings, "label": [0, 1]}, features=features)
        for split, strings in rows.items()
    }
    monkeypatch.setattr(networks, "fit_and_predict", fit)
    networks.scored(dataclasses.replace(RECIPE, refit=refit), splits, 0)
    assert seen["test"] == (["t", "u"], [0, 1])
    if refit:
        assert seen["train"] == (["x", "y", "z", "v"], [0, 1, 0, 1])
    else:
        assert seen["train"] == (["x", "y"], [0, 1])
    assert ("validation" in seen) != refit


def test_phrases_of_held_out_sentences_are_left_out(tmp_path, monkeypatch):
    import datasets

    held_out = ["a film that is good from end to end"]
    phrases = [*held_out, "is good from end to end", "is good", "a dull film"]
    (tmp_path / "sst2_glue").mkdir()
    rows = datasets.Dataset.from_dict({"text": phrases, "label": [1, 1, 1, 0]})
    rows.to_parquet(str(tmp_path / "sst2_glue" / "train.parquet"))
    monkeypatch.setenv("TUTORIAL_DATA", str(tmp_path))
    texts = {
        "train": (["fine ."], np.array([1])),
        "validation": (["so so"], np.array([0])),
        "test": (held_out, np.array([1])),
    }
    strings, labels = networks.with_phrases(texts)
    assert strings == ["fine .", "is good", "a dull film"]
    assert labels.tolist() == [1, 1, 0]


@pytest.mark.parametrize("task", networks.TASKS)
def test_every_task_and_every_change_is_a_recipe_that_can_be_recorded(task):
    name = task.removesuffix(networks.ABLATION)
    changes = networks.CHANGES[name] if task != name else {"none": {}}
    for change in changes.values():
        recipe = dataclasses.replace(networks.RECIPES[name], **change)
        assert recipe.settings()["lr"] == recipe.config.lr
