"""Facts about learning from sentences with and without labels."""

import math

import numpy as np
import pytest
import torch

from tutorial_lib import data, semi_supervised, training, vae
from tutorial_lib.semi_supervised import SemiSupervisedVAE
from tutorial_lib.text import pad
from tutorial_lib.training import TrainConfig

V, C, Z = 12, 3, 2
SENTENCES = [[2, 3, 4], [5, 6], [7, 8, 9, 10, 11], [2]]


def made(**options):
    torch.manual_seed(0)
    return SemiSupervisedVAE(
        V, C, latent=Z, embedding=6, hidden=8, **{"dropout": 0.0, **options}
    ).eval()


@pytest.mark.equation("eq-unlabelled-bound")
def test_the_bound_is_largest_where_the_classifier_is_the_softmax_of_the_bounds():
    bounds = -10 * torch.rand(5, C)
    best = semi_supervised.mixture_bound(bounds, bounds.log_softmax(-1))
    torch.testing.assert_close(best, bounds.logsumexp(-1))  # log Σ exp: what Jensen cannot pass
    others = semi_supervised.mixture_bound(bounds, torch.randn(5, C).log_softmax(-1))
    assert (others < best).all()


def test_a_sure_classifier_gives_the_bound_of_its_class():
    bounds, sure = torch.randn(4, C), torch.full((4, C), -200.0)
    sure[:, 1] = 0.0
    torch.testing.assert_close(semi_supervised.mixture_bound(bounds, sure), bounds[:, 1])


@pytest.mark.equation("eq-labelled-bound")
def test_bounds_of_one_class_and_of_a_sure_classifier_agree():
    model, (ids, mask) = made(), pad(SENTENCES)
    with torch.no_grad():
        model.encoder.output.weight.zero_()
        model.encoder.output.bias.copy_(torch.tensor([0.0, 90.0, 0.0]))
        model.code.weight[Z:].zero_()
        model.code.bias[Z:] = -200.0  # hardly any noise: both see the same code
    labelled = model.labelled_bound(ids, mask, torch.full((4,), 1))
    torch.testing.assert_close(model.unlabelled_bound(ids, mask), labelled, rtol=1e-3, atol=0.2)


def test_the_divergence_is_that_of_each_class_weighed_by_the_classifier():
    model, (ids, mask) = made(), pad(SENTENCES)
    with torch.no_grad():
        model.code.weight *= 5  # posteriors that differ from class to class
        summary = model.encoder.summary(model.encoder.embedding(ids, mask), mask)
        probs, by_hand = model(ids, mask).softmax(-1), torch.zeros(len(SENTENCES))
        for y in range(C):
            told = torch.zeros(len(SENTENCES), C)
            told[:, y] = 1
            mean, log_variance = model.code(torch.cat([summary, told], -1)).chunk(2, -1)
            deviation = (vae.bounded(log_variance) / 2).exp()
            q = torch.distributions.Normal(mean, deviation)
            prior = torch.distributions.Normal(torch.zeros(Z), torch.ones(Z))
            by_hand += probs[:, y] * torch.distributions.kl_divergence(q, prior).sum(-1)
    found = model.divergence(ids, mask)
    torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-5)
    assert found.min() > 0.01


def test_the_labelled_bound_holds_likelihood_prior_and_divergence():
    model, (ids, mask), labels = made(), pad(SENTENCES), torch.tensor([0, 1, 2, 1])
    with torch.no_grad():
        model.code.weight.zero_()
        model.code.bias.zero_()
        model.decoder.begin.weight[:, :Z] = 0  # blind to z, so that the sample does not matter
        model.decoder.layer.weight_ih_l0[:, 6 : 6 + Z] = 0
        y = torch.eye(C)[labels]
        given = model.decoder(ids, mask, torch.cat([torch.zeros(4, Z), y], 1))
        found = model.labelled_bound(ids, mask, labels)
    torch.testing.assert_close(found, given - math.log(C))  # q is the prior: no divergence


def test_the_labelled_bound_written_out():
    model, (ids, mask), labels = made(), pad(SENTENCES), torch.tensor([0, 1, 2, 1])
    y = torch.eye(C)[labels]
    states = model.encoder.states(model.encoder.embedding(ids, mask), mask)
    mean_state = states.sum(1) / mask.sum(1, keepdim=True)
    mean, raw = model.code(torch.cat([mean_state, y], 1)).chunk(2, -1)
    q = torch.distributions.Normal(mean, (vae.bounded(raw) / 2).exp())
    p = torch.distributions.Normal(torch.zeros(Z), torch.ones(Z))
    torch.manual_seed(7)
    z = q.mean + q.stddev * torch.randn(4, Z)
    given = model.decoder(ids, mask, torch.cat([z, y], 1))
    expected = given - math.log(C) - torch.distributions.kl_divergence(q, p).sum(-1)
    torch.manual_seed(7)
    torch.testing.assert_close(model.labelled_bound(ids, mask, labels), expected)


