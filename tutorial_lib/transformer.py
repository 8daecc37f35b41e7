"""Chapter 06, second part: scaled dot-product attention and the Transformer encoder made of it.

Everything here is from "Attention Is All You Need" (Vaswani et al. 2017) and is read from
`tutorial_lib.attention`, which adds what came before it and the classifiers.

Shapes: B batch, T time (keys, tokens), M queries (M = T where a text attends to itself),
E embedding, K heads, D = E / K width of one head. A mask is true where a key may be attended to.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from tutorial_lib.softmax import softmax

ACTIVATIONS = {
    "relu": nn.ReLU(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU(approximate="tanh"),  # the approximation that BERT and ALBERT use
}


def dot_product_scores(
    queries: Float[Tensor, "*batch M D"], keys: Float[Tensor, "*batch T D"]
) -> Float[Tensor, "*batch M T"]:
    """Return q · k / sqrt(D) for every query and key.

    The queries are divided first, so that the product does not overflow in half precision.

    Source: Vaswani et al. 2017, section 3.2.1.

    Equation: eq-dot-product
    """
    return (queries / math.sqrt(queries.shape[-1])) @ keys.transpose(-2, -1)


def weigh(
    scores: Float[Tensor, "*batch M T"],
    values: Float[Tensor, "*batch T D"],
    mask: Bool[Tensor, "*#batch #M #T"] | None = None,
    *,
    dropout: float = 0.0,
) -> tuple[Float[Tensor, "*batch M D"], Float[Tensor, "*batch M T"]]:
    """Return the weighted sums of the values, and the weights: the softmax of the scores.

    A key that the mask rules out has weight 0. A query that may attend to no key at all gets
    zeros, not NaN.

    Args:
        dropout: share of the weights set to 0 in the sum (the others grow to make up for it).

    Equation: eq-attention-weights, eq-attention-output
    """
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = softmax(scores)  # [*batch M T]; a row of nothing but -inf gives zeros
    return F.dropout(weights, dropout) @ values, weights


def attention(
    queries: Float[Tensor, "*batch M D"],
    keys: Float[Tensor, "*batch T D"],
    values: Float[Tensor, "*batch T O"],
    mask: Bool[Tensor, "*#batch #M #T"] | None = None,
    *,
    dropout: float = 0.0,
    fused: bool = False,
) -> tuple[Float[Tensor, "*batch M O"], Float[Tensor, "*batch M T"] | None]:
    """Return scaled dot-product attention and its weights.

    Args:
        mask: true where a query may attend to a key; its axes may have length 1.
        dropout: share of the weights set to 0; for training only.
        fused: let torch compute the same, where it has a kernel for the machine in one pass that
            never holds all weights (Dao et al. 2022). Returns None for the weights.

    Source: Vaswani et al. 2017, section 3.2.1.

    Equation: eq-attention
    """
    if not fused:
        return weigh(dot_product_scores(queries, keys), values, mask, dropout=dropout)
    if mask is None:
        return _in_one_pass(queries, keys, values, None, dropout), None
    # Some kernels give NaN for a query without any key: let it see all, and clear it afterwards.
    none = ~mask.any(-1, keepdim=True)
    if mask.device.type == "cpu" and not torch.compiler.is_compiling() and not none.any():
        return _in_one_pass(queries, keys, values, mask, dropout), None  # nothing to mend
    y = _in_one_pass(queries, keys, values, mask | none, dropout)
    return y.masked_fill(none, 0.0), None


def _in_one_pass(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, dropout: float
) -> Tensor:
    """Return torch's attention, but where its gradient is slow: bfloat16 on a processor.

    There two products with the weights held between them are faster; beyond 512 tokens the weights
    would need much memory.
    """
    slow = queries.device.type == "cpu" and queries.dtype == torch.bfloat16
    if not (slow and torch.is_grad_enabled() and keys.shape[-2] <= 512):
        return F.scaled_dot_product_attention(queries, keys, values, mask, dropout_p=dropout)
    q, k, v = (x.reshape(-1, *x.shape[-2:]) for x in (queries, keys, values))  # all heads in a row
    bias = q.new_zeros(1, 1, 1)
    if mask is not None:
        bias = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -torch.inf)
        bias = bias.expand(*queries.shape[:-2], *mask.shape[-2:]).reshape(-1, *mask.shape[-2:])
    scores = torch.baddbmm(bias, q, k.transpose(1, 2), alpha=1 / math.sqrt(q.shape[-1]))
    with torch.autocast("cpu", enabled=False):  # which would hold the weights in float32
        weights = scores.softmax(-1)
    return (F.dropout(weights, dropout) @ v).view(*queries.shape[:-1], v.shape[-1])


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each in its own E / K dimensions.

    Equal to `torch.nn.MultiheadAttention(..., batch_first=True)`.

    Args:
        dim: E, of what comes in and goes out.
        heads: K; must divide E.
        dropout: share of the attention weights set to 0 in training.

    Source: Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(self, dim: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"{heads} heads cannot share {dim} dimensions evenly")
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.output = (nn.Linear(dim, dim) for _ in range(4))

    def forward(
        self,
        x: Float[Tensor, "B M E"],
        mask: Bool[Tensor, "B T"] | Bool[Tensor, "B M T"] | None = None,
        *,
        context: Float[Tensor, "B T E"] | None = None,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "B M E"], Float[Tensor, "B K M T"] | None]:
        """Return what each position gathers, and each head's weights or None.

        Args:
            x: gives the queries.
            mask: which keys are tokens, or which key each query may attend to.
            context: gives keys and values; `x` itself if None (self-attention).
            need_weights: compute by hand and return the weights; else use the fused path.

        Raises:
            ValueError: a mask of another shape.

        Equation: eq-multi-head
        """
        context = x if context is None else context
        q, k, v = self.query(x), self.key(context), self.value(context)
        if mask is not None:
            mask = _mask_of_heads(mask, len(x), x.shape[1], context.shape[1])
        y, weights = attention(
            self._split(q), self._split(k), self._split(v), mask,
            dropout=self.dropout if self.training else 0.0, fused=not need_weights,
        )  # fmt: skip
        return self.output(y.transpose(1, 2).flatten(2)), weights  # heads side by side again

    def _split(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B K T D"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def layer_norm(
    x: Float[Tensor, "*batch E"],
    weight: Float[Tensor, "E"],
    bias: Float[Tensor, "E"],
    epsilon: float = 1e-5,
) -> Float[Tensor, "*batch E"]:
    """Give each vector mean 0 and variance 1, then a learned scale and shift of each element.

    The definition; the layers below use torch's, which is equal and faster.

    Source: Ba, Kiros and Hinton 2016, "Layer Normalization".

    Equation: eq-layer-norm
    """
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)  # [*batch 1]
    return weight * centred / (variance + epsilon).sqrt() + bias


class EncoderLayer(nn.Module):
    """Self-attention, then a network at each position, both added to what comes in.

    Equal to `torch.nn.TransformerEncoderLayer(..., batch_first=True)`, but for two dropouts of
    torch's: within the feed-forward network, which the paper has not either, and, by the same
    share as the others, of attention weights, which here has a share of its own.

    Args:
        dim, heads: of the attention.
        feedforward: width of the feed-forward network.
        norm_first: normalise what enters each part (pre-norm) instead of each sum (post-norm).
        dropout: share of each part's output set to 0 in training.
        attention_dropout: the same for attention weights; above 0 most fused kernels for
            processors fall back to computing all weights.
        activation: `relu`, `gelu` or `gelu_tanh`.
        epsilon: added to the variance in layer normalisation.

    Source: Vaswani et al. 2017, section 3.1; Xiong et al. 2020, "On Layer Normalization in the
    Transformer Architecture" (pre-norm).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        feedforward: int,
        *,
        norm_first: bool = False,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        activation: str = "gelu",
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}; got {activation!r}")
        self.norm_first = norm_first
        self.attention = MultiHeadAttention(dim, heads, dropout=attention_dropout)
        self.inner = nn.Linear(dim, feedforward)
        self.outer = nn.Linear(feedforward, dim)
        self.activation = ACTIVATIONS[activation]
        self.norm1, self.norm2 = nn.LayerNorm(dim, epsilon), nn.LayerNorm(dim, epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "B T E"],
        mask: Bool[Tensor, "B T"] | Bool[Tensor, "B T T"] | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "B T E"], Float[Tensor, "B K T T"] | None]:
        """Return the new states, and the attention weights or None; arguments as for attention.

        Equation: eq-pre-norm, eq-post-norm
        """
        before = self.norm1(x) if self.norm_first else x
        y, weights = self.attention(before, mask, need_weights=need_weights)
        x = x + self.dropout(y)
        if self.norm_first:
            return x + self.dropout(self.feed_forward(self.norm2(x))), weights
        x = self.norm1(x)
        return self.norm2(x + self.dropout(self.feed_forward(x))), weights

    def feed_forward(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        """Apply the same two-layer network at each position.

        Equation: eq-feed-forward
        """
        return self.outer(self.activation(self.inner(x)))


class Encoder(nn.Module):
    """Layers one after another; after pre-norm layers, which leave sums as they are, a last norm.

    Args:
        layers: of one kind; the same one may stand several times and then shares its weights.

    Raises:
        ValueError: there are none.
    """

    def __init__(self, layers: Sequence[EncoderLayer]) -> None:
        super().__init__()
        if not layers:
            raise ValueError("an encoder needs a layer")
        self.layers = nn.ModuleList(layers)
        last = self.layers[-1]
        shape, epsilon = last.norm2.normalized_shape, last.norm2.eps
        self.norm = nn.LayerNorm(shape, epsilon) if last.norm_first else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "B T E"],
        mask: Bool[Tensor, "B T"] | Bool[Tensor, "B T T"] | None = None,
        *,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "B T E"], list[Float[Tensor, "B K T T"] | None]]:
        """Return the last states, and each layer's attention weights or None."""
        maps = []
        for layer in self.layers:
            x, weights = layer(x, mask, need_weights=need_weights)
            maps.append(weights)
        return self.norm(x), maps


