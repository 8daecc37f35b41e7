"""Word vectors for chapter 02: skip-gram with negative sampling, its gradient by hand.

The text is read in pieces of `PIECE` tokens. Every word of a piece is a centre and a context, so
one matrix product scores all pairs of the piece, and the same `SHARED` random words serve all its
centres as negatives. That makes it fast; on average over the draws the loss is the paper's.

Shapes: T tokens of a piece, S negatives, M = T + S, V vocabulary, E embedding.

Source: Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their
Compositionality", section 2. Shared negatives: Ji et al. 2016, "Parallelizing Word2Vec in Shared
and Distributed Memory", section 3.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from tutorial_lib.vocabulary import PAD, UNK, Vocabulary

PIECE, SHARED = 128, 64
FIRST_SQUARES = 0.01  # where each row's sum of squared gradients begins
MEASURED = 50  # the loss is looked at in one of so many pieces


def keep_probability(
    counts: Int64[np.ndarray, "V"], threshold: float = 1e-3
) -> Float[np.ndarray, "V"]:
    """Return with which probability an occurrence of each word is kept for training.

    Source: Mikolov et al. 2013, section 2.3.

    Equation: eq-subsampling
    """
    share = counts / counts.sum()
    return np.minimum(1, np.sqrt(threshold / np.maximum(share, np.finfo(float).tiny)))


def noise(counts: Int64[np.ndarray, "V"]) -> Float[np.ndarray, "V"]:
    """Return the distribution from which negatives are drawn.

    Source: Mikolov et al. 2013, section 2.2.

    Equation: eq-noise
    """
    flatter = counts**0.75
    return flatter / flatter.sum()


class SkipGram:
    """Two vectors a word: one as the centre of a window, one as a context in it.

    The methods take a piece of text, `ids`; `near[i, j]`, how much the word at j counts as a
    context of the one at i; and the ids of the negatives, `drawn`.

    Attributes:
        centre, context: the vectors, [V, E].
    """

    def __init__(self, size: int, dim: int, negatives: int = 5, seed: int = 0) -> None:
        random = torch.Generator().manual_seed(seed)
        self.centre = (torch.rand(size, dim, generator=random) - 0.5) / dim
        self.context = torch.zeros(size, dim)
        self.negatives = negatives
        self._squares = torch.full((2, size), FIRST_SQUARES)

    def loss(
        self, ids: Int64[Tensor, "T"], near: Float[Tensor, "T T"], drawn: Int64[Tensor, "S"]
    ) -> Float[Tensor, ""]:
        """Return the loss of all pairs of a piece, added up, in nats.

        Equation: eq-negative-sampling
        """
        z, targets, weights = self._pairs(ids, near, drawn)
        return -(weights * F.logsigmoid(torch.where(targets == 1, z, -z))).sum()

    def gradients(
        self, ids: Int64[Tensor, "T"], near: Float[Tensor, "T T"], drawn: Int64[Tensor, "S"]
    ) -> tuple[Float[Tensor, "T E"], Float[Tensor, "M E"]]:
        """Return the gradients of `loss`: by the centre vector of each of `ids`, and by the
        context vector of each of `ids` and then `drawn`.

        Equation: eq-skip-gram-gradient
        """
        z, targets, weights = self._pairs(ids, near, drawn)
        error = weights * (torch.sigmoid(z) - targets)  # [T M]
        return error @ self.context[torch.cat([ids, drawn])], error.T @ self.centre[ids]

    def step(
        self,
        ids: Int64[Tensor, "T"],
        near: Float[Tensor, "T T"],
        drawn: Int64[Tensor, "S"],
        lr: float,
    ) -> None:
        """Move the vectors of these words against the gradient."""
        by_centre, by_context = self.gradients(ids, near, drawn)
        descend(self.centre, self._squares[0], ids, by_centre, lr)
        descend(self.context, self._squares[1], torch.cat([ids, drawn]), by_context, lr)

    def _pairs(self, ids: Tensor, near: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores, targets and weights of each centre with all M words, [T M] each.

        The negatives' weights add up to `negatives` times those of the contexts.
        """
        z = self.centre[ids] @ self.context[torch.cat([ids, drawn])].T  # [T M]
        each = self.negatives * near.sum(1, keepdim=True) / len(drawn)  # [T 1]
        weights = torch.cat([near, each.expand(-1, len(drawn))], 1)
        return z, (torch.arange(z.shape[1]) < len(ids)).float().expand_as(z), weights


