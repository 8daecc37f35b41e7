"""The experiment of chapter 09: what is read of a text, what is carried over, what is compared."""

import copy

import datasets
import numpy as np
import pytest
import torch

from tutorial_lib import text, transfer
from tutorial_lib import transfer_probes as tp
from tutorial_lib.attention import TransformerClassifier
from tutorial_lib.cnn import TextCNN

PRAISE, BLAME = ["good", "fine", "superb"], ["bad", "awful", "dull"]


def write(things, rows=60, seed=0):
    """Praise and blame of some things, in turn."""
    dice = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    words = [
        [*dice.choice(things, 3), dice.choice(PRAISE if y else BLAME), dice.choice(things)]
        for y in labels
    ]
    return tp.Texts([" ".join(w) for w in words], labels)


FILM, SHOP = write(["actor", "plot", "scene"]), write(["knife", "pan", "lid"], seed=1)


def network(size):
    torch.manual_seed(0)
    return TextCNN(size, 2, embedding=12, filters=8, dropout=0.0)


def test_reading_joins_splits_in_order():
    rows = {"text": ["A<br />film", "b", "c"], "label": [1, 0, 1]}
    splits = datasets.DatasetDict(one=datasets.Dataset.from_dict(rows))
    splits["two"] = datasets.Dataset.from_dict({"text": ["d"], "label": [0]})
    found = tp.read(splits, "two", "one", most=2)
    assert found.strings == ["d", "A<br />film", "b"]
    assert found.labels.tolist() == [0, 1, 0]


