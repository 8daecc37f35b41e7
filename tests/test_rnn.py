"""Facts about gradients through time and about the recurrent classifier."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tutorial_lib import cnn, rnn, text, vae

V, C, E, H = 30, 3, 6, 5
KINDS = [
    (cell, pooling, both)
    for cell in ("rnn", "lstm", "gru")
    for pooling in ("last", "mean", "max", "attention")
    for both in (True, False)
]
every_kind = pytest.mark.parametrize(("cell", "pooling", "both"), KINDS)
every_pooling = pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def made(cell="gru", pooling="last", both=True, **options):
    torch.manual_seed(0)
    return rnn.RecurrentClassifier(
        V, C, cell=cell, embedding=E, hidden=H, bidirectional=both, pooling=pooling, **options
    ).eval()


@pytest.mark.equation("eq-bptt", "eq-bptt-weights")
def test_gradients_through_time_by_hand_are_autograds():
    cell, x = rnn.ElmanCell(E, H).double(), torch.randn(3, 8, E).double()
    readout = torch.randn(3, H).double()
    by_state, by_weight = rnn.backpropagate(cell, x, readout)
    h, states = torch.zeros(3, H).double().requires_grad_(), []
    for t in range(8):
        (h,) = cell(x[:, t], (h,))
        states.append(h)
    loss = (h * readout).sum()
    expected = torch.autograd.grad(loss, [*states, *cell.parameters()])
    torch.testing.assert_close(by_state, torch.stack(expected[:8], 1))
    for (name, _), gradient in zip(cell.named_parameters(), expected[8:], strict=True):
        torch.testing.assert_close(by_weight[name], gradient)


def test_gradients_by_hand_are_for_the_tanh_cell_only():
    cell = rnn.ElmanCell(E, H, activation=torch.relu)
    with pytest.raises(ValueError, match="tanh"):
        rnn.backpropagate(cell, torch.randn(1, 3, E), torch.ones(1, H))


@pytest.mark.equation("eq-jacobian")
def test_the_jacobian_of_a_step_is_autograds():
    cell, x, h = rnn.ElmanCell(E, H), torch.randn(2, E), torch.randn(2, H)
    ours = rnn.elman_jacobian(cell.weight_hh, cell(x, (h,))[0])
    for row in range(2):
        expected = torch.autograd.functional.jacobian(
            lambda h, row=row: cell(x[row : row + 1], (h[None],))[0][0], h[row]
        )
        torch.testing.assert_close(ours[row], expected)


@pytest.mark.equation("eq-spectral-radius")
def test_the_spectral_radius_of_matrices_whose_eigenvalues_are_known():
    angle = torch.tensor(0.3)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    assert rnn.spectral_radius(0.7 * turn) == pytest.approx(0.7)  # a complex pair
    assert rnn.spectral_radius(torch.diag(torch.tensor([0.5, -1.25, 1.0]))) == pytest.approx(1.25)
    assert rnn.spectral_radius(torch.tensor([[0.5, 1e3], [0.0, 0.25]])) == pytest.approx(0.5)


@pytest.mark.equation("eq-linear-gradient")
@pytest.mark.parametrize("radius", [0.8, 1.0, 1.2])
def test_powers_of_a_turn_shrink_or_grow_exactly_by_the_radius(radius):
    orthogonal = torch.linalg.qr(torch.randn(8, 8).double()).Q
    expected = radius ** torch.arange(31).double()
    torch.testing.assert_close(rnn.power_norms(radius * orthogonal, 30), expected)


def test_in_the_long_run_only_the_radius_counts():
    weight = torch.tensor([[0.9, 5.0], [0.0, 0.8]]).double()  # the first step stretches by more
    norms = rnn.power_norms(weight, 400)
    assert norms[1] > 5  # than any eigenvalue says
    assert norms[400].item() ** (1 / 400) == pytest.approx(0.9, abs=0.02)  # Gelfand's formula
    assert norms[400] < 1e-10


@pytest.mark.equation("eq-gradient-norm")
@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5])
def test_the_gradient_of_a_linear_recurrence_has_its_closed_form(radius):
    cell = rnn.ElmanCell(H, H, activation=lambda a: a).double()
    with torch.no_grad():
        cell.weight_hh.copy_(radius * torch.linalg.qr(torch.randn(H, H).double()).Q)
        cell.weight_ih.copy_(torch.eye(H))
    readout = torch.randn(H).double()
    mask = torch.arange(12) < torch.tensor([12, 4])[:, None]

    def loss(x):
        return (rnn.run(cell, x, mask)[1][0] @ readout).sum()

    norms = rnn.gradient_by_distance(loss, torch.randn(2, 12, H).double(), mask)
    torch.testing.assert_close(norms, readout.norm() * radius ** torch.arange(12).double())


def test_gradients_are_averaged_over_the_texts_that_reach_so_far():
    x, mask = torch.ones(3, 5, 2), torch.arange(5) < torch.tensor([4, 2, 0])[:, None]
    pull = torch.tensor([[1.0, 2.0, 3.0, 4.0, 9.0], [10.0, 20.0, 9.0, 9.0, 9.0], [9.0] * 5])
    norms = rnn.gradient_by_distance(lambda x: (x[..., 0] * pull).sum(), x, mask)
    torch.testing.assert_close(norms[:4], torch.tensor([(4 + 20) / 2, (3 + 10) / 2, 2, 1]))
    assert norms[4].isnan()
    assert not x.requires_grad


class Oracle(torch.nn.Module):
    """Knows the answer, or looks at one word only; has a weight so that it can be trained."""

    def __init__(self, place):
        super().__init__()
        self.place, self.scale = place, torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, ids, mask):
        assert mask.all()
        return self.scale * F.one_hot((ids[:, self.place] == 3).long(), 2)


def test_the_memory_test_is_solved_by_the_first_word_alone():
    assert rnn.recall(Oracle(0), 20, 7, steps=0) == 1.0
    assert rnn.recall(Oracle(-1), 20, 7, steps=0) == pytest.approx(0.5, abs=0.1)
    seen = []
    look = torch.nn.Module()
    look.forward = lambda ids, mask: seen.append(ids) or torch.zeros(len(ids), 2)
    look.w = torch.nn.Parameter(torch.zeros(1))
    rnn.recall(look, 20, 7, steps=0)
    assert seen[0].shape == (512, 8)
    assert set(seen[0][:, 0].tolist()) == {2, 3}
    assert set(seen[0][:, 1:].flatten().tolist()) == set(range(4, 20))


def test_a_trained_model_remembers_over_a_short_distance():
    model = rnn.RecurrentClassifier(
        20, 2, embedding=8, hidden=8, bidirectional=False, dropout=0.0, gate_bias=3.0
    )
    assert rnn.recall(model, 20, 3, steps=80, lr=0.02) > 0.95
    assert not model.training  # what is measured is measured without dropout
    for size, distance in ((4, 1), (20, -1)):
        with pytest.raises(ValueError, match="need 5 ids"):
            rnn.recall(model, size, distance, steps=1)


@every_kind
def test_the_classifier_is_the_cells_by_hand_and_a_linear_layer(cell, pooling, both):
    model = made(cell, pooling, both)
    ids, mask = text.pad([[3, 4, 5, 6], [7], [8, 9, 10]])
    x, suffixes = model.embedding(ids), ["l0", "l0_reverse"][: 1 + both]
    runs = []
    for suffix in suffixes:
        by_hand = rnn.CELLS[cell](E, H)
        names = [key for key, _ in by_hand.named_parameters()]
        weights = {key: getattr(model.layer, f"{key}_{suffix}") for key in names}
        by_hand.load_state_dict(weights)
        runs.append(rnn.run(by_hand, x, mask, reverse=suffix == "l0_reverse"))
    states = torch.cat([states for states, _ in runs], -1)
    pooled = {
        "last": lambda: torch.cat([final[0] for _, final in runs], -1),
        "mean": lambda: torch.stack([s[m].mean(0) for s, m in zip(states, mask, strict=True)]),
        "max": lambda: cnn.max_over_time(states, mask),
        "attention": lambda: model.attention(states, mask)[0],
    }[pooling]()
    torch.testing.assert_close(model.states(x, mask), states)
    torch.testing.assert_close(model(ids, mask), F.linear(pooled, *model.output.parameters()))


@pytest.mark.equation("eq-last-state")
def test_last_is_the_state_after_each_directions_last_token():
    states, mask = (
        torch.arange(60.0).view(2, 3, 10),
        torch.tensor([[True] * 3, [True, True, False]]),
    )
    pooled = made(pooling="last").pool(states, mask)
    expected = [[20, 21, 22, 23, 24, 5, 6, 7, 8, 9], [40, 41, 42, 43, 44, 35, 36, 37, 38, 39]]
    torch.testing.assert_close(pooled, torch.tensor(expected).float())


@pytest.mark.equation("eq-mean-over-time")
def test_the_mean_is_over_the_tokens():
    states, mask = torch.ones(2, 4, 2 * H), torch.arange(4) < torch.tensor([4, 2])[:, None]
    states[:, 1] = 4
    pooled = made(pooling="mean").pool(states * mask[..., None], mask)
    torch.testing.assert_close(pooled[:, 0], torch.tensor([7 / 4, 5 / 2]))


@every_kind
@settings(deadline=None, max_examples=8)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    extra=st.integers(0, 20),
    seed=st.integers(0, 1000),
)
def test_padding_and_neighbours_never_change_a_prediction(
    cell, pooling, both, lengths, extra, seed
):
    model, random = made(cell, pooling, both), torch.Generator().manual_seed(seed)
    texts = [torch.randint(1, V, (n,), generator=random).tolist() for n in lengths]
    ids, mask = text.pad(texts)
    ids, mask = F.pad(ids, (0, extra), value=7), F.pad(mask, (0, extra))
    with torch.no_grad():
        together = model(ids, mask)
        for row, alone in enumerate(texts):
            torch.testing.assert_close(model(*text.pad([alone]))[0], together[row])


@every_kind
def test_a_text_without_tokens_has_the_bias_for_logits_and_spoils_no_gradient(cell, pooling, both):
    model = made(cell, pooling, both)
    logits = model(*text.pad([[3, 4, 5], []]))
    torch.testing.assert_close(logits[1], model.output.bias)
    logits.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    torch.testing.assert_close(model(*text.pad([[]]))[0], model.output.bias)


@every_pooling
def test_one_token_and_ten_thousand_tokens_work(pooling):
    model, ids = made(pooling=pooling), torch.arange(10_000).remainder(V - 1)[None] + 1
    with torch.no_grad():
        for time in (1, 10_000):
            assert model(ids[:, :time], ids[:, :time] > 0).isfinite().all()


def test_dropout_acts_in_training_only():
    model, (ids, mask) = made(dropout=0.5), text.pad([[3, 4, 5]])
    torch.testing.assert_close(model(ids, mask), model(ids, mask))
    model.train()
    assert not torch.equal(model(ids, mask), model(ids, mask))


def test_dropout_of_everything_leaves_no_word_and_the_bias_alone():
    model, read = made(dropout=1.0).train(), []
    model.layer.register_forward_pre_hook(lambda _, args: read.append(args[0].data))
    logits = model(*text.pad([[3, 4, 5], [6]]))
    torch.testing.assert_close(logits, model.output.bias.expand(2, C))
    assert read[0].eq(0).all()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gates_open_in_both_directions_where_asked(cell):
    opened, plain = (made(cell, gate_bias=bias).layer for bias in (2.5, None))
    for suffix in ("l0", "l0_reverse"):
        gate, usual = (
            sum(getattr(layer, f"bias_{side}_{suffix}")[H : 2 * H] for side in ("ih", "hh"))
            for layer in (opened, plain)
        )
        torch.testing.assert_close(gate, torch.full((H,), 2.5))
        assert usual.abs().max() <= 2 / math.sqrt(H)
        torch.testing.assert_close(*(getattr(m, f"weight_hh_{suffix}") for m in (opened, plain)))


def test_word_vectors_are_copied_and_padding_stays_zero():
    vectors = torch.randn(V, E)
    model = made(vectors=vectors)
    torch.testing.assert_close(model.embedding.weight[1:], vectors[1:])
    assert model.embedding.weight[text.PAD].eq(0).all()
    with torch.no_grad():
        model.embedding.weight += 1
    assert not torch.equal(model.embedding.weight, vectors)
    for bad, message in ((torch.zeros(V, E + 1), "must be"), (vectors * math.nan, "finite")):
        with pytest.raises(ValueError, match=message):
            made(vectors=bad)


def test_word_vectors_start_small_in_a_classifier_and_not_in_a_vae():
    """Drawn with deviation 1, few labelled texts cannot undo the noise."""
    torch.manual_seed(0)
    small = rnn.RecurrentClassifier(1_000, C, embedding=50).embedding.weight[1:]
    assert small.std().item() == pytest.approx(0.1, rel=0.02)
    assert abs(small.mean().item()) < 0.002
    encoder = vae.SentenceVAE(1_000, latent=2, embedding=50, hidden=4).encoder
    assert encoder.embedding.weight[1:].std().item() == pytest.approx(1, rel=0.02)


def test_inputs_that_do_not_fit_are_refused():
    model, (ids, mask) = made(), text.pad([[3, 4, 5], [6]])
    for bad in (-1, V):
        with pytest.raises(ValueError, match="0 to 29"):
            model(torch.tensor([[1, bad]]), mask[:1, :2])
    with pytest.raises(ValueError, match="on the right"):
        model(ids, mask.flip(1))
    for shape in ((0, 3), (2, 0)):
        with pytest.raises(ValueError, match="empty"):
            model(torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.bool))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "elman"}, "rnn, lstm, gru; got 'elman'"),
        ({"pooling": "sum"}, "last, mean, max, attention; got 'sum'"),
        ({"hidden": 0}, "at least 1"),
        ({"cell": "rnn", "gate_bias": 1.0}, "no gate of a RNN"),
    ],
)
def test_choices_that_do_not_exist_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rnn.RecurrentClassifier(V, C, **options)


@pytest.mark.parametrize(("cell", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_parameters_are_those_of_the_formula(cell, gates):
    model = rnn.RecurrentClassifier(V, C, cell=cell, embedding=E, hidden=H)
    count = sum(p.numel() for p in model.parameters())
    assert count == V * E + 2 * gates * (H * E + H * H + 2 * H) + C * (2 * H + 1)


def averaging(**options):
    torch.manual_seed(0)
    options = {"embedding": E, "hidden": H} | options
    return rnn.DeepAveragingNetwork(V, C, **options).eval()


def test_deep_averaging_is_torchs_bag_of_embeddings_under_two_layers():
    model = averaging()
    ids, mask = text.pad([[4, 9, 7], [5], [8, 8, 3, 2]])
    bag = F.embedding_bag(
        torch.tensor([4, 9, 7, 5, 8, 8, 3, 2]),
        model.embedding.weight,
        torch.tensor([0, 3, 4]),
        mode="mean",
    )
    layers = nn.Sequential(model.hidden, nn.ReLU(), model.output)
    torch.testing.assert_close(model(ids, mask), layers(bag))
    torch.testing.assert_close(model(ids.masked_fill(~mask, 6), mask), model(ids, mask))


def test_deep_averaging_knows_no_order_and_a_recurrent_network_does():
    ids, mask = text.pad([[4, 9, 7, 5]])
    turned = ids.flip(1)
    torch.testing.assert_close(averaging()(turned, mask), averaging()(ids, mask))
    assert not torch.allclose(made()(turned, mask), made()(ids, mask), atol=1e-3)


def test_deep_averaging_gives_a_text_without_words_the_logits_of_the_zero_vector():
    model = averaging()
    empty = model(torch.zeros(1, 3).long(), torch.zeros(1, 3).bool())
    torch.testing.assert_close(empty, model.output(model.hidden(torch.zeros(1, E)).relu()))


def test_deep_averaging_learns_a_product_of_two_words_which_no_sum_of_words_can():
    # ids 2 and 3, 4 and 5: the class is whether both come from the same place of their pair
    ids = torch.tensor([[2, 4], [2, 5], [3, 4], [3, 5]])
    mask, labels = torch.ones(4, 2, dtype=torch.bool), torch.tensor([1, 0, 0, 1])
    model = averaging(hidden=16, dropout=0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        F.cross_entropy(model(ids, mask), labels).backward()
        optimizer.step()
    assert (model(ids, mask).argmax(1) == labels).all()


@pytest.mark.parametrize("options", [{"embedding": 0}, {"hidden": 0}])
def test_deep_averaging_refuses_sizes_that_cannot_be(options):
    with pytest.raises(ValueError, match="at least 1"):
        averaging(**options)
