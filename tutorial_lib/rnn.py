"""Chapter 05: recurrent networks, one token after another.

A cell reads one token and updates a state of fixed size; run over a text, the last state has
seen all of it. The cells are written by hand and equal torch's with the same weights. The
classifier runs torch's own over packed sequences, which is the same and faster.

Shapes: B batch, T time (tokens), E embedding, H hidden, C classes, V vocabulary. A state is a
tuple whose first entry is h; the LSTM's has its cell c as the second.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tutorial_lib.attention import AttentionPooling, _check_sizes, _embedded, _embedding
from tutorial_lib.cnn import max_over_time

State = tuple[Float[Tensor, "B H"], ...]
LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
POOLINGS = ("last", "mean", "max", "attention")


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
        _check_sizes(inputs, hidden)
        self.inputs, self.hidden = inputs, hidden
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
        (ri, zi, ni), (rh, zh, nh) = self._from_input(x), self._from_state(h)
        r, z = (ri + rh).sigmoid(), (zi + zh).sigmoid()
        n = (ni + r * nh).tanh()
        return ((1 - z) * n + z * h,)


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
def backpropagate(
    cell: ElmanCell, x: Float[Tensor, "B T E"], gradient: Float[Tensor, "B H"]
) -> tuple[Float[Tensor, "B T H"], dict[str, Tensor]]:
    """Back-propagation through time, by hand, for a loss that reads the last state of a tanh cell.

    Args:
        gradient: of the loss by the last state.

    Returns:
        The gradient of the loss by the state after each token, and by each weight of the cell.

    Source: Werbos 1990, "Backpropagation Through Time: What It Does and How to Do It".

    Equation: eq-bptt, eq-bptt-weights
    """
    states, _ = run(cell, x)
    before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)  # [B T H]
    by_state, errors = [], []
    for t in reversed(range(x.shape[1])):
        by_state.append(gradient)
        errors.append((1 - states[:, t] ** 2) * gradient)  # by what tanh reads
        gradient = errors[-1] @ cell.weight_hh
    by_state, errors = torch.stack(by_state[::-1], 1), torch.stack(errors[::-1], 1)  # [B T H]
    bias = errors.sum((0, 1))
    return by_state, {
        "weight_ih": torch.einsum("bth,bte->he", errors, x),
        "weight_hh": torch.einsum("bth,btg->hg", errors, before),
        "bias_ih": bias,
        "bias_hh": bias,
    }


def elman_jacobian(weight: Float[Tensor, "H H"], h: Float[Tensor, "B H"]) -> Float[Tensor, "B H H"]:
    """Return the derivative of a tanh cell's state h by the state before it.

    Args:
        weight: U, the cell's `weight_hh`.

    Equation: eq-jacobian
    """
    return (1 - h**2)[..., None] * weight


def spectral_radius(weight: Float[Tensor, "H H"]) -> float:
    """Return the largest absolute value of an eigenvalue.

    Equation: eq-spectral-radius
    """
    return torch.linalg.eigvals(weight.detach()).abs().max().item()


def power_norms(weight: Float[Tensor, "H H"], steps: int) -> Float[Tensor, "_"]:
    """Return the largest factor by which U^k stretches a vector, for k = 0 … `steps`.

    Equation: eq-linear-gradient
    """
    norms, power = [], torch.eye(len(weight), dtype=weight.dtype)
    for _ in range(steps + 1):
        norms.append(torch.linalg.matrix_norm(power, 2))
        power = power @ weight.detach()
    return torch.stack(norms)


def gradient_by_distance(
    loss: Callable[[Tensor], Tensor], x: Float[Tensor, "B T E"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "T"]:
    """Return how much the loss still feels of a token k places before the last, for k = 0, 1, …

    Entry k is the norm of the gradient by the vector of that token, averaged over the texts
    that are long enough; NaN where none is.

    Args:
        loss: maps the vectors [B, T, E] to the sum of the texts' losses.
        mask: true at tokens, padding on the right.

    Source: Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013.

    Equation: eq-gradient-norm
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(x), x)
    norms = gradient.norm(dim=-1)  # [B T]
    distance = mask.sum(1, keepdim=True) - 1 - torch.arange(x.shape[1], device=x.device)  # [B T]
    totals, counts = norms.new_zeros(2, x.shape[1])
    totals.index_add_(0, distance[mask], norms[mask])
    counts.index_add_(0, distance[mask], torch.ones_like(norms[mask]))
    return totals / counts


