"""Chapter 05, first part: recurrent cells, and running one over a text.

A cell reads one token and updates a state of fixed size. The cells equal torch's with the same
weights. They are read from `tutorial_lib.rnn`, which adds gradients and the classifier.

Shapes: B batch, T time (tokens), E embedding, H hidden. A state is a tuple whose first entry
is h, [B, H]; the LSTM's has its cell c as the second.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

State = tuple[Float[Tensor, "B H"], ...]


class Cell(nn.Module):
    """What the three cells share: weights in torch's shapes, names and order of gates.

    So `cell.load_state_dict(nn.GRUCell(E, H).state_dict())` copies torch's weights.

    Args:
        inputs: size of what is read at each step, E.
        hidden: size of the state, H.

    Raises:
        ValueError: a size below 1.
    """

    gates: int  # how many linear maps of input and state a step takes
    parts = 1  # tensors in a state

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        if min(inputs, hidden) < 1:
            raise ValueError(f"inputs and hidden must be at least 1; got {inputs} and {hidden}")
        self.hidden = hidden
        self.weight_ih = nn.Parameter(torch.empty(self.gates * hidden, inputs))
        self.weight_hh = nn.Parameter(torch.empty(self.gates * hidden, hidden))
        self.bias_ih = nn.Parameter(torch.empty(self.gates * hidden))
        self.bias_hh = nn.Parameter(torch.empty(self.gates * hidden))
        for weight in self.parameters():
            nn.init.uniform_(weight, -(hidden**-0.5), hidden**-0.5)  # as torch's

    def start(self, batch: int) -> State:
        """Return a state of zeros."""
        return (self.weight_hh.new_zeros(batch, self.hidden),) * self.parts

    def _from_input(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return W x + b of each gate, [B H] each."""
        return (x @ self.weight_ih.T + self.bias_ih).chunk(self.gates, -1)

    def _from_state(self, h: Tensor) -> tuple[Tensor, ...]:
        """Return U h + b of each gate, [B H] each."""
        return (h @ self.weight_hh.T + self.bias_hh).chunk(self.gates, -1)


class ElmanCell(Cell):
    """The plain recurrent cell.

    Args:
        activation: tanh, as in the paper; or another function of one tensor.

    Source: Elman 1990, "Finding Structure in Time".
    """

    gates = 1

    def __init__(
        self, inputs: int, hidden: int, activation: Callable[[Tensor], Tensor] = torch.tanh
    ) -> None:
        super().__init__(inputs, hidden)
        self.activation = activation

    def forward(self, x: Float[Tensor, "B E"], state: State) -> State:
        """Return the next state, (h,).

        Equation: eq-elman
        """
        (h,) = state
        (a,), (b,) = self._from_input(x), self._from_state(h)
        return (self.activation(a + b),)


class LSTMCell(Cell):
    """Long short-term memory: the cell c changes by what gates let in and keep.

    Source: Hochreiter and Schmidhuber 1997; the forget gate is from Gers et al. 2000.
    """

    gates = 4  # input, forget, candidate, output: torch's order
    parts = 2

    def forward(self, x: Float[Tensor, "B E"], state: State) -> State:
        """Return the next state, (h, c).

        Equation: eq-lstm-gates, eq-lstm-cell, eq-lstm-state
        """
        h, c = state
        i, f, g, o = (a + b for a, b in zip(self._from_input(x), self._from_state(h), strict=True))
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class GRUCell(Cell):
    """The gated recurrent unit: one gate mixes the old state with a new one.

    As in torch, the reset gate acts on U h + b, after the matrix product; in the paper it acts
    on h, before.

    Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder for
    Statistical Machine Translation", section 2.3.
    """

    gates = 3  # reset, update, candidate: torch's order

    def forward(self, x: Float[Tensor, "B E"], state: State) -> State:
        """Return the next state, (h,).

        Equation: eq-gru-gates, eq-gru-candidate, eq-gru-state
        """
        (h,) = state
        (r, u, n), (rh, uh, nh) = self._from_input(x), self._from_state(h)
        r, u = (r + rh).sigmoid(), (u + uh).sigmoid()
        n = (n + r * nh).tanh()
        return ((1 - u) * n + u * h,)


CELLS = {"rnn": ElmanCell, "lstm": LSTMCell, "gru": GRUCell}


def run(
    cell: Cell,
    x: Float[Tensor, "B T E"],
    mask: Bool[Tensor, "B T"] | None = None,
    state: State | None = None,
    *,
    reverse: bool = False,
) -> tuple[Float[Tensor, "B T H"], State]:
    """Run a cell over time; where the mask is false the state stays as it is.

    Args:
        mask: true at tokens; all are if None.
        state: to start from; zeros if None.
        reverse: read from the last token to the first.

    Returns:
        h after each token, zeros where there is none; and the final state.

    Equation: eq-masked-step
    """
    batch, time, _ = x.shape
    mask = x.new_ones(batch, time, dtype=torch.bool) if mask is None else mask
    state = cell.start(batch) if state is None else state
    outputs = [x.new_zeros(batch, cell.hidden)] * time
    for t in reversed(range(time)) if reverse else range(time):
        token = mask[:, t, None]  # [B 1]
        new = cell(x[:, t], state)
        state = tuple(torch.where(token, n, old) for n, old in zip(new, state, strict=True))
        outputs[t] = state[0] * token
    states = torch.stack(outputs, 1) if outputs else x.new_zeros(batch, 0, cell.hidden)
    return states, state


def bidirectional(
    forward: Cell, backward: Cell, x: Float[Tensor, "B T E"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T D"]:
    """Run one cell from the left and one from the right; their states side by side, D = 2H.

    Source: Schuster and Paliwal 1997.

    Equation: eq-bidirectional
    """
    return torch.cat([run(forward, x, mask)[0], run(backward, x, mask, reverse=True)[0]], -1)


@torch.no_grad()
def open_gates(module: nn.Module, bias: float) -> None:
    """Set the bias of the gate that keeps the past, so that a new cell has a long memory.

    That is the LSTM's forget gate and the GRU's update gate, of a cell or a layer, ours or
    torch's. Near the start the gate is sigmoid(bias), and sigmoid(bias) ** d of the state is left
    after d steps. The LSTM's input gate gets the opposite bias, so that what is kept and what
    is taken in add up to 1, as they do in a GRU.

    Source: Jozefowicz, Zaremba and Sutskever 2015 (forget gate); Tallec and Ollivier 2018 (both).

    Raises:
        ValueError: a module without such a gate, or without biases.

    Equation: eq-forget-path
    """
    if not isinstance(module, LSTMCell | GRUCell | nn.LSTM | nn.GRU | nn.LSTMCell | nn.GRUCell):
        raise ValueError(f"no gate of a {type(module).__name__} keeps the past")
    if not any(name.startswith("bias") for name, _ in module.named_parameters()):
        raise ValueError("a layer with bias=False has no gate bias to set")
    lstm = isinstance(module, LSTMCell | nn.LSTM | nn.LSTMCell)
    for name, parameter in module.named_parameters():
        if name.startswith("bias"):  # two of them are added up: the other one gets zeros
            value = bias if name.startswith("bias_ih") else 0.0
            parts = parameter.chunk(4 if lstm else 3)
            parts[1].fill_(value)
            if lstm:
                parts[0].fill_(-value)
