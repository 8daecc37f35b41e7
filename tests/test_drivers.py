"""What the recorded runs learn from, choose by and score, and how two speeds are compared."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import finetune_albert, networks, speed_albert
from tutorial_lib import albert, data, finetuning, hub, text, training
from tutorial_lib.albert import AlbertClassifier, AlbertConfig
from tutorial_lib.data.reviews import dataset

RECIPE = networks.RECIPES["lstm-imdb"]
IDS = [np.array([2, *range(5, 8 + n), 3], np.int32) for n in range(8)]


def small_albert(**more):
    torch.manual_seed(0)
    config = AlbertConfig(
        vocab_size=50, embedding_size=8, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, classifier_dropout_prob=0.0,
        initializer_range=0.2, **more,
    )  # fmt: skip
    return AlbertClassifier(config, 2)


@pytest.mark.parametrize(("kind", "epochs"), [("mini-albert", 3), ("scratch", 7)])
def test_an_albert_is_trained_as_its_record_says(kind, epochs, monkeypatch):
    calls, task = [], finetune_albert.Task("reviews", epochs=3, scratch_epochs=7)
    monkeypatch.setattr(training, "fit_classifier", lambda *a, **how: calls.append((a, how)))
    words = {"train": "good", "validation": "bad film", "test": "room"}
    parts = {split: ([word] * 4, np.arange(4) % 2) for split, word in words.items()}
    model = finetune_albert.on_pieces(kind, task, parts, 2, 5)[1]
    [((_, _, validation, config), how)] = calls
    start, tokens, _ = hub.load("mini-albert")
    assert torch.equal(model.albert.words.weight, start.words.weight) == (kind == "mini-albert")
    (asked,) = finetuning.encode(["bad film"], tokens, 128)
    assert next(iter(validation))["ids"].tolist() == [asked.tolist()] * 4
    said, rates = finetune_albert.settings(kind, task), {g["lr"] for g in how["optimizer"]}
    assert said["epochs"] == epochs and config.seed == 5
    assert all(getattr(config, k) == said[k] for k in ("epochs", "lr", "schedule", "warmup"))
    assert rates == {said["lr"] * said["lr of each depth below"] ** d for d in range(3)}
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {said["dropout"]}


def test_the_rival_on_word_vectors_is_trained_as_its_record_says(monkeypatch):
    calls, task = [], finetune_albert.DATA["sst2-100"]
    monkeypatch.setattr(training, "fit_classifier", lambda *a, **how: calls.append((a, how)))
    vectors = torch.randn(8000, 128)
    monkeypatch.setattr(finetune_albert, "word_vectors", lambda tokenizer: vectors)
    parts = {split: (["good"] * 4, np.arange(4) % 2) for split in ("train", "test")}
    model = finetune_albert.on_pieces("vectors", task, parts, 2, 5)[1]
    [((_, _, validation, config), how)] = calls
    said = finetune_albert.settings("vectors", task)
    (table,) = model.embeddings
    assert torch.equal(table.weight[1:], vectors[1:])
    assert table.weight.requires_grad == (said["mode"] != "static")
    assert validation is None and config.seed == 5 and how["word_dropout"] == said["word_dropout"]
    assert all(getattr(config, k) == said[k] for k in ("epochs", "lr", "schedule", "average"))


def test_each_reader_normalises_a_text_once(monkeypatch):
    """An escaped bracket is a bracket; normalised twice, what it holds would be a tag and lost."""
    string, read = "a &lt;b&gt; c", []
    parts = dict.fromkeys(("train", "validation", "test"), {"text": [string] * 2, "label": [0, 1]})
    monkeypatch.setattr(data, "load", lambda name, splits: parts)
    monkeypatch.setattr(
        training, "fit_classifier",
        lambda model, train, *_, **how: read.append(next(iter(train))["ids"][0].tolist()),
    )  # fmt: skip
    monkeypatch.setattr(finetune_albert, "nbsvm", lambda *a: (read.append(a[0] + a[2]), 0))
    vectors = torch.randn(8000, 128)
    monkeypatch.setattr(finetune_albert, "word_vectors", lambda tokenizer: vectors)
    task = finetune_albert.Task("x", cnn_epochs=1)
    [texts] = finetune_albert.texts_of(task, 0)
    assert all(strings == [string] * 2 for strings, _ in texts.values())
    for kind in ("nbsvm", "textcnn", "mini-albert", "scratch", "vectors"):
        finetune_albert.fit(kind, task, texts, 2, 0)
    plain, words, *pieces = read
    assert plain == [string] * 4  # nbsvm normalises for itself
    assert sorted(words) == [2, 3, 4, 5, 6]  # a < b > c
    expected = hub.load("mini-albert").tokenizer.encode("a <b> c").ids
    assert pieces == [expected] * 3


def test_each_seed_is_drawn_learned_and_scored_on_texts_not_learned_from(monkeypatch, tmp_path):
    calls = []

    def fit(kind, task, texts, classes, seed):
        calls.append((seed, texts["train"][0], texts["test"][0]))
        return 1 - texts["test"][1], 7

    reviews = dataset(300, domains=["film"])
    monkeypatch.setattr(data, "load", lambda name, splits: reviews)
    monkeypatch.setattr(finetune_albert, "DATA", {"x": finetune_albert.Task("x", labels=40)})
    monkeypatch.setattr(finetune_albert, "HALF_DONE", tmp_path)
    monkeypatch.setattr(finetune_albert, "fit", fit)
    run = finetune_albert.record("nbsvm-x-finetuning").run()
    assert [seed for seed, *_ in calls] == run.seeds == [0, 1, 2]
    assert run.metrics["accuracy"] == [0, 0, 0]  # all wrong on the test texts
    assert calls[0][1] != calls[1][1] and all(not set(a) & set(b) for _, a, b in calls)


def test_a_recipe_learns_from_training_texts_alone_and_chooses_on_validation(monkeypatch):
    calls, read, y = [], [], np.arange(2)
    monkeypatch.setattr(training, "fit_classifier", lambda *a, **how: calls.append((a, how)))
    monkeypatch.setattr(text, "train_skip_gram", lambda ids, *_, **o: read.append((ids, o["seed"])))
    recipe = dataclasses.replace(RECIPE, min_count=1, smoothing=0.1)
    parts = {"train": ["a b", "b a"], "validation": ["c a", "b c"], "test": ["d b", "d d"]}
    networks.fit_and_predict(recipe, {k: (strings, y) for k, strings in parts.items()}, 2, 5)
    [((model, _, validation, config), how)], [(ids, seed)] = calls, read
    assert model.embedding.num_embeddings == 4 and len(ids) == 2  # <pad>, <unk>, a, b
    assert (next(iter(validation))["ids"] == text.UNK).sum() == 2  # of the test texts 3 would be
    assert config == dataclasses.replace(recipe.config, seed=5) and seed == 5
    assert how == {"smoothing": 0.1, "word_dropout": recipe.word_dropout}


def test_a_word_is_rare_by_the_training_texts_alone(monkeypatch):
    monkeypatch.setattr(training, "fit_classifier", lambda *a, **how: None)
    recipe = dataclasses.replace(RECIPE, min_count=2, signatures=True, skip_gram={})
    parts = {
        "train": ["a a running", "a jumping"],
        "validation": ["a"] * 2,
        "test": ["running"] * 2,
    }
    parts = {k: (strings, np.arange(2)) for k, strings in parts.items()}
    _, model = networks.fit_and_predict(recipe, parts, 2, 0)
    assert model.embedding.num_embeddings == 4  # <pad>, <unk>, a, <a ing>


def test_each_change_of_an_ablation_is_made_to_the_recipe_itself(monkeypatch):
    asked, name = [], "attention-sst2"

    def scored(recipe, splits, seed):
        asked.append((recipe, seed))
        return np.arange(2), np.arange(2), nn.Linear(1, 1)

    monkeypatch.setattr(networks, "scored", scored)
    monkeypatch.setattr(data, "load", lambda name, splits: dataset(60, domains=["film"]))
    networks.record(name + networks.ABLATION)
    recipe, changes = networks.RECIPES[name], [{}, *networks.CHANGES[name].values()]
    one = [dataclasses.replace(recipe, **change) for change in changes]
    assert asked == [(changed, seed) for seed in range(recipe.seeds) for changed in one]


def test_both_sides_of_the_speed_comparison_start_from_one_model():
    """Same weights, same texts, padding left out by both: the same loss and gradient."""
    model = small_albert()
    (batch,) = data.batches(IDS, np.array([0, 1] * 4), token_budget=200)
    assert not batch["mask"].all()
    theirs = speed_albert.theirs_of(model).train()
    losses = [
        speed_albert.ours_loss(model.train(), batch),
        speed_albert.theirs_loss(theirs, batch),
    ]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    name = "albert.encoder.embedding_hidden_mapping_in.weight"
    torch.testing.assert_close(
        model.albert.mapping.weight.grad, dict(theirs.named_parameters())[name].grad
    )
    found = speed_albert.steps(model, [batch, batch])
    assert all(value > 0 for value in found.values()) and "step, times as fast, float32" in found


def test_a_model_with_more_positions_reads_short_texts_as_before():
    model = small_albert(max_position_embeddings=6).eval()
    longer = speed_albert.with_positions(model, 15).eval()
    short = torch.randint(5, 50, (3, 6))
    assert torch.equal(longer(short, None), model(short, None))
    assert longer(short.repeat(1, 2), None).shape == (3, 2)
    assert torch.equal(longer.albert.positions.weight[12:], model.albert.positions.weight[:3])


def test_steps_are_timed_after_the_warm_up_in_turns_and_compared_as_theirs_to_ours(monkeypatch):
    calls = []

    def stepper(model, loss, dtype):
        places, seconds = itertools.count(), {"ours_loss": 1.0, "theirs_loss": 4.0}[loss.__name__]
        return lambda batch: calls.append(seconds) or (100 if next(places) < 3 else seconds)

    fakes = {"stepper": stepper, "theirs_of": lambda model: model, "matrix_rate": lambda dtype: 1e9}
    for name, fake in fakes.items():
        monkeypatch.setattr(speed_albert, name, fake)
    model, mask = small_albert(), torch.arange(6) < torch.tensor([6, 4])[:, None]
    found = speed_albert.steps(model, [{"ids": mask.long(), "mask": mask}] * 5)
    assert calls[:6] == [1, 4, 4, 1, 1, 4]
    assert found["step, times as fast, float32"] == 4 and found["tokens a second, float32"] == 10
    work = 3 * 2 * albert.flops(model.albert.config, 6)
    assert found["share of the matrix rate, float32"] == pytest.approx(work / 1e9)


def test_both_loops_are_scored_on_the_test_texts(monkeypatch):
    monkeypatch.setattr(speed_albert, "LR", 1e-9)  # nothing is learned
    model = small_albert()
    says = training.predict_classes(model, data.batches(IDS, shuffle=False))
    ids, labels = {"train": IDS, "test": IDS}, {"train": says, "test": 1 - says}
    theirs = speed_albert.theirs_of(model)
    for seconds, accuracy in (
        speed_albert.usual_epochs(theirs, ids, labels, 0),
        speed_albert.our_epochs(model, ids, labels, 0, 200),
    ):
        assert seconds > 0 and accuracy == 0


def test_an_epoch_is_as_many_times_as_fast_as_theirs_takes_longer(monkeypatch):
    fakes = {"steps": lambda *a: {}, "theirs_of": lambda model: model}
    fakes |= {"usual_epochs": lambda *a: (6.0, 0.5), "our_epochs": lambda *a: (2.0, 0.75)}
    for name, fake in fakes.items():
        monkeypatch.setattr(speed_albert, name, fake)
    monkeypatch.setattr(speed_albert.runtime, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(data, "load", lambda name: dataset(60, domains=["film"]))
    run = speed_albert.compare("mr").run()
    assert run.mean("epoch, times as fast") == 3
    assert run.mean("seconds an epoch, ours") == 2 and run.mean("test accuracy, ours") == 0.75