def test_as_a_function_it_is_its_classifier():
    model, (ids, mask) = made(), pad(SENTENCES)
    torch.testing.assert_close(model(ids, mask), model.encoder(ids, mask))


def test_the_class_reaches_the_decoder():
    model, (ids, mask) = made(), pad(SENTENCES)
    bounds = []
    for label in range(2):
        torch.manual_seed(5)
        bounds.append(model.labelled_bound(ids, mask, torch.full((4,), label)))
    assert (bounds[0] - bounds[1]).abs().max() > 1e-3


def test_a_label_that_is_none_is_refused():
    with pytest.raises(ValueError, match="labels run from 0 to 2"):
        made().labelled_bound(*pad(SENTENCES), torch.tensor([0, 1, 2, 3]))


def test_each_way_predicts_every_test_text_and_learns_what_is_easy():
    words, labels = {}, {}
    for seed, split in enumerate(("train", "test")):
        words[split], labels[split] = kinds(seed, 120)
    texts = {split: [written(row) for row in rows] for split, rows in words.items()}
    sizes = {"latent": Z, "embedding": 6, "hidden": 16}
    torch.manual_seed(0)
    model = vae.SentenceVAE(V, **sizes)
    unlabelled = numbered(words["train"])
    config = TrainConfig(30, 1e-2, precision="no")
    vae.fit(model, unlabelled, unlabelled, config, vae.Recipe(free_bits=0.5), progress=False)
    found = semi_supervised.compare(
        model, texts, words, labels, 30, sizes=sizes, joint=TrainConfig(2, 1e-2, precision="no")
    )
    assert set(found) == {
        "NB-SVM", "LSA", "encoder from scratch", "VAE's encoder", "VAE's code", "joint model"
    }  # fmt: skip
    right = {name: (predicted == labels["test"]).mean() for name, predicted in found.items()}
    assert min(right.values()) > 0.9, right
    assert "joint model" not in semi_supervised.compare(
        model, texts, words, labels, 30, sizes=sizes, epochs=1, updates=1
    )


def test_few_labels_get_as_many_updates_as_more_labels(monkeypatch):
    words, labels = kinds(0, 120)
    texts = [written(row) for row in words]
    steps = []

    def noting(model, batches, validation, config, **rest):
        steps.append(config.epochs * len(batches))

    monkeypatch.setattr(training, "fit_classifier", noting)
    for size in (4, 100):
        both = ({split: part for split in ("train", "test")} for part in (texts, words, labels))
        semi_supervised.compare(
            vae.SentenceVAE(V, latent=Z, embedding=6, hidden=16), *both, size,
            sizes={"latent": Z, "embedding": 6, "hidden": 16}, epochs=2, updates=10,
        )  # fmt: skip
    assert steps == [10, 10, 10, 10]


def test_each_way_gets_its_own_start_and_each_seed_its_labels(monkeypatch):
    words, labels = kinds(0, 120)
    texts = [written(row) for row in words]
    sizes = {"latent": Z, "embedding": 6, "hidden": 16}
    model, drawn, starts = vae.SentenceVAE(V, **sizes), [], []

    def counting(strings, *_):
        drawn.append(tuple(strings))
        return labels, 0

    def network(classifier, batches, validation, config, **_):
        carried = classifier.embedding.weight.equal(model.encoder.embedding.weight)
        starts.append((carried, config.seed))
        assert (classifier.embedding.weight.std() < 0.5) == (not carried)  # a new one starts small

    monkeypatch.setattr(semi_supervised, "nbsvm", counting)
    monkeypatch.setattr(training, "fit_classifier", network)
    monkeypatch.setattr(
        semi_supervised, "fit_semi_supervised", lambda *_, alpha, **__: starts.append(alpha)
    )
    for seed in (0, 1):
        both = ({split: part for split in ("train", "test")} for part in (texts, words, labels))
        semi_supervised.compare(
            model, *both, 10, seed=seed, sizes=sizes, alpha=3.0, joint=TrainConfig()
        )
    assert len(drawn[0]) == len(drawn[1]) == 10 and drawn[0] != drawn[1]
    assert starts == [(False, 0), (True, 0), 3.0, (False, 1), (True, 1), 3.0]


def numbered(sentences, labels=None, **options):
    return data.batches([np.array(s) for s in sentences], labels, token_budget=32, **options)


def test_pairs_go_through_what_has_no_label_once_and_repeat_what_has():
    few, many = numbered(SENTENCES, [0, 1, 2, 0]), numbered(SENTENCES * 9)
    pairs = semi_supervised.Pairs(few, many)
    pairs.set_epoch(0)
    seen = list(pairs)
    assert len(seen) == len(pairs) == len(many)
    rows = torch.cat([pair["unlabelled"]["rows"] for pair in seen])
    assert sorted(rows.tolist()) == list(range(36))
    assert sum(len(pair["labelled"]["labels"]) for pair in seen) == 4 * len(many)
    assert len(list(semi_supervised.Pairs([1], [2, 3]))) == 2  # lists will do
    with pytest.raises(ValueError, match="must be batches"):
        semi_supervised.Pairs([], [1])


