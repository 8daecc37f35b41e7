"""Facts about skip-gram: autograd, torch's Adagrad, pointwise mutual information."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tutorial_lib import word2vec
from tutorial_lib.text import PAD, UNK, SkipGram, Vocabulary, nearest, train_skip_gram


@pytest.mark.equation("eq-subsampling")
def test_a_word_four_times_over_the_threshold_is_kept_every_second_time():
    counts = np.array([0, 1, 40, 100, 9859])
    keep = word2vec.keep_probability(counts, threshold=0.001)
    np.testing.assert_allclose(keep[:4], [1, 1, 0.5, math.sqrt(0.1)])
    assert keep[4] == pytest.approx(math.sqrt(0.001 / 0.9859))


@pytest.mark.equation("eq-noise")
def test_noise_flattens_counts_and_never_draws_what_does_not_occur():
    p = word2vec.noise(np.array([0, 1, 16, 81]))
    np.testing.assert_allclose(p, np.array([0, 1, 8, 27]) / 36)


def words_of_two_texts():
    """Return a model in double precision, eight words of two texts, how near, six negatives."""
    model = SkipGram(12, 5, negatives=3)
    random = torch.Generator().manual_seed(1)
    model.centre = torch.randn(12, 5, generator=random, dtype=torch.float64)
    model.context = torch.randn(12, 5, generator=random, dtype=torch.float64)
    ids = np.array([2, 3, 2, 4, 5, 6, 7, 3])
    of = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    ((ids, near),) = word2vec._pieces(ids, of, 2, np.random.default_rng(0))
    return model, ids, near.double(), torch.tensor([8, 9, 2, 8, 10, 11])


def test_a_context_counts_as_often_as_a_window_of_random_size_reaches_it():
    window, text = 4, np.zeros(12, np.int64)
    ((_, near),) = word2vec._pieces(np.arange(2, 14), text, window, np.random.default_rng(0))
    reached = sum(
        torch.tensor([[0 < abs(i - j) <= size for j in range(12)] for i in range(12)]).float()
        for size in range(1, window + 1)  # each with the same chance
    )
    torch.testing.assert_close(near, reached / window)


def test_no_context_reaches_into_another_text():
    _, _, near, _ = words_of_two_texts()
    assert (near > 0).sum() == 14 + 6  # 5 and 3 words, windows of two to either side
    assert torch.equal(near, near.T)


@pytest.mark.equation("eq-negative-sampling")
def test_loss_is_that_of_every_pair_with_its_share_of_the_negatives():
    model, ids, near, drawn = words_of_two_texts()
    total = 0.0
    for i, centre in enumerate(ids):
        v = model.centre[centre]
        noise = sum(-F.logsigmoid(-(model.context[n] @ v)) for n in drawn) / len(drawn)
        for j, other in enumerate(ids):
            total += near[i, j] * (-F.logsigmoid(model.context[other] @ v) + 3 * noise)
    torch.testing.assert_close(model.loss(ids, near, drawn), total)


@pytest.mark.equation("eq-skip-gram-gradient")
def test_gradients_are_autograds():
    model, ids, near, drawn = words_of_two_texts()
    by_centre, by_context = model.gradients(ids, near, drawn)
    rows = torch.zeros_like(model.centre)
    centre = rows.index_add(0, ids, by_centre)  # a word that stands twice gets both
    context = rows.index_add(0, torch.cat([ids, drawn]), by_context)
    model.centre.requires_grad_()
    model.context.requires_grad_()
    model.loss(ids, near, drawn).backward()
    torch.testing.assert_close(centre, model.centre.grad)
    torch.testing.assert_close(context, model.context.grad)


def test_the_loss_is_least_at_pointwise_mutual_information_less_a_constant():
    # Levy and Goldberg 2014: z = log(p(c, o) / (p(c) p(o))) - log(negatives).
    model, ids, near, _ = words_of_two_texts()
    drawn = torch.tensor([2, 2, 3, 4, 5, 6, 7, 7])
    together = torch.zeros(12, 12, dtype=torch.float64)
    together.index_put_((ids[:, None], ids), near, accumulate=True)  # centre, context
    chance = torch.bincount(drawn, minlength=12) / len(drawn)
    best = together / (model.negatives * together.sum(1, keepdim=True) * chance)
    best = best.nan_to_num(0).log().clamp(min=-60, max=60)
    model.centre, model.context = torch.eye(12, dtype=torch.float64), best.T.contiguous()
    _, by_context = model.gradients(ids, near, drawn)
    gradient = torch.zeros_like(best).index_add(0, torch.cat([ids, drawn]), by_context)
    torch.testing.assert_close(gradient, torch.zeros_like(best))
    assert best[2:8, 2:8].isfinite().all() and best[2:8, 2:8].abs().min() > 1e-3


@pytest.mark.equation("eq-adagrad")
def test_a_step_is_torchs_adagrad_where_a_row_is_one_number():
    gradients = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    ours, squares = torch.ones(6, 1), torch.full((6,), 0.01)
    theirs = torch.ones(6, requires_grad=True)
    optimizer = torch.optim.Adagrad([theirs], lr=0.2, initial_accumulator_value=0.01, eps=0)
    for gradient in gradients:
        theirs.grad = gradient
        optimizer.step()
        order = torch.randperm(6)
        word2vec.descend(ours, squares, order, gradient[order][:, None], 0.2)
    torch.testing.assert_close(ours[:, 0], theirs.detach())


def test_a_row_of_equal_gradients_moves_as_one_number_does():
    gradients = torch.randn(9, 4, 1, generator=torch.Generator().manual_seed(0))
    moved = []
    for width in (1, 8):
        vectors, squares = torch.zeros(4, width), torch.full((4,), 0.01)
        for gradient in gradients:
            word2vec.descend(vectors, squares, torch.arange(4), gradient.expand(4, width), 0.2)
        moved.append(vectors)
    torch.testing.assert_close(moved[1], moved[0].expand(4, 8))


@pytest.fixture(scope="module")
def islands():
    """Texts about one of three subjects, ten words each that occur in no other, and their ids."""
    random = np.random.default_rng(0)
    subjects = [[f"{s}{k}" for k in range(10)] for s in "abc"]
    texts = [random.choice(subjects[n % 3], 12).tolist() for n in range(600)]
    vocabulary = Vocabulary.build(texts)
    return vocabulary, [vocabulary.encode(line) for line in texts]


def test_words_of_one_subject_end_up_together(islands):
    vocabulary, ids = islands
    losses = []
    vectors = train_skip_gram(ids, vocabulary, 16, threshold=1.0, epochs=3, report=losses.append)
    assert losses[0] > losses[1] > losses[2]
    assert losses[0] < 6 * math.log(2) + 0.5  # where it begins: six coins a pair
    for word in vocabulary.tokens[2:]:
        found = nearest(vectors, vocabulary, word, 9)
        assert {other[0] for other, _ in found} == {word[0]}
        assert word not in dict(found)


def test_the_special_rows_and_words_that_never_occur():
    sequences = [[2, 3, UNK, 2, PAD], [3, 2], []]
    vectors = train_skip_gram(sequences, 6, 8, threshold=1.0)
    assert vectors.shape == (6, 8) and vectors.isfinite().all()
    assert (vectors[PAD] == 0).all()
    torch.testing.assert_close(vectors[UNK], vectors[2:].mean(0))
    assert vectors[4:].abs().max() <= 0.5 / 8 < vectors[2:4].abs().max()


def test_one_seed_one_result(islands):
    vocabulary, ids = islands
    again = [train_skip_gram(ids[:60], len(vocabulary), 4, epochs=1, seed=s) for s in (0, 0, 1)]
    assert torch.equal(again[0], again[1]) and not torch.equal(again[0], again[2])
    arrays = [np.array(line, np.int32) for line in ids[:60]]
    assert torch.equal(again[0], train_skip_gram(arrays, vocabulary, 4, epochs=1))


def test_training_leaves_out_what_is_too_common_and_draws_from_the_noise(monkeypatch):
    step, pieces, drawn = SkipGram.step, [], []

    def watched(model, ids, near, negatives, lr):
        pieces.append(ids)
        drawn.append(negatives)
        step(model, ids, near, negatives, lr)

    monkeypatch.setattr(SkipGram, "step", watched)
    train_skip_gram([[2] * 8100 + [3] * 1600], 4, 2, threshold=0.04 * 81 / 97)
    ids, negatives = torch.cat(pieces), torch.cat(drawn)
    # Word 2 is kept with probability 0.2, word 3 with root(0.04 · 81 / 16); 27 negatives to 8.
    share = (ids == 2).double().mean().item(), (negatives == 2).double().mean().item()
    expected = 1620 / (1620 + 1600 * math.sqrt(0.04 * 81 / 16)), 27 / 35
    for found, p, n in zip(share, expected, map(len, (ids, negatives)), strict=True):
        assert found == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / n))


def test_a_text_of_one_word_teaches_nothing_and_breaks_nothing():
    losses = []
    vectors = train_skip_gram([[2], [3]], 4, 4, threshold=1.0, report=losses.append)
    assert vectors.isfinite().all() and all(math.isnan(loss) for loss in losses)


@pytest.mark.parametrize("sequences", [[], [[]], [[PAD, UNK]], [[2, 9]]])
def test_texts_without_words_or_with_ids_beyond_the_vocabulary_are_refused(sequences):
    with pytest.raises(ValueError, match="ids from 2 to 8"):
        train_skip_gram(sequences, 9, 4)


@pytest.mark.parametrize("wrong", [{"dim": 0}, {"window": 0}, {"negatives": 0}, {"threshold": 0.0}])
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="above 0"):
        train_skip_gram([[2, 3]], 4, **({"dim": 4} | wrong))


@pytest.mark.equation("eq-cosine")
def test_nearest_is_sorted_by_cosine_whatever_the_lengths():
    vocabulary = Vocabulary.build([["a", "b", "c", "d"]])
    vectors = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    found = nearest(vectors, vocabulary, "b", 3)
    cosines = F.cosine_similarity(vectors[3], vectors[[2, 4, 5]], dim=1)
    assert [word for word, _ in found] == ["acd"[i] for i in cosines.argsort(descending=True)]
    torch.testing.assert_close(
        torch.tensor([c for _, c in found]), cosines.sort(descending=True)[0]
    )
    longer = nearest(vectors * torch.arange(1, 7)[:, None], vocabulary, "b", 99)
    assert [word for word, _ in longer] == [word for word, _ in found]
    vectors[2] = 0
    assert dict(nearest(vectors, vocabulary, "b"))["a"] == 0
    with pytest.raises(ValueError, match="not in the vocabulary"):
        nearest(vectors, vocabulary, "z")
    with pytest.raises(ValueError, match="5 vectors for a vocabulary of 6"):
        nearest(vectors[:5], vocabulary, "a")
