"""Under the recorded runs: splits do not leak, cuts keep both ends, bounds add up."""

import dataclasses

import datasets
import numpy as np
import pytest
import torch

from benchmarks import finetune_albert, networks
from benchmarks import vae as vae_runs
from tutorial_lib import data, tables
from tutorial_lib.data.provenance import attach

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


@pytest.mark.parametrize("kind", finetune_albert.MODELS)
@pytest.mark.parametrize("labels", [None, 60])
def test_each_model_of_the_comparison_classifies_and_can_be_repeated(kind, labels, monkeypatch):
    vectors = torch.randn(8000, 128)  # those of the real corpus need the real texts
    monkeypatch.setattr(finetune_albert, "word_vectors", lambda tokenizer: vectors)
    task = finetune_albert.Task("reviews", labels=labels, epochs=1, scratch_epochs=1, cnn_epochs=1)
    [texts] = finetune_albert.texts_of(task, 0)
    texts = {name: (strings[:60], y[:60]) for name, (strings, y) in texts.items()}
    texts["train"][0][0] = "a very long text " * 1000  # longer than a batch
    predicted, size = finetune_albert.fit(kind, task, texts, 2, 0)
    again, _ = finetune_albert.fit(kind, task, texts, 2, 0)
    assert predicted.shape == (60,) and set(predicted) <= {0, 1} and size > 100
    assert (predicted == again).all()


def test_few_labels_are_drawn_alike_from_each_class_and_by_the_seed():
    task = finetune_albert.Task("reviews", labels=40)
    drawn = [finetune_albert.texts_of(task, seed)[0] for seed in (0, 0, 1)]
    assert drawn[0]["train"][0] == drawn[1]["train"][0] != drawn[2]["train"][0]
    for texts in drawn:
        assert set(texts) == {"train", "test"}
        assert np.bincount(texts["train"][1]).tolist() == [20, 20]


@pytest.mark.parametrize("name", finetune_albert.TASKS)
def test_every_task_says_what_it_does(name):
    kind, data_set = finetune_albert.parts_of(name)
    found = finetune_albert.settings(kind, finetune_albert.DATA[data_set])
    assert found["c"] > 0 if kind == "nbsvm" else found["epochs"] > 0


@pytest.fixture(scope="module")
def pydoc():
    splits = data.load("pydoc")
    few = {
        name: split.select(range(200 if name == "train" else 60)) for name, split in splits.items()
    }
    return attach(
        datasets.DatasetDict(few),
        name="pydoc",
        title="Some of pydoc",
        source="embedded",
        partial="",
    )


@pytest.fixture
def small_vae(monkeypatch, pydoc, tmp_path):
    monkeypatch.setattr(vae_runs, "HALF_DONE", tmp_path)
    monkeypatch.setattr(data, "load", lambda name: pydoc)
    corpus = vae_runs.Corpus("pydoc", 6, 1, rows=200, words=300)
    monkeypatch.setattr(vae_runs, "CORPORA", {"pydoc": corpus})
    monkeypatch.setattr(vae_runs, "FEW", corpus)
    monkeypatch.setattr(vae_runs, "SIZES", {"latent": 3, "embedding": 8, "hidden": 8})
    monkeypatch.setattr(vae_runs, "SEEDS", range(1))
    monkeypatch.setattr(vae_runs, "SAMPLES", 2)
    monkeypatch.setattr(vae_runs, "AMOUNTS", (20, 100))
    monkeypatch.setattr(vae_runs, "JOINT", (100,))
    monkeypatch.setattr(vae_runs, "JOINT_EPOCHS", 1)
    return corpus


def test_texts_are_cut_and_numbered_alike_for_every_model(small_vae):
    texts = small_vae.read()
    assert len(texts.ids["train"]) == 200
    assert texts.words <= 300
    for split, strings in texts.cut.items():
        assert max(len(string.split()) for string in strings) == 6
        assert [len(row) for row in texts.ids[split]] == [len(t.split()) for t in strings]


def test_a_recorded_bound_adds_up_and_has_its_place_in_the_table(small_vae):
    run = vae_runs.bounds("free-bits", "pydoc").run()
    found = {name: run.mean(name) for name in run.metrics}
    assert found["loss"] == pytest.approx(found["reconstruction"] + found["kl"], rel=1e-6)
    alone = vae_runs.language_model("pydoc").run()
    assert alone.parameters < run.parameters
    assert alone.data == run.data
    assert tables.bounds([run, alone]).count("±") == 9 + 2


def test_few_labels_are_recorded_by_method_and_amount_with_intervals_at_100(small_vae):
    run = vae_runs.few_labels().run()
    assert {name for name in run.metrics if name.endswith(", 20 labels")} == {
        f"{way}, 20 labels"
        for way in ("NB-SVM", "LSA", "encoder from scratch", "VAE's encoder", "VAE's code")
    }
    assert "joint model, 100 labels" in run.metrics
    for other in ("NB-SVM", "LSA"):
        gap = f"100 labels: VAE's code minus {other}"
        difference = run.mean("VAE's code, 100 labels") - run.mean(f"{other}, 100 labels")
        assert run.mean(gap) == pytest.approx(difference, abs=1e-9)
        assert run.mean(f"{gap}, low") <= run.mean(gap) <= run.mean(f"{gap}, high")
