"""Facts about the recurrent cells: torch's with the same weights, closed forms, masks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tutorial_lib import rnn

E, H = 5, 4
CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}
LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
every_cell = pytest.mark.parametrize("name", CELLS)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def step_by_torch(name):
    """Return our cell with the weights of torch's, and torch's."""
    theirs = CELLS[name](E, H).double()
    ours = rnn.CELLS[name](E, H).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def directions(name):
    """Return torch's bidirectional layer and our two cells with its weights."""
    layer = LAYERS[name](E, H, batch_first=True, bidirectional=True).double()
    cells = []
    for suffix in ("l0", "l0_reverse"):
        cells.append(rnn.CELLS[name](E, H).double())
        names = [key for key, _ in cells[-1].named_parameters()]
        cells[-1].load_state_dict({key: getattr(layer, f"{key}_{suffix}") for key in names})
    return layer, cells


def mask_of(lengths, time=None):
    return torch.arange(time or max(lengths)) < torch.tensor(lengths)[:, None]


@pytest.mark.equation("eq-elman")
def test_the_elman_cell_is_torchs():
    ours, theirs = step_by_torch("rnn")
    x, h = torch.randn(3, E).double(), torch.randn(3, H).double()
    torch.testing.assert_close(ours(x, (h,))[0], theirs(x, h))


@pytest.mark.equation("eq-lstm-gates", "eq-lstm-cell", "eq-lstm-state")
def test_the_lstm_cell_is_torchs():
    ours, theirs = step_by_torch("lstm")
    x, h, c = torch.randn(3, E).double(), *torch.randn(2, 3, H).double()
    torch.testing.assert_close(ours(x, (h, c)), theirs(x, (h, c)))


@pytest.mark.equation("eq-gru-gates", "eq-gru-candidate", "eq-gru-state")
def test_the_gru_cell_is_torchs():
    ours, theirs = step_by_torch("gru")
    x, h = torch.randn(3, E).double(), torch.randn(3, H).double()
    torch.testing.assert_close(ours(x, (h,))[0], theirs(x, h))


@every_cell
@pytest.mark.equation("eq-bidirectional")
def test_both_directions_over_time_are_torchs_on_packed_sequences_gradients_too(name):
    layer, cells = directions(name)
    mask, x = mask_of([4, 7, 1]), torch.randn(3, 7, E).double()
    leaves = [x.clone().requires_grad_() for _ in range(2)]
    packed = pack_padded_sequence(leaves[0], mask.sum(1), batch_first=True, enforce_sorted=False)
    theirs, _ = pad_packed_sequence(layer(packed)[0], batch_first=True)
    ours = rnn.bidirectional(*cells, leaves[1], mask)
    torch.testing.assert_close(ours, theirs)
    readout = torch.randn_like(theirs)
    for states in (theirs, ours):
        (states * readout).sum().backward()
    torch.testing.assert_close(leaves[1].grad, leaves[0].grad)
    for cell, suffix in zip(cells, ("l0", "l0_reverse"), strict=True):
        for key, parameter in cell.named_parameters():
            torch.testing.assert_close(parameter.grad, getattr(layer, f"{key}_{suffix}").grad)


@every_cell
def test_it_starts_from_a_given_state_and_ends_in_torchs(name):
    layer, (cell, _) = directions(name)
    x, mask = torch.randn(2, 6, E).double(), mask_of([6, 3])
    first = tuple(torch.randn(2, H).double() for _ in range(cell.parts))
    packed = pack_padded_sequence(x, mask.sum(1), batch_first=True)
    padded = [torch.stack([s, torch.zeros_like(s)]) for s in first]  # forward, backward
    _, final = layer(packed, tuple(padded) if name == "lstm" else padded[0])
    _, ours = rnn.run(cell, x, mask, first)
    final = final if name == "lstm" else (final,)
    torch.testing.assert_close(ours, tuple(s[0] for s in final))


@every_cell
@pytest.mark.equation("eq-masked-step")
@settings(deadline=None, max_examples=15)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4), reverse=st.booleans())
def test_a_text_in_a_batch_is_the_same_text_alone(name, lengths, reverse):
    cell = rnn.CELLS[name](E, H)
    mask = mask_of(lengths, time=10)
    x = torch.randn(len(lengths), 10, E)
    states, final = rnn.run(cell, x, mask, reverse=reverse)
    for row, length in enumerate(lengths):
        alone, end = rnn.run(cell, x[row : row + 1, :length], reverse=reverse)
        torch.testing.assert_close(states[row, :length], alone[0])
        torch.testing.assert_close([s[row] for s in final], [s[0] for s in end])
        assert states[row, length:].eq(0).all()
        if length == 0:
            assert all(s[row].eq(0).all() for s in final)