def test_a_few_are_drawn_by_the_seed_in_the_classes_proportion():
    texts = tp.Texts([str(i) for i in range(100)], np.arange(100) % 4 // 3)  # 75 and 25
    some = texts.few(20, seed=3)
    assert np.bincount(some.labels).tolist() == [15, 5]
    assert all(texts.labels[int(s)] == y for s, y in zip(*some, strict=True))
    assert texts.few(20, seed=3).strings == some.strings != texts.few(20, seed=4).strings
    first, second = texts.halves()
    assert first.strings + second.strings == texts.strings and len(first.labels) == 50
    assert np.array_equal(np.concatenate([first.labels, second.labels]), texts.labels)
    both = some + texts
    assert both.strings == some.strings + texts.strings and len(both.labels) == 120


def test_cross_validation_asks_about_no_text_that_was_learned_from(monkeypatch):
    words = ("awful", "superb") * 15
    texts = tp.Texts([f"{w} w{n}" for n, w in enumerate(words)], np.array([0, 1] * 15))
    real, asked = tp.nbsvm, []

    def noting(learned, others, seed):
        assert not {*learned.strings} & {*others.strings} and seed == 7
        assert len(learned.strings) == 24 and learned.labels.mean() == pytest.approx(0.5, abs=0.05)
        asked.extend(others.strings)
        return real(learned, others, seed)

    monkeypatch.setattr(tp, "nbsvm", noting)
    found = tp.cross_validated(texts, seed=7)
    assert sorted(asked) == sorted(texts.strings) and found.shape == (30,)
    assert found.tolist() == texts.labels.tolist()  # two words tell all
    turned = tp.Texts(texts.strings, 1 - texts.labels)
    assert (tp.cross_validated(turned, seed=7) == turned.labels).all()
    with pytest.raises(ValueError, match="n_splits=5"):
        tp.cross_validated(FILM.few(4))


def test_a_long_text_keeps_its_first_quarter_and_its_end():
    numbers = [str(i) for i in range(200)]
    kept = tp.ends(" ".join(numbers))
    assert kept == numbers[:32] + numbers[-96:]
    assert tp.ends("short and whole") == ["short", "and", "whole"]


def test_words_are_those_that_are_read_twice():
    long = tp.Texts(["start " + "filler " * 60 + "unread " + "filler " * 100, "start"], np.zeros(2))
    vocabulary = tp.vocabulary(long)
    assert "start" in vocabulary and "filler" in vocabulary and "unread" not in vocabulary
    assert len(tp.vocabulary(long, max_size=3)) == 3
    (ids,) = tp.words(vocabulary)(["start never"])
    assert ids.tolist() == [*vocabulary.encode(["start"]), text.UNK]


def test_the_number_of_passes_stays_within_its_limits():
    assert [tp.passes(n) for n in (20, 100, 200, 500, 1_000, 10_000)] == [30, 30, 15, 6, 4, 4]


def test_answers_come_in_the_order_of_the_texts():
    vocabulary = tp.vocabulary(FILM)
    model = tp.learn(network(len(vocabulary)), FILM, tp.words(vocabulary), lr=1e-2, epochs=20)
    assert (tp.answers(model, FILM, tp.words(vocabulary)) == FILM.labels).all()
    turned = tp.Texts(FILM.strings[::-1], FILM.labels[::-1])
    assert (tp.answers(model, turned, tp.words(vocabulary)) == turned.labels).all()


def test_shares_and_leads_are_those_of_the_bootstrap():
    right, half = FILM.labels, np.zeros(60, int)
    assert tp.share(right, FILM) == (1, 1, 1) and tp.share(half, FILM).value == 0.5
    both = {"right": right, "half": half}
    assert tp.shares(both, FILM) == {name: tp.share(says, FILM) for name, says in both.items()}
    gap = tp.lead(right, half, FILM)
    assert gap.value == 0.5 and 0.3 < gap.low < 0.5 < gap.high < 0.7
    assert tp.lead(half, half, FILM) == (0, 0, 0)


def test_the_share_of_a_model_is_that_of_its_answers():
    encode = tp.words(tp.vocabulary(FILM))
    model = tp.network(len(tp.vocabulary(FILM)))
    assert tp.right(model, FILM, encode) == tp.share(tp.answers(model, FILM, encode), FILM)


def test_a_network_is_that_of_its_seed():
    first, again, other = (tp.network(9, 3, seed).output.weight for seed in (1, 1, 2))
    assert first.shape[0] == 3 and torch.equal(first, again) and not torch.equal(first, other)


def test_a_cost_is_split_into_the_sources_and_the_strategys():
    truth = FILM.labels
    wrong = {n: np.where(np.arange(60) < n, 1 - truth, truth) for n in (3, 12, 30)}
    cost = tp.cost(wrong[30], wrong[12], wrong[3], FILM)
    assert cost.whole.value == pytest.approx(-27 / 60)
    assert cost.source.value == pytest.approx(-18 / 60) and cost.source.high < 0
    assert cost.strategy.value == pytest.approx(-9 / 60) and cost.strategy.high < 0
    whole, source, strategy = str(cost).splitlines()
    assert whole == str(cost.whole)
    assert source.split() == ["source", *str(cost.source).split()]
    assert strategy.split() == ["strategy", *str(cost.strategy).split()]
    assert tp.cost(wrong[12], wrong[12], wrong[3], FILM).source == (0, 0, 0)


def test_nbsvm_learns_what_is_shared_by_both_domains():
    assert (tp.nbsvm(FILM, SHOP) == SHOP.labels).all()  # the same words of praise and blame


def test_opinions_learned_of_one_domain_hold_in_the_other():
    both = {"film": FILM, "shop": SHOP}
    found = tp.matrix(both, both, network, 20, lr=1e-2)
    assert np.diag(found.untrained).min() > 0.9
    assert found.untrained.min() > 0.8 and np.nanmin(found.tuned) > 0.8
    assert np.isnan(np.diag(found.tuned)).all() and np.isnan(np.diag(found.distance)).all()
    assert np.nanmin(found.distance) > 1.9  # each thing gives its domain away


def test_strategies_carry_copies_with_new_heads():
    torch.manual_seed(0)
    vocabulary = tp.vocabulary(FILM, SHOP)
    source = TransformerClassifier(len(vocabulary), 2, dim=8, heads=2, layers=1, feedforward=8)
    before = copy.deepcopy(source.state_dict())
    three = tp.Texts(SHOP.strings, np.arange(60) % 3)
    models, says = tp.strategies(
        source, three, SHOP, tp.words(vocabulary), transfer.STRATEGIES, lr=1e-2, epochs=1, rank=2
    )
    for name, old in before.items():
        assert torch.equal(source.state_dict()[name], old)
    assert list(models) == list(says) == list(transfer.STRATEGIES)
    for model, answers in zip(models.values(), says.values(), strict=True):
        assert model.output.out_features == 3 and answers.shape == (60,)
    kept, says = tp.strategies(
        source, SHOP, SHOP, tp.words(vocabulary), ["full"], lr=1e-9, keep=[1, 0], epochs=1
    )
    assert (says["full"] == 1 - tp.answers(source, SHOP, tp.words(vocabulary))).all()
    same = [n for n, p in models["features"].named_parameters() if not n.startswith("output")]
    for name in same:
        assert torch.equal(models["features"].state_dict()[name], before[name]), name


def test_low_rank_changes_learn_at_a_rate_of_their_own(monkeypatch):
    vocabulary, rates = tp.vocabulary(FILM), []
    source = TransformerClassifier(len(vocabulary), 2, dim=8, heads=2, layers=1, feedforward=8)

    def note(model, texts, encode, name, *, lr, **more):
        rates.append((name, lr))
        return model

    monkeypatch.setattr(tp, "learn", note)
    for own in (None, 7e-4):
        arguments = source, FILM, FILM, tp.words(vocabulary), ["lora", "full"]
        tp.strategies(*arguments, lr=1e-4, low_rank_lr=own)
    assert rates == [("lora", 2e-4), ("full", 1e-4), ("lora", 7e-4), ("full", 1e-4)]


def test_pieces_are_those_of_the_tokenizer():
    from tutorial_lib import finetuning, hub

    tokenizer = hub.load("mini-albert").tokenizer
    string = "An awful film. " * 80
    (ids,) = tp.pieces(tokenizer)([string])
    (expected,) = finetuning.encode([string], tokenizer, tp.LONGEST)
    assert ids.tolist() == expected.tolist() and len(ids) == 128


def test_too_few_labels_for_the_classes_are_refused():
    with pytest.raises(ValueError, match="classes = 2"):
        FILM.few(1)


def test_more_labels_than_there_are_are_refused():
    assert FILM.few(60).strings == FILM.strings
    with pytest.raises(ValueError, match="smaller than the number of samples 60"):
        FILM.few(61)


def test_learning_is_by_the_slanted_schedule_and_its_seed(monkeypatch):
    seen, encode = [], tp.words(tp.vocabulary(FILM))

    def noting(model, way, batches, config, **_):
        order = torch.cat([batch["rows"] for batch in batches]).tolist()
        seen.append((config, order, torch.rand(1).item()))

    monkeypatch.setattr(transfer, "adapt", noting)
    for seed in (0, 1):
        tp.learn(network(5), FILM, encode, lr=1e-3, seed=seed)
    (one, order, drawn), (two, other, again) = seen
    assert (one.schedule, one.warmup, one.epochs, one.lr) == ("slanted", 0.1, 30, 1e-3)
    assert (one.seed, two.seed) == (0, 1) and order != other and drawn != again


def test_a_matrix_is_scored_on_the_scored_texts():
    both = {"film": FILM, "shop": SHOP}
    turned = {name: tp.Texts(texts.strings, 1 - texts.labels) for name, texts in both.items()}
    found = tp.matrix(both, turned, network, 20, lr=1e-2)
    assert found.untrained.max() < 0.2 and np.nanmax(found.tuned) < 0.2


def test_a_matrix_tunes_at_half_the_rate_and_lower_below(monkeypatch):
    calls, both = [], {"film": FILM, "shop": SHOP}

    def noting(model, texts, *_, **how):
        calls.append((len(texts.labels), how))
        return model

    monkeypatch.setattr(tp, "learn", noting)
    tp.matrix(both, both, network, 20, lr=4e-3, decay=0.5, epochs=3)
    assert calls[:2] == [(60, {"lr": 4e-3}), (20, {"lr": 2e-3, "decay": 0.5, "epochs": 3})]


def test_strategies_hand_on_seed_and_rates_and_draw_new_heads_by_the_seed(monkeypatch):
    encode, calls = tp.words(tp.vocabulary(FILM)), []

    def noting(model, *_, **how):
        calls.append((how, model.output.weight.detach().clone()))
        return model

    monkeypatch.setattr(tp, "learn", noting)
    source = network(len(tp.vocabulary(FILM)))
    for seed in (1, 1, 2):
        tp.strategies(source, FILM, FILM, encode, ["full"], lr=1e-3, decay=0.7, seed=seed)
    (how, one), (_, again), (other, two) = calls
    assert (how["seed"], how["decay"], other["seed"]) == (1, 0.7, 2)
    assert one.equal(again) and not one.equal(two)


def test_each_reader_normalises_a_text_once(monkeypatch):
    """An escaped bracket is a bracket; normalised twice, what it holds would be a tag and lost."""
    texts = tp.Texts(["a &lt;b&gt; c"], np.array([0]))
    assert tp.ends(texts.strings[0]) == ["a", "<", "b", ">", "c"]
    vocabulary = tp.vocabulary(texts, texts)
    read = tp.words(vocabulary)(texts.strings)[0].tolist()
    assert read == vocabulary.encode(["a", "<", "b", ">", "c"]) and text.UNK not in read
    seen = []
    monkeypatch.setattr(tp.baselines, "nbsvm", lambda *a: seen.append(a) or (texts.labels, 0))
    tp.nbsvm(texts, texts)
    assert seen[0][0] == seen[0][2] == texts.strings  # it normalises for itself
