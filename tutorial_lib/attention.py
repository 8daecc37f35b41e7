"""Chapter 06: attention, from one learned query to a Transformer.

Attention is an average whose weights depend on what is averaged: every query scores every key,
a softmax turns its scores into weights, and the weights add up the values.

Shapes: B batch, T time (keys, tokens), M queries, E embedding, H hidden, K heads, C classes.
A mask is true where a key may be attended to.
"""

import math

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from tutorial_lib.cnn import max_over_time
from tutorial_lib.embedding import WordVectors, check_sizes
from tutorial_lib.softmax import log_softmax
from tutorial_lib.text import UNK
from tutorial_lib.transformer import (
    Encoder,
    EncoderLayer,
    MultiHeadAttention,
    attention,
    dot_product_scores,
    layer_norm,
    shift_matrix,
    sinusoidal,
    weigh,
)

__all__ = [
    "AttentionClassifier",
    "AttentionPooling",
    "Encoder",
    "EncoderLayer",
    "MultiHeadAttention",
    "TransformerClassifier",
    "additive_scores",
    "attention",
    "dot_product_scores",
    "gradient_times_input",
    "layer_norm",
    "occlusion",
    "precision_at_k",
    "shift_matrix",
    "sinusoidal",
    "weigh",
]


def additive_scores(
    queries: Float[Tensor, "*batch M F"],
    keys: Float[Tensor, "*batch T E"],
    w_query: Float[Tensor, "H F"],
    w_key: Float[Tensor, "H E"],
    u: Float[Tensor, "H"],
) -> Float[Tensor, "*batch M T"]:
    """Return u · tanh(W_q q + W_k k) for every query and key: a small network compares them.

    Source: Bahdanau, Cho and Bengio 2015, section 3.1 and appendix A.1.2.

    Equation: eq-additive
    """
    mixed = (queries @ w_query.T).unsqueeze(-2) + (keys @ w_key.T).unsqueeze(-3)  # [*batch M T H]
    return mixed.tanh() @ u


