"""Facts about additive attention, pooling, the classifiers and what is read off them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tutorial_lib import attention as at
from tutorial_lib import softmax, text

V, C = 30, 3
MODELS = {
    "attention": lambda: at.AttentionClassifier(V, C, embedding=8),
    "three queries": lambda: at.AttentionClassifier(V, C, embedding=8, queries=3),
    "sinusoidal": lambda: at.TransformerClassifier(V, C, dim=8, heads=2, feedforward=16),
    "learned": lambda: at.TransformerClassifier(
        V, C, dim=8, heads=2, feedforward=16, positions="learned", norm_first=False, max_length=64
    ),
    "max": lambda: at.TransformerClassifier(V, C, dim=8, heads=2, feedforward=16, pooling="max"),
    "pooled": lambda: at.TransformerClassifier(
        V, C, dim=8, heads=2, feedforward=16, pooling="attention"
    ),
}


def made(name):
    torch.manual_seed(0)
    return MODELS[name]().eval()


every_model = pytest.mark.parametrize("name", MODELS)


@pytest.mark.equation("eq-additive")
def test_additive_scores_are_the_formula_for_each_pair():
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 4, 3), torch.randn(2, 5, 6)
    w_query, w_key, u = torch.randn(7, 3), torch.randn(7, 6), torch.randn(7)
    scores = at.additive_scores(queries, keys, w_query, w_key, u)
    assert scores.shape == (2, 4, 5)
    expected = u @ torch.tanh(w_query @ queries[1, 2] + w_key @ keys[1, 4])
    torch.testing.assert_close(scores[1, 2, 4], expected)


@pytest.mark.equation("eq-attention-pooling")
def test_pooling_is_additive_attention_with_one_query():
    torch.manual_seed(0)
    pool, states = at.AttentionPooling(6, hidden=4), torch.randn(2, 5, 6)
    mask = torch.arange(5) < torch.tensor([5, 3])[:, None]
    pooled, weights = pool(states, mask)
    # A query of one element, 1, turns the weights of the query into the bias.
    scores = at.additive_scores(
        torch.ones(2, 1, 1), states, pool.project.bias[:, None], pool.project.weight,
        pool.score.weight[0],
    )  # fmt: skip
    expected = F.softmax(scores[:, 0].masked_fill(~mask, -math.inf), -1)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(pooled[1], sum(expected[1, t] * states[1, t] for t in range(3)))


def test_pooling_with_equal_scores_is_the_mean_over_the_tokens():
    pool, states = at.AttentionPooling(6), torch.randn(2, 5, 6)
    nn.init.zeros_(pool.score.weight)
    mask = torch.arange(5) < torch.tensor([5, 2])[:, None]
    torch.testing.assert_close(pool(states, mask)[0][1], states[1, :2].mean(0))


def test_pooling_nothing_gives_zeros_and_finite_gradients():
    pool, states = at.AttentionPooling(6), torch.randn(2, 5, 6, requires_grad=True)
    mask = torch.tensor([[True] * 5, [False] * 5])
    pooled, weights = pool(states, mask)
    assert pooled[1].eq(0).all() and weights[1].eq(0).all()
    pooled.square().sum().backward()
    assert states.grad.isfinite().all() and states.grad[1].eq(0).all()


@pytest.mark.parametrize(("name", "over"), [("sinusoidal", torch.mean), ("max", torch.amax)])
def test_the_classifier_is_the_encoder_over_scaled_vectors_with_positions(name, over):
    model = made(name)
    ids, mask = text.pad([[3, 4, 5, 6], [7, 8]])
    x = 8**0.5 * F.embedding(ids, model.embedding.weight) + at.sinusoidal(4, 8)
    states, _ = model.encoder(x, mask)
    pooled = [over(row[tokens], 0) for row, tokens in zip(states, mask, strict=True)]
    torch.testing.assert_close(model(ids, mask), model.output(torch.stack(pooled)))


def size(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("norm_first", [True, False])
def test_each_layer_has_parameters_of_its_own(norm_first):
    options = {"dim": 8, "heads": 2, "feedforward": 16, "layers": 3, "norm_first": norm_first}
    layer, norm = nn.TransformerEncoderLayer(8, 2, 16), nn.LayerNorm(8) if norm_first else None
    theirs = nn.TransformerEncoder(layer, 3, norm, enable_nested_tensor=False)
    model = at.TransformerClassifier(V, C, **options)
    assert size(model) == V * 8 + size(theirs) + C * (8 + 1)


def test_each_query_has_parameters_of_its_own():
    assert size(made("three queries")) == V * 8 + 3 * (8 * 8 + 8 + 8) + C * (3 * 8 + 1)


lengths = st.lists(st.integers(1, 12), min_size=1, max_size=5)


@every_model
@settings(deadline=None, max_examples=20)
@given(lengths=lengths, extra=st.integers(0, 20), seed=st.integers(0, 1000))
def test_padding_and_neighbours_never_change_a_prediction(name, lengths, extra, seed):
    model, random = made(name), torch.Generator().manual_seed(seed)
    texts = [torch.randint(1, V, (n,), generator=random).tolist() for n in lengths]
    ids, mask = text.pad(texts)
    ids = F.pad(ids, (0, extra), value=7)  # whatever stands in the padding has no influence
    mask = F.pad(mask, (0, extra))
    with torch.no_grad():
        together = model(ids, mask)
        for row, alone in enumerate(texts):
            torch.testing.assert_close(model(*text.pad([alone]))[0], together[row])


@every_model
def test_a_text_without_tokens_gets_finite_logits_and_spoils_no_gradient(name):
    model = made(name)
    ids, mask = text.pad([[3, 4, 5], []])
    logits = model(ids, mask)
    assert logits.isfinite().all()
    if name in ("attention", "sinusoidal", "max"):  # pooled to zeros: the bias alone is left
        torch.testing.assert_close(logits[1], model.output.bias)
    logits.square().sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


@every_model
def test_one_token_and_ten_thousand_tokens_work(name):
    model = made(name)
    ids = torch.arange(10_000).remainder(V - 1)[None] + 1
    with torch.no_grad():
        assert model(ids[:, :1], ids[:, :1] > 0).isfinite().all()
        if name == "learned":
            with pytest.raises(ValueError, match="10000 tokens.*max_length=64"):
                model(ids, ids > 0)
        else:
            assert model(ids, ids > 0).isfinite().all()


@every_model
def test_ids_that_do_not_fit_are_refused(name):
    model, mask = made(name), torch.ones(1, 2, dtype=torch.bool)
    for bad in (-1, V):
        with pytest.raises(ValueError, match="0 to 29"):
            model(torch.tensor([[1, bad]]), mask)
    model(torch.tensor([[1, V]]), torch.tensor([[True, False]]))  # padding may hold anything
    for shape in ((0, 3), (2, 0)):
        with pytest.raises(ValueError, match="empty"):
            model(torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.bool))
    if isinstance(model, at.TransformerClassifier):
        with pytest.raises(ValueError, match="on the right"):
            model(torch.tensor([[1, 2]]), torch.tensor([[False, True]]))


@pytest.mark.parametrize("model", [at.AttentionClassifier, at.TransformerClassifier])
def test_sizes_vectors_and_choices_that_do_not_fit_are_refused(model):
    with pytest.raises(ValueError, match="at least 1"):
        model(V, 0)
    with pytest.raises(ValueError, match=r"must be \[30, \d+\].*got \[30, 5\]"):
        model(V, C, vectors=torch.zeros(V, 5))
    with pytest.raises(ValueError, match="finite"):
        width = made("attention").embedding.embedding_dim
        options = {"dim": width} if model is at.TransformerClassifier else {"embedding": width}
        model(V, C, vectors=torch.full((V, width), math.nan), **options)


def test_unknown_choices_are_refused():
    with pytest.raises(ValueError, match="sinusoidal or learned"):
        at.TransformerClassifier(V, C, positions="none")
    with pytest.raises(ValueError, match="mean, max or attention"):
        at.TransformerClassifier(V, C, pooling="last")
    with pytest.raises(ValueError, match="even dim"):
        at.TransformerClassifier(V, C, dim=9, heads=3)


@pytest.mark.parametrize("name", ["attention", "sinusoidal"])
def test_given_vectors_are_copied_and_padding_is_zero(name):
    vectors = torch.randn(V, 8)
    if name == "attention":
        model = at.AttentionClassifier(V, C, embedding=8, vectors=vectors)
    else:
        model = at.TransformerClassifier(V, C, dim=8, heads=2, vectors=vectors)
    torch.testing.assert_close(model.embedding.weight[1:], vectors[1:])
    assert model.embedding.weight[text.PAD].eq(0).all()
    before = vectors.clone()
    with torch.no_grad():
        model.embedding.weight += 1
    torch.testing.assert_close(vectors, before)


@pytest.mark.parametrize("model", [at.AttentionClassifier, at.TransformerClassifier])
def test_dropout_of_everything_leaves_no_word_and_the_bias_alone(model):
    model, read = model(V, C, dropout=1.0).train(), []
    part = model.pools[0] if hasattr(model, "pools") else model.encoder
    part.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    part.register_forward_hook(lambda _, args, found: (found[0] + 1, found[1]))  # not 0 in any case
    logits = model(*text.pad([[3, 4, 5], [6]]))
    torch.testing.assert_close(logits, model.output.bias.expand(2, C))
    assert read[0].eq(0).all()


def test_dropout_of_everything_leaves_what_enters_the_layers():
    model, x = at.TransformerClassifier(V, C, dropout=1.0).train(), torch.randn(2, 4, 128)
    torch.testing.assert_close(model.encoder(x)[0], model.encoder.norm(x))  # pre-norm


def test_only_positions_tell_one_order_from_another():
    ids = torch.tensor([[3, 4, 5, 6]])
    mask = ids > 0
    for name in MODELS:
        model = made(name)
        same = torch.allclose(model(ids, mask), model(ids.flip(1), mask), atol=1e-6)
        assert same == (name in ("attention", "three queries"))


def trained(model, ids, labels, steps):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for _ in range(steps):
        loss = softmax.cross_entropy(model(ids, ids > 0), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def one_word():
    """Texts of filler with word 2, word 3 or neither, a class each, and a model trained on them.

    With two classes a model needs to find one of the words only: without it, it is the other.
    """
    torch.manual_seed(0)
    ids = torch.randint(4, V, (300, 9))
    labels, place = torch.arange(300) % 3, torch.randint(9, (300,))
    ids[torch.arange(300)[labels < 2], place[labels < 2]] = 2 + labels[labels < 2]
    model = trained(at.AttentionClassifier(V, 3, embedding=8, dropout=0.0), ids, labels, 300)
    assert (model(ids, ids > 0).argmax(1) == labels).all()
    return model, ids[labels < 2], place[labels < 2]


def test_attention_learns_to_look_at_the_word_that_decides(one_word):
    model, ids, place = one_word
    ((_, weights),) = model.attend(ids, ids > 0)
    assert (weights.argmax(1) == place).float().mean() > 0.95


def test_a_transformer_learns_an_order_that_no_bag_of_words_shows():
    torch.manual_seed(0)
    ids, labels = torch.randint(4, V, (256, 6)), torch.arange(256) % 2
    ids[:, 1], ids[:, 4] = 2 + labels, 3 - labels  # 2 before 3, or 3 before 2
    model = at.TransformerClassifier(V, 2, dim=16, heads=2, feedforward=32, dropout=0.0)
    model = trained(model, ids, labels, 60)
    assert (model(ids, ids > 0).argmax(1) == labels).all()


def linear_model():
    """A model whose log-probabilities can be worked out: equal weights, one element a word."""
    model = at.AttentionClassifier(V, 2, embedding=1, dropout=0.0).eval()
    with torch.no_grad():
        model.pools[0].score.weight.zero_()
        model.embedding.weight[:, 0] = torch.arange(V) - 10.0
        model.embedding.weight[text.PAD] = 0
        model.output.weight.copy_(torch.tensor([[0.0], [1.0]]))
        model.output.bias.zero_()
    return model


@pytest.mark.equation("eq-gradient-input")
@torch.no_grad()
def test_gradient_times_input_of_a_linear_model_is_the_contribution_times_the_slope():
    ids, mask = text.pad([[20, 14, 9], [12, 2]])
    scores = at.gradient_times_input(linear_model(), ids, mask)
    # The logit is the mean of (10, 4, -1) and of (2, -8); d log sigmoid(z) / dz = sigmoid(-z).
    slope = torch.tensor(-13 / 3).sigmoid()
    torch.testing.assert_close(scores[0], slope * torch.tensor([10.0, 4.0, -1.0]) / 3)
    slope = torch.tensor(-3.0).sigmoid()  # the second text's mean is -3: class 0 is predicted
    torch.testing.assert_close(scores[1], -slope * torch.tensor([2.0, -8.0, 0.0]) / 2)


@pytest.mark.equation("eq-gradient-input")
def test_gradient_times_input_from_the_unknown_word_is_what_occlusion_is_to_first_order():
    (ids, mask), model = text.pad([[20, 14, 9], [12, 2]]), linear_model()
    model.double().output.weight.data *= 1e-4  # so small that the log-probability is a line
    scores = at.gradient_times_input(model, ids, mask, unknown=True)
    torch.testing.assert_close(scores, at.occlusion(model, ids, mask), rtol=1e-2, atol=0)


def test_gradient_times_input_needs_no_trained_vectors():
    (ids, mask), model = text.pad([[20, 14, 9], [12, 2]]), linear_model()
    expected = at.gradient_times_input(model, ids, mask)
    model.requires_grad_(False)
    torch.testing.assert_close(at.gradient_times_input(model, ids, mask), expected)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.equation("eq-occlusion")
def test_occlusion_is_the_loss_of_log_probability():
    ids, mask = text.pad([[20, 14, 9], [12, 2]])
    scores = at.occlusion(linear_model(), ids, mask)
    # A word becomes UNK, whose element is 1 - 10 = -9.
    means = torch.tensor([[-6 / 3, 0.0, 5 / 3], [-17 / 2, -7 / 2, 0.0]])
    whole = F.logsigmoid(torch.tensor([13 / 3, 3.0]))[:, None]
    sign = torch.tensor([[1.0], [-1.0]])  # the second text is of class 0
    expected = (whole - F.logsigmoid(sign * means)) * mask
    torch.testing.assert_close(scores, expected)


def test_scores_of_the_word_that_decides_are_the_largest(one_word):
    model, ids, place = one_word
    mask, truth = ids > 0, F.one_hot(place, 9).bool()
    for scores in (at.gradient_times_input(model, ids, mask), at.occlusion(model, ids, mask)):
        assert at.precision_at_k(scores, truth, mask).mean() > 0.95


@pytest.mark.parametrize("name", MODELS)
def test_scores_of_padding_are_zero_and_the_model_keeps_no_hook(name):
    model = made(name)
    ids, mask = text.pad([[3, 4, 5, 6], [7, 8]])
    for function in (at.gradient_times_input, at.occlusion):
        scores = function(model, ids, mask)
        assert scores.isfinite().all() and scores[~mask].eq(0).all() and scores[mask].ne(0).all()
        torch.testing.assert_close(function(model, *text.pad([[7, 8]]))[0], scores[1, :2])
    assert not model.embedding._forward_hooks
    with pytest.raises(ValueError, match="0 to 29"):
        at.gradient_times_input(model, ids + V, mask)
    assert not model.embedding._forward_hooks


@pytest.mark.equation("eq-precision-at-k")
def test_precision_at_k():
    scores = torch.tensor([[0.1, 0.5, 0.3, 9.0], [0.2, 0.1, 0.4, 0.3]])
    truth = torch.tensor([[False, True, False, True], [True, True, False, False]])
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    for k, expected in ((1, [1.0, 0.0]), (2, [0.5, 0.0]), (3, [1 / 3, 1 / 3])):
        found = at.precision_at_k(scores, truth, mask, k)
        torch.testing.assert_close(found, torch.tensor(expected))
    for k in (0, 4):
        with pytest.raises(ValueError, match="between 1 and the shortest text, 3"):
            at.precision_at_k(scores, truth, mask, k)