@every_cell
def test_what_stands_at_masked_places_has_no_influence_even_inside(name):
    cell, x = rnn.CELLS[name](E, H), torch.randn(1, 6, E)
    mask = torch.tensor([[True, False, True, True, False, True]])
    states, _ = rnn.run(cell, x, mask)
    dense, _ = rnn.run(cell, x[mask][None])
    torch.testing.assert_close(states[mask], dense[0])
    spoilt = x.masked_fill(~mask[..., None], 1e6)
    torch.testing.assert_close(rnn.run(cell, spoilt, mask)[0], states)


@every_cell
def test_reading_backwards_is_reading_the_reversed_text(name):
    cell, x = rnn.CELLS[name](E, H), torch.randn(2, 6, E)
    backwards, _ = rnn.run(cell, x, reverse=True)
    torch.testing.assert_close(backwards, rnn.run(cell, x.flip(1))[0].flip(1))


def test_extreme_inputs_saturate_and_stay_finite():
    for cell in (rnn.CELLS[name](E, H) for name in CELLS):
        x = torch.full((1, 50, E), 1e30)
        states, final = rnn.run(cell, x)
        assert states.isfinite().all() and all(s.isfinite().all() for s in final)
        assert states.abs().max() <= 1


@pytest.mark.equation("eq-forget-path")
@pytest.mark.parametrize("bias", [-1.0, 0.0, 3.0])
def test_an_lstm_that_reads_nothing_forgets_by_its_gate_at_each_step(bias):
    cell = rnn.LSTMCell(E, H)
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    rnn.open_gates(cell, bias)
    c = torch.randn(1, H, requires_grad=True)
    _, (_, end) = rnn.run(cell, torch.randn(1, 20, E), state=(torch.zeros(1, H), c))
    kept = (1 / (1 + math.exp(-bias))) ** 20
    torch.testing.assert_close(end, kept * c)  # the candidate is tanh(0): nothing comes in
    (gradient,) = torch.autograd.grad(end.sum(), c)
    torch.testing.assert_close(gradient, torch.full((1, H), kept))


def test_an_open_update_gate_keeps_the_state_of_a_gru():
    cell = rnn.GRUCell(E, H)
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    rnn.open_gates(cell, 2.0)
    h = torch.randn(1, H)
    _, (end,) = rnn.run(cell, torch.randn(1, 10, E), state=(h,))
    torch.testing.assert_close(end, h / (1 + math.exp(-2)) ** 10)


@pytest.mark.parametrize(("name", "expected"), [("lstm", [-1.5, 1.5]), ("gru", [None, 1.5])])
def test_gates_open_alike_in_ours_and_in_torchs(name, expected):
    (ours, theirs), (layer, _) = step_by_torch(name), directions(name)
    for module, suffix in ((ours, ""), (theirs, ""), (layer, "_l0"), (layer, "_l0_reverse")):
        before = {key: value.clone() for key, value in module.state_dict().items()}
        rnn.open_gates(module, 1.5)
        bias = module.state_dict()[f"bias_ih{suffix}"] + module.state_dict()[f"bias_hh{suffix}"]
        usual = before[f"bias_ih{suffix}"] + before[f"bias_hh{suffix}"]
        for gate, value in enumerate(expected + [None] * 2):
            part = slice(gate * H, (gate + 1) * H)
            wanted = usual[part] if value is None else torch.full((H,), value).double()
            torch.testing.assert_close(bias[part], wanted)
        torch.testing.assert_close(
            module.state_dict()[f"weight_hh{suffix}"], before[f"weight_hh{suffix}"]
        )


def test_modules_without_a_gate_are_refused():
    for module in (rnn.ElmanCell(E, H), nn.RNN(E, H), nn.Linear(E, H)):
        with pytest.raises(ValueError, match=f"{type(module).__name__} keeps the past"):
            rnn.open_gates(module, 1.0)
    with pytest.raises(ValueError, match="bias=False"):
        rnn.open_gates(nn.GRU(E, H, bias=False), 1.0)


@every_cell
def test_a_new_cell_starts_as_torchs_does(name):
    cell = rnn.CELLS[name](300, 400)
    for parameter in cell.parameters():  # uniform between -1/√H and 1/√H
        assert parameter.abs().max() <= 1 / 20
        assert parameter.std().item() == pytest.approx(1 / 20 / math.sqrt(3), rel=0.1)
    for sizes in ((0, 4), (4, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            rnn.CELLS[name](*sizes)