def test_each_epoch_has_its_own_pairs():
    few = numbered(SENTENCES * 20, [0, 1, 2, 0] * 20, shuffle=True)
    pairs, first = semi_supervised.Pairs(few, numbered(SENTENCES)), []
    for epoch in (0, 1, 0):
        pairs.set_epoch(epoch)
        first.append(next(iter(pairs))["labelled"]["rows"].tolist())
    assert first[0] == first[2] != first[1]


def kinds(seed, size):
    """Sentences of two kinds that share most words; the kind is in which words come together."""
    random = np.random.default_rng(seed)
    labels = random.integers(2, size=size)
    words = [random.permutation(range(2, 6) if y else range(6, 10)) for y in labels]
    return words, labels


def written(row):
    return " ".join(f"word{k}" for k in row)


def dialects(seed, size):
    """Sentences of two words of one dialect; a dialect has twelve, none of the other's."""
    random = np.random.default_rng(seed)
    labels = random.integers(2, size=size)
    return [random.permutation(12)[:2] + 2 + 12 * y for y in labels], labels


def test_sentences_without_labels_teach_the_classifier():
    words, labels = dialects(0, 600)
    firsts = [int(np.flatnonzero(labels == y)[0]) for y in (0, 1)]
    few = numbered([words[i] for i in firsts], labels[firsts])
    new, truth = dialects(1, 300)

    def right(model):
        return (training.predict_classes(model, numbered(new, shuffle=False)) == truth).mean()

    torch.manual_seed(0)
    sizes = {"latent": Z, "embedding": 8, "hidden": 16, "dropout": 0.0}
    model = SemiSupervisedVAE(26, 2, **sizes)
    alone = SemiSupervisedVAE(26, 2, **sizes)
    training.fit_classifier(alone, few, None, TrainConfig(60, 1e-2, precision="no"), progress=False)
    assert right(alone) < 0.8  # most words stand in neither of the two labelled sentences
    semi_supervised.fit_semi_supervised(
        model, few, numbered(words), TrainConfig(25, 1e-2, precision="no"), progress=False
    )
    assert right(model) > right(alone) + 0.1


def test_a_classifier_begins_with_the_encoder_of_a_vae():
    torch.manual_seed(0)
    model = vae.SentenceVAE(V, latent=Z, embedding=6, hidden=8).eval()
    classifier = semi_supervised.classifier_from(model, C, dropout=0.5).eval()
    ids, mask = pad(SENTENCES)
    x = classifier.embedding(ids, mask)
    torch.testing.assert_close(classifier.states(x, mask), model.encoder.states(x, mask))
    assert classifier(ids, mask).shape == (4, C)
    states, _ = classifier.layer(classifier.embedding.weight[[7, 8, 9]][None])
    torch.testing.assert_close(classifier(*pad([[7, 8, 9]])), classifier.output(states.mean(1)))
    assert classifier.embedding.weight.equal(model.encoder.embedding.weight)
    with torch.no_grad():
        classifier.layer.weight_hh_l0.zero_()
    assert model.encoder.layer.weight_hh_l0.abs().sum() > 0  # a copy


@pytest.mark.equation("eq-semi-supervised")
def test_the_objective_adds_up_both_bounds_and_the_cross_entropy():
    model = made()
    (few,), (many,) = numbered(SENTENCES, [0, 1, 2, 0]), numbered(SENTENCES[:2])
    torch.manual_seed(0)
    found = semi_supervised.objective(model, few, many, 7.0, 0.25)
    torch.manual_seed(0)
    labelled = model.labelled_bound(few["ids"], few["mask"], few["labels"]).mean()
    unlabelled = model.unlabelled_bound(many["ids"], many["mask"]).mean()
    cross = torch.nn.functional.cross_entropy(model(few["ids"], few["mask"]), few["labels"])
    torch.testing.assert_close(found, 7 * cross - 0.25 * labelled - unlabelled)


def test_a_fit_counts_each_sentence_once(monkeypatch):
    seen, objective = [], semi_supervised.objective

    def record(model, few, many, alpha, ratio):
        seen.append((alpha, ratio))
        return objective(model, few, many, alpha, ratio)

    monkeypatch.setattr(semi_supervised, "objective", record)
    few, many = numbered(SENTENCES, [0, 1, 2, 0]), numbered([[2, 3, 4, 5]] * 80)  # 10 batches
    semi_supervised.fit_semi_supervised(
        made(), few, many, TrainConfig(1, precision="no"), alpha=3.0, progress=False
    )
    assert seen == [(3.0, 4 / 80)] * 10


@pytest.mark.parametrize("alpha", [-1.0, math.nan, math.inf])
def test_a_weight_that_cannot_be_is_refused(alpha):
    words, labels = kinds(0, 4)
    with pytest.raises(ValueError, match="alpha is finite, 0 or more"):
        semi_supervised.fit_semi_supervised(
            made(), numbered(words, labels), numbered(words), alpha=alpha
        )