def descend(
    vectors: Float[Tensor, "V E"],
    squares: Float[Tensor, "V"],
    ids: Int64[Tensor, "M"],
    gradients: Float[Tensor, "M E"],
    lr: float,
) -> None:
    """Take a step of Adagrad, in place, with one rate a row: rare words take larger steps.

    A row that stands several times among `ids` adds each of its gradients.

    Source: Duchi, Hazan and Singer 2011, "Adaptive Subgradient Methods", section 1.

    Equation: eq-adagrad
    """
    squares.index_add_(0, ids, gradients.pow(2).mean(1))
    vectors.index_add_(0, ids, gradients / squares[ids].sqrt()[:, None], alpha=-lr)


def train_skip_gram(
    sequences: Sequence[Any],
    vocabulary: Vocabulary | int,
    dim: int = 100,
    *,
    window: int = 5,
    negatives: int = 5,
    threshold: float = 1e-3,
    epochs: int = 5,
    lr: float = 0.2,
    seed: int = 0,
    report: Callable[[float], Any] | None = None,
) -> Float[Tensor, "V E"]:
    """Return vectors learned from sequences of ids, one row for each id of the vocabulary.

    The row of `PAD` is zeros and that of `UNK` the mean of all words; in training both are left
    out of the text. A word that no sequence holds keeps its small random start.

    Args:
        vocabulary: or just its size.
        window: a word at distance d from the centre counts (window + 1 - d) / window, which is
            what word2vec's window of random size comes to on average.
        negatives: random words for each pair.
        threshold: see `keep_probability`; a smaller one is faster.
        report: called after each epoch with the loss of a mean pair and its negatives, in nats.

    Raises:
        ValueError: no sequence holds a word, an id does not fit the vocabulary, or a size is
            not above 0.
    """
    if min(dim, window, negatives, threshold) <= 0:
        raise ValueError(
            f"dim, window, negatives and threshold must be above 0; got {dim}, {window}, "
            f"{negatives}, {threshold}"
        )
    size = vocabulary if isinstance(vocabulary, int) else len(vocabulary)
    ids = np.concatenate([np.zeros(0, np.int64), *sequences]).astype(np.int64)
    text = np.repeat(np.arange(len(sequences)), [len(s) for s in sequences])
    ids, text = ids[ids > UNK], text[ids > UNK]
    if not len(ids) or ids.max() >= size:
        raise ValueError(f"need words with ids from 2 to {size - 1} to learn from")
    counts = np.bincount(ids, minlength=size)
    model, random = SkipGram(size, dim, negatives, seed), np.random.default_rng(seed)
    keep, drawn_up_to = keep_probability(counts, threshold), noise(counts).cumsum()
    for _ in range(epochs):
        total = weight = 0.0
        kept = random.random(len(ids)) < keep[ids]
        for k, (piece, near) in enumerate(_pieces(ids[kept], text[kept], window, random)):
            places = random.random(SHARED) * drawn_up_to[-1]
            drawn = torch.from_numpy(drawn_up_to.searchsorted(places, side="right"))
            if report and k % MEASURED == 0:
                total += model.loss(piece, near, drawn).item()
                weight += near.sum().item()
            model.step(piece, near, drawn, lr)
        if report:
            report(total / weight if weight else float("nan"))
    model.centre[PAD] = 0
    model.centre[UNK] = model.centre[2:].mean(0)
    return model.centre


def nearest(
    vectors: Float[Tensor, "V E"], vocabulary: Vocabulary, word: str, k: int = 10
) -> list[tuple[str, float]]:
    """Return the k words whose vectors point most nearly the same way, with their cosines.

    Raises:
        ValueError: the word is not in the vocabulary, or the rows are not those of its ids.

    Equation: eq-cosine
    """
    if word not in vocabulary:
        raise ValueError(f"{word!r} is not in the vocabulary")
    if len(vectors) != len(vocabulary):
        raise ValueError(f"{len(vectors)} vectors for a vocabulary of {len(vocabulary)}")
    (row,) = vocabulary.encode([word])
    length = vectors.norm(dim=1).clamp(min=torch.finfo(vectors.dtype).tiny)  # [V]
    cosine = (vectors / length[:, None]) @ (vectors[row] / length[row])  # [V]
    cosine[[PAD, UNK, row]] = -torch.inf
    values, rows = cosine.topk(min(k, len(vectors) - 3))
    return list(zip(vocabulary.decode(rows), values.tolist(), strict=True))


def _pieces(
    ids: np.ndarray, text: np.ndarray, window: int, random: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pieces of the texts in random order, with how near their words stand: [T], [T T]."""
    order = random.permutation(text.max(initial=0) + 1)[text].argsort(kind="stable")
    ids, text = torch.from_numpy(ids[order]), torch.from_numpy(text[order])
    for piece, of in zip(ids.split(PIECE), text.split(PIECE), strict=True):
        place = torch.arange(len(piece))
        distance = (place[:, None] - place).abs()  # [T T]
        near = (window + 1 - distance).clamp(min=0) / window
        yield piece, near * ((distance > 0) & (of[:, None] == of))