def sinusoidal(
    time: int, dim: int, *, start: int = 0, device: torch.device | None = None
) -> Float[Tensor, "T E"]:
    """Return one vector for each position start, start + 1, …: sines and cosines in turn.

    Source: Vaswani et al. 2017, section 3.5.

    Raises:
        ValueError: an odd dimension: they come in pairs.

    Equation: eq-sinusoidal
    """
    position = torch.arange(start, start + time, device=device)
    angle = position[:, None] * _frequencies(dim, device)  # [T E/2]
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1).float()


def shift_matrix(shift: int, dim: int) -> Float[Tensor, "E E"]:
    """Return the matrix R with sinusoidal(t + shift) = R sinusoidal(t) for every position t.

    Each pair of dimensions is turned by an angle of its own.

    Equation: eq-shift-positions
    """
    angle = shift * _frequencies(dim, None)
    sine, cosine = angle.sin().tolist(), angle.cos().tolist()
    pairs = zip(sine, cosine, strict=True)
    return torch.block_diag(*(torch.tensor([[c, s], [-s, c]]) for s, c in pairs))


def _frequencies(dim: int, device: torch.device | None) -> Float[Tensor, "pairs"]:
    """Return the angle by which each pair of dimensions turns from one position to the next."""
    if dim < 2 or dim % 2:
        raise ValueError(f"sinusoidal positions need an even dimension; got {dim}")
    # In float64 where the device has it, so that position 10,000 is as exact as position 0.
    kind = torch.float32 if device is not None and device.type == "mps" else torch.float64
    return 10_000 ** -(torch.arange(0, dim, 2, device=device, dtype=kind) / dim)


def _mask_of_heads(mask: Tensor, batch: int, queries: int, keys: int) -> Tensor:
    if mask.shape == (batch, keys):
        return mask[:, None, None]  # [B 1 1 T]
    if mask.shape == (batch, queries, keys):
        return mask[:, None]  # [B 1 M T]
    raise ValueError(
        f"the mask must be [{batch}, {keys}] or [{batch}, {queries}, {keys}]; "
        f"got {list(mask.shape)}"
    )