@torch.no_grad()
def open_gates(module: nn.Module, bias: float) -> None:
    """Set the bias of what keeps the past, so that a new cell starts with a long memory.

    That is the LSTM's forget gate and the GRU's update gate, of a cell or a layer, ours or
    torch's. With a bias b the gate starts near sigmoid(b).

    Source: Jozefowicz, Zaremba and Sutskever 2015, section 2.2.

    Raises:
        ValueError: a module without such a gate.

    Equation: eq-forget-path
    """
    if not isinstance(module, LSTMCell | GRUCell | nn.LSTM | nn.GRU | nn.LSTMCell | nn.GRUCell):
        raise ValueError(f"no gate of a {type(module).__name__} keeps the past")
    gates = 4 if isinstance(module, LSTMCell | nn.LSTM | nn.LSTMCell) else 3
    for name, parameter in module.named_parameters():
        if name.startswith("bias"):
            parameter.chunk(gates)[1].fill_(bias if name.startswith("bias_ih") else 0.0)


class RecurrentClassifier(nn.Module):
    """Word vectors, a recurrent layer, one vector for the text, a linear layer.

    The layer is torch's own, over packed sequences: it computes nothing at padding and the
    half that reads backwards begins at the last token. Padding never changes a prediction.

    Args:
        vocabulary_size: number of ids; `text.PAD` is one of them.
        classes: number of logits.
        cell: `rnn` (Elman), `lstm` or `gru`.
        embedding: size of a word vector, E.
        hidden: size of the state in each direction, H.
        bidirectional: read from both ends.
        pooling: `last` (the state after the last token; backwards, after the first), or `mean`,
            `max` or `attention` over the states of all tokens.
        dropout: share of the word vectors' elements, and of the pooled ones, set to 0 in training.
        vectors: word vectors to start from, one row for each id; copied.

    Raises:
        ValueError: an unknown choice, sizes that cannot be, or vectors that do not fit.
    """

    def __init__(
        self,
        vocabulary_size: int,
        classes: int,
        *,
        cell: str = "gru",
        embedding: int = 100,
        hidden: int = 128,
        bidirectional: bool = True,
        pooling: str = "last",
        dropout: float = 0.3,
        vectors: Float[Tensor, "..."] | None = None,
    ) -> None:
        super().__init__()
        _check_sizes(vocabulary_size, classes, embedding, hidden)
        for what, choice, allowed in (("cell", cell, LAYERS), ("pooling", pooling, POOLINGS)):
            if choice not in allowed:
                raise ValueError(f"{what} is one of {', '.join(allowed)}; got {choice!r}")
        self.embedding = _embedding(vocabulary_size, embedding, vectors, std=1.0)
        self.layer = LAYERS[cell](embedding, hidden, batch_first=True, bidirectional=bidirectional)
        width = hidden * (2 if bidirectional else 1)
        self.pooling = pooling
        self.attention = AttentionPooling(width) if pooling == "attention" else None
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, classes)

    def forward(self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        """Return the logits.

        Args:
            mask: true at tokens, padding on the right; what `ids` holds there has no influence.

        Raises:
            ValueError: ids and mask of different shapes, an empty batch, padding before a token,
                or an id outside the vocabulary.
        """
        return self.classify(_embedded(self.embedding, ids, mask), mask)

    def classify(
        self, x: Float[Tensor, "B T E"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B C"]:
        """Return the logits of texts that are given as word vectors."""
        return self.output(self.dropout(self.pool(self.states(self.dropout(x), mask), mask)))

    def states(
        self, x: Float[Tensor, "B T E"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T D"]:
        """Return the state at each token, both directions side by side; zeros at padding."""
        if not mask.numel():
            raise ValueError(f"the batch is empty: ids and mask are {list(mask.shape)}")
        if (mask[:, 1:] & ~mask[:, :-1]).any():
            raise ValueError("padding stands on the right; here a token follows padding")
        lengths = mask.sum(1).clamp(min=1).cpu()  # packing refuses texts without tokens
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(
            self.layer(packed)[0], batch_first=True, total_length=mask.shape[1]
        )
        return states * mask[..., None]

    def pool(
        self, states: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B D"]:
        """Return one vector for each text; zeros for a text without tokens.

        Equation: eq-last-state, eq-mean-over-time
        """
        if self.attention is not None:
            return self.attention(states, mask)[0]
        if self.pooling == "max":
            return max_over_time(states, mask)
        if self.pooling == "mean":
            return states.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        last = (mask.sum(1) - 1).clamp(min=0)  # [B]
        ends = states[torch.arange(len(states), device=states.device), last]  # [B D]
        hidden = self.layer.hidden_size
        return torch.cat([ends[:, :hidden], states[:, 0, hidden:]], -1)