class AttentionPooling(nn.Module):
    """One vector for a text: its states averaged with weights that a learned query gives them.

    Additive attention with a single query that is the same for every text, so that W_q q is a
    learned vector, the bias of `project`.

    Args:
        dim: of a state.
        hidden: width of the comparing network; `dim` if None.

    Source: Yang et al. 2016, "Hierarchical Attention Networks for Document Classification",
    section 2.2.
    """

    def __init__(self, dim: int, hidden: int | None = None) -> None:
        super().__init__()
        self.project = nn.Linear(dim, hidden or dim)
        self.score = nn.Linear(hidden or dim, 1, bias=False)

    def forward(
        self, states: Float[Tensor, "B T H"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B T"]]:
        """Return the pooled states and the weights; zeros for a text without tokens.

        Equation: eq-attention-pooling
        """
        scores = self.score(self.project(states).tanh())  # [B T 1]
        pooled, weights = weigh(scores.transpose(1, 2), states, mask[:, None])  # [B 1 H], [B 1 T]
        return pooled[:, 0], weights[:, 0]


class AttentionClassifier(nn.Module):
    """Word vectors, averaged with learned attention, and a linear layer.

    Args:
        vocabulary_size: number of ids; `text.PAD` is one of them.
        classes: number of logits.
        embedding: size of a word vector, E.
        queries: how many learned queries pool the text; what they gather stands side by side
            (Lin et al. 2017, "A Structured Self-Attentive Sentence Embedding").
        dropout: share of the word vectors' elements, and of the pooled ones, set to 0 in training.
        vectors: word vectors to start from, one row for each id; copied.

    Raises:
        ValueError: sizes that cannot be, or vectors that do not fit.
    """

    def __init__(
        self,
        vocabulary_size: int,
        classes: int,
        *,
        embedding: int = 100,
        queries: int = 1,
        dropout: float = 0.3,
        vectors: Float[Tensor, "..."] | None = None,
    ) -> None:
        super().__init__()
        check_sizes(vocabulary_size, classes, embedding, queries)
        self.embedding = WordVectors(0.1 * torch.randn(vocabulary_size, embedding), vectors)
        self.pools = nn.ModuleList(AttentionPooling(embedding) for _ in range(queries))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(queries * embedding, classes)

    def forward(self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        """Return the logits.

        Args:
            mask: true at tokens; what `ids` holds elsewhere has no influence.

        Raises:
            ValueError: ids and mask of different shapes, an empty batch, or an id outside the
                vocabulary.
        """
        pooled = [pooled for pooled, _ in self.attend(ids, mask)]
        return self.output(self.dropout(torch.cat(pooled, -1)))

    def attend(
        self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> list[tuple[Float[Tensor, "B E"], Float[Tensor, "B T"]]]:
        """Return for each query what it gathers and its weights."""
        x = self.dropout(self.embedding(ids, mask))  # [B T E]
        return [pool(x, mask) for pool in self.pools]


class TransformerClassifier(nn.Module):
    """Word vectors plus positions, a Transformer encoder, one pooled vector, a linear layer.

    Word vectors are multiplied by the root of `dim` (Vaswani et al. 2017, section 3.4), so that
    the positions, which are of length root of dim / 2, do not drown them.

    Args:
        vocabulary_size: number of ids; `text.PAD` is one of them.
        classes: number of logits.
        dim: E, of word vectors and states.
        heads, layers, feedforward: of the encoder.
        positions: `sinusoidal` for texts of any length, or `learned`.
        norm_first: see `EncoderLayer`.
        pooling: `mean` or `max` over the tokens, or `attention`.
        dropout: share of elements set to 0 in training, after the embedding, in each part and of
            the pooled vector.
        max_length: longest text in tokens, for learned positions.
        vectors: word vectors to start from, [vocabulary_size, dim]; copied.

    Raises:
        ValueError: an unknown choice, sizes that cannot be, or vectors that do not fit.
    """

    def __init__(
        self,
        vocabulary_size: int,
        classes: int,
        *,
        dim: int = 128,
        heads: int = 4,
        layers: int = 2,
        feedforward: int = 256,
        positions: str = "sinusoidal",
        norm_first: bool = True,
        pooling: str = "mean",
        dropout: float = 0.1,
        max_length: int = 512,
        vectors: Float[Tensor, "..."] | None = None,
    ) -> None:
        super().__init__()
        check_sizes(vocabulary_size, classes, dim, heads, layers, feedforward, max_length)
        if positions not in ("sinusoidal", "learned"):
            raise ValueError(f"positions are sinusoidal or learned; got {positions!r}")
        if pooling not in ("mean", "max", "attention"):
            raise ValueError(f"pooling is mean, max or attention; got {pooling!r}")
        start = torch.randn(vocabulary_size, dim) / math.sqrt(dim)
        self.embedding = WordVectors(start, vectors)
        self.positions = nn.Embedding(max_length, dim) if positions == "learned" else None
        if dim % 2 and self.positions is None:
            raise ValueError(f"sinusoidal positions need an even dim; got {dim}")
        self.dropout = nn.Dropout(dropout)
        self.encoder = Encoder(
            [
                EncoderLayer(dim, heads, feedforward, norm_first=norm_first, dropout=dropout)
                for _ in range(layers)
            ]
        )
        self.pooling = AttentionPooling(dim) if pooling == "attention" else pooling
        self.output = nn.Linear(dim, classes)

    def forward(self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        """Return the logits.

        Args:
            mask: true at tokens, padding on the right; what `ids` holds there has no influence.

        Raises:
            ValueError: ids and mask of different shapes, an empty batch, padding before a token,
                an id outside the vocabulary, or a text too long for learned positions.
        """
        x, _ = self.encode(ids, mask)
        return self.output(self.dropout(self._pool(x, mask)))

    def encode(
        self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"], *, need_weights: bool = False
    ) -> tuple[Float[Tensor, "B T E"], list[Float[Tensor, "B K T T"] | None]]:
        """Return the state of each token, and each layer's attention weights or None."""
        x = math.sqrt(self.embedding.embedding_dim) * self.embedding(ids, mask)
        if (mask[:, 1:] & ~mask[:, :-1]).any():  # it would shift the text's positions
            raise ValueError("padding stands on the right; here a token follows padding")
        x = self.dropout(x + self._positions(ids.shape[1], x))  # [B T E]
        return self.encoder(x, mask, need_weights=need_weights)

    def _positions(self, time: int, x: Tensor) -> Float[Tensor, "T E"]:
        if self.positions is None:
            return sinusoidal(time, x.shape[-1], device=x.device).to(x.dtype)
        if time > self.positions.num_embeddings:
            raise ValueError(
                f"a text of {time} tokens, but positions are learned for max_length="
                f"{self.positions.num_embeddings}; cut long texts or use sinusoidal positions"
            )
        return self.positions.weight[:time]

    def _pool(self, x: Tensor, mask: Tensor) -> Float[Tensor, "B E"]:
        if isinstance(self.pooling, AttentionPooling):
            return self.pooling(x, mask)[0]
        if self.pooling == "max":
            return max_over_time(x, mask)
        return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def gradient_times_input(
    model: AttentionClassifier | TransformerClassifier,
    ids: Int64[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    unknown: bool = False,
) -> Float[Tensor, "B T"]:
    """Return to first order what each word vector adds to the predicted class's log-probability.

    Call it in evaluation mode: dropout would blur the scores.

    Args:
        unknown: count from the vector of `UNK`, as occlusion does, and not from zero.

    Source: Shrikumar et al. 2016, "Not Just a Black Box".

    Equation: eq-gradient-input
    """
    kept = []

    def keep(module: nn.Module, args: tuple, x: Tensor) -> Tensor:
        kept.append(x.detach().requires_grad_())  # also where the vectors are not trained
        return kept[0]

    with torch.enable_grad(), model.embedding.register_forward_hook(keep):
        log_probs = log_softmax(model(ids, mask))  # [B C]
        (gradient,) = torch.autograd.grad(log_probs.amax(1).sum(), kept[0])  # [B T E]
    x = kept[0].detach()
    if unknown:
        x = x - model.embedding(ids.new_full((1, 1), UNK)).detach()
    return (gradient * x).sum(-1) * mask


@torch.no_grad()
def occlusion(
    model: nn.Module, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """Return how much log-probability the predicted class loses when a token becomes `UNK`.

    Call it in evaluation mode. It runs the model T + 1 times.

    Source: Li, Monroe and Jurafsky 2016, "Understanding Neural Networks through Representation
    Erasure".

    Equation: eq-occlusion
    """
    whole, predicted = log_softmax(model(ids, mask)).max(1, keepdim=True)  # [B 1]
    scores = whole.new_zeros(ids.shape)
    for t in range(ids.shape[1]):
        rows = mask[:, t].nonzero()[:, 0]  # a row without a token here keeps its 0
        if len(rows):
            without = ids[rows]  # a copy
            without[:, t] = UNK
            left = log_softmax(model(without, mask[rows])).gather(1, predicted[rows])  # [rows 1]
            scores[rows, t] = (whole[rows] - left)[:, 0]
    return scores


def precision_at_k(
    scores: Float[Tensor, "B T"],
    relevant: Bool[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    k: int = 1,
) -> Float[Tensor, "B"]:
    """Return for each text the share of relevant tokens among its k best-scored ones.

    Raises:
        ValueError: a text with fewer than k tokens.

    Equation: eq-precision-at-k
    """
    if not 1 <= k <= mask.sum(1).min():
        raise ValueError(f"k lies between 1 and the shortest text, {mask.sum(1).min()}; got {k}")
    best = scores.masked_fill(~mask, -torch.inf).topk(k).indices  # [B k]
    return relevant.gather(1, best).float().mean(1)
