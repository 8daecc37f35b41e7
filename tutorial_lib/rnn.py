"""Chapter 05: recurrent networks, one token after another.

A state of fixed size is carried from token to token; after the last it has seen the whole text.
The classifier runs torch's layers over packed sequences, which gives what the cells written by
hand give (`tutorial_lib.cells`) and is faster.

Shapes: B batch, T time (tokens), E embedding, H hidden, D = 2H if two directions are read and H
if one is, C classes.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tutorial_lib.attention import AttentionPooling
from tutorial_lib.cells import (
    CELLS,
    Cell,
    ElmanCell,
    GRUCell,
    LSTMCell,
    bidirectional,
    open_gates,
    run,
)
from tutorial_lib.cnn import max_over_time
from tutorial_lib.embedding import WordVectors, check_sizes
from tutorial_lib.softmax import cross_entropy

__all__ = [
    "CELLS",
    "Cell",
    "DeepAveragingNetwork",
    "ElmanCell",
    "GRUCell",
    "LSTMCell",
    "RecurrentClassifier",
    "backpropagate",
    "bidirectional",
    "elman_jacobian",
    "gradient_by_distance",
    "open_gates",
    "power_norms",
    "recall",
    "run",
    "spectral_radius",
]

LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
POOLINGS = ("last", "mean", "max", "attention")


@torch.no_grad()
def backpropagate(
    cell: ElmanCell, x: Float[Tensor, "B T E"], gradient: Float[Tensor, "B H"]
) -> tuple[Float[Tensor, "B T H"], dict[str, Tensor]]:
    """Back-propagation through time, by hand, for a loss that reads the last state of a tanh cell.

    Args:
        gradient: of the loss by the last state.

    Returns:
        The gradient of the loss by the state after each token, and by each weight of the cell.

    Raises:
        ValueError: a cell with another activation than tanh.

    Source: Werbos 1990, "Backpropagation Through Time: What It Does and How to Do It".

    Equation: eq-bptt, eq-bptt-weights
    """
    if cell.activation is not torch.tanh:
        raise ValueError("the derivative written out here is that of tanh")
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
    norms, power = [], torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
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
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # it needs training mode
        (gradient,) = torch.autograd.grad(loss(x), x)
    norms = gradient.norm(dim=-1)  # [B T]
    distance = mask.sum(1, keepdim=True) - 1 - torch.arange(x.shape[1], device=x.device)  # [B T]
    totals, counts = norms.new_zeros(2, x.shape[1])
    totals.index_add_(0, distance[mask], norms[mask])
    counts.index_add_(0, distance[mask], torch.ones_like(norms[mask]))
    return totals / counts


def recall(
    model: nn.Module, vocabulary_size: int, distance: int, *, steps: int, lr: float = 5e-3
) -> float:
    """Train a model to name the first word of a text; return its accuracy on new texts.

    The first word is one of two and decides the class; `distance` random words follow. One half
    is chance.

    Args:
        model: maps ids and mask to two logits, on the CPU; trained, and left in evaluation mode.
        vocabulary_size: number of ids, at least 5: 2 and 3 come first, the next ones follow.
        steps: updates by Adam, with 64 new texts each.

    Raises:
        ValueError: fewer than 5 ids or a negative distance.

    Source: after Hochreiter and Schmidhuber 1997, section 5.2.
    """
    if vocabulary_size < 5 or distance < 0:
        raise ValueError(f"need 5 ids and distance >= 0; got {vocabulary_size} and {distance}")

    def texts(size: int) -> tuple[Tensor, Tensor, Tensor]:
        labels = torch.randint(2, (size,))
        ids = torch.randint(4, vocabulary_size, (size, distance + 1))  # [B T]
        ids[:, 0] = 2 + labels
        return ids, torch.ones_like(ids, dtype=torch.bool), labels

    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    for _ in range(steps):
        ids, mask, labels = texts(64)
        optimizer.zero_grad()
        cross_entropy(model(ids, mask), labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    ids, mask, labels = texts(512)
    model.eval()
    with torch.no_grad():
        return (model(ids, mask).argmax(1) == labels).float().mean().item()


class DeepAveragingNetwork(nn.Module):
    """The mean of a text's word vectors, one hidden layer, a linear layer.

    It can join words to a meaning that none of them has alone, but knows nothing of their order: a
    network that reads has to be ahead of this one before one speaks of order.

    Args:
        vocabulary_size: number of ids; `text.PAD` is one of them.
        classes: number of logits.
        embedding: size of a word vector, E.
        hidden: size of the hidden layer, H.
        dropout: share of the hidden layer's elements set to 0 in training.

    Raises:
        ValueError: a size below 1.

    Source: Iyyer et al. (2015), section 3, https://doi.org/10.3115/v1/P15-1162; word vectors
    drawn with deviation 0.1, one hidden layer, ReLU.
    """

    def __init__(
        self,
        vocabulary_size: int,
        classes: int,
        *,
        embedding: int = 100,
        hidden: int = 128,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        check_sizes(vocabulary_size, classes, embedding, hidden)
        self.embedding = WordVectors(0.1 * torch.randn(vocabulary_size, embedding))
        self.hidden = nn.Linear(embedding, hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, classes)

    def forward(self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        """Return the logits; the mask is true at tokens.

        Raises:
            ValueError: ids and mask of different shapes, an empty batch, or an id outside the
                vocabulary.
        """
        mean = self.embedding(ids, mask).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)  # [B E]
        return self.output(self.dropout(self.hidden(mean).relu()))


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
        gate_bias: starting bias of the gate that keeps the past, see `open_gates`; torch's if None.
        vectors: word vectors to start from, one row for each id; copied. If None, they are drawn
            with deviation 0.1: with 1, as `nn.Embedding` has it, few texts cannot undo the noise.

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
        gate_bias: float | None = None,
        vectors: Float[Tensor, "..."] | None = None,
    ) -> None:
        super().__init__()
        check_sizes(vocabulary_size, classes, embedding, hidden)
        for what, choice, allowed in (("cell", cell, LAYERS), ("pooling", pooling, POOLINGS)):
            if choice not in allowed:
                raise ValueError(f"{what} is one of {', '.join(allowed)}; got {choice!r}")
        self.embedding = WordVectors(0.1 * torch.randn(vocabulary_size, embedding), vectors)
        self.layer = LAYERS[cell](embedding, hidden, batch_first=True, bidirectional=bidirectional)
        if gate_bias is not None:
            open_gates(self.layer, gate_bias)
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
        return self.classify(self.embedding(ids, mask), mask)

    def classify(
        self, x: Float[Tensor, "B T E"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B C"]:
        """Return the logits of texts that are given as word vectors."""
        return self.output(self.dropout(self.summary(x, mask)))

    def summary(self, x: Float[Tensor, "B T E"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B D"]:
        """Return one vector for each text that is given as word vectors: what the head reads."""
        return self.pool(self.states(self.dropout(x), mask), mask)

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
