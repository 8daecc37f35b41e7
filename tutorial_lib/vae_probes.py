"""Chapter 08: what a VAE's code is used for, and whether its sentences are copies.

Shapes: B batch, T words, Z dimensions of the code, N sentences.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from tutorial_lib import training
from tutorial_lib.gaussian import kl_to_prior, log_density
from tutorial_lib.language_model import full
from tutorial_lib.training.predict import evaluating
from tutorial_lib.vae import SentenceVAE, bounded, codes


def exact_log_likelihood(
    model: SentenceVAE, ids: Int64[Tensor, "1 T"], mask: Bool[Tensor, "1 T"], points: int = 4001
) -> float:
    """Return log p(x) of one sentence in nats, by adding up p(x | z) p(z) over a grid of codes.

    Raises:
        ValueError: a code of more than one dimension, for which no grid is fine enough.
    """
    _, joint, step = _on_a_grid(model, ids, mask, points)
    return torch.logsumexp(joint, 0).item() + math.log(step)


def posterior_gap(
    model: SentenceVAE, ids: Int64[Tensor, "1 T"], mask: Bool[Tensor, "1 T"], points: int = 4001
) -> float:
    """Return KL(q(z | x) || p(z | x)) of one sentence in nats: how far its ELBO is from log p(x).

    Raises:
        ValueError: a code of more than one dimension, or a posterior that the grid, from -8 to 8,
            does not hold.

    Equation: eq-elbo-gap
    """
    z, joint, step = _on_a_grid(model, ids, mask, points)
    with torch.no_grad():
        log_q = log_density(z, *model.posterior(ids, mask))
    seen = log_q.exp().sum().item() * step
    if abs(seen - 1) > 1e-3:
        raise ValueError(f"the grid from -8 to 8 holds {seen:.3f} of the posterior, not all of it")
    true = joint - torch.logsumexp(joint, 0) - math.log(step)  # log p(z | x)
    return ((log_q.exp() * (log_q - true)).sum() * step).item()


def _on_a_grid(
    model: SentenceVAE, ids: Tensor, mask: Tensor, points: int
) -> tuple[Float[Tensor, "G 1"], Float[Tensor, "G"], float]:
    """Return codes of one dimension from -8 to 8, log p(x, z) there, and the distance of two."""
    if model.decoder.condition != 1:
        raise ValueError(f"a grid serves for codes of 1 dimension, not {model.decoder.condition}")
    like = next(model.parameters())
    z = torch.linspace(-8, 8, points, dtype=like.dtype, device=like.device)[:, None]
    with evaluating(model):
        given = model.decoder(ids.expand(points, -1), mask.expand(points, -1), z)
    zero = torch.zeros_like(z)
    return z, given + log_density(z, zero, zero), 16 / (points - 1)


def swap_cost(model: SentenceVAE, batches: Iterable[dict[str, Tensor]], seed: int = 0) -> float:
    """Return how many nats a sentence loses when the decoder is told another sentence's code.

    0 where the code is not used at all. The seed decides the order in which codes, the posterior
    means, are handed on, each sentence's to the next one.

    Raises:
        ValueError: fewer than two sentences.
    """
    own, _ = codes(model, batches)
    if len(own) < 2:
        raise ValueError("to swap codes there must be two sentences")
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))
    other = torch.empty_like(own)
    other[order] = own[order.roll(1)]

    def difference(model: SentenceVAE, batch: dict[str, Tensor]) -> Float[Tensor, "B"]:
        ids, mask, rows = batch["ids"], batch["mask"], batch["rows"].cpu()
        a, b = (model.decoder(ids, mask, code[rows].to(ids.device)) for code in (own, other))
        return a - b

    return training.predict(model, difference, batches).mean().item()


def cost_by_word(model: SentenceVAE, batches: Iterable[dict[str, Tensor]]) -> float:
    """Return the KL in nats a sentence if the encoder answered at each word, not once.

    The same last layer reads each word's state in place of their mean. As the divergence is convex
    in mean and log-variance, a word costs on average at least what the mean's answer costs (but
    for the bend of `bounded`).
    """

    def each(model: SentenceVAE, batch: dict[str, Tensor]) -> Float[Tensor, "B"]:
        mask = batch["mask"]
        states = model.encoder.states(model.encoder.embedding(batch["ids"], mask), mask)
        mean, raw = full(model.encoder.output(states[mask])).chunk(2, -1)  # [n Z], n words
        mean = model.normalized(mean) if model.spread else mean
        nats = kl_to_prior(mean, bounded(raw)).sum(-1)
        return nats.new_zeros(mask.shape).masked_scatter(mask, nats).sum(1)

    return training.predict(model, each, batches).mean().item()


def copied(
    written: Iterable[Iterable[Any]], known: Iterable[Iterable[Any]], n: int = 3
) -> tuple[float, float]:
    """Return the share of sentences that are known ones, and the share of their n-grams.

    A known sentence with the unknown word, which is never written, counts by its n-grams alone.

    Args:
        written, known: ids of each sentence.
        n: words of an n-gram; one counts as known if it stands in any known sentence.

    Raises:
        ValueError: nothing was written.
    """
    written = [tuple(map(int, row)) for row in written]
    if not written:
        raise ValueError("there is no sentence to look for")
    sentences = {tuple(map(int, row)) for row in known}
    runs = {run for row in sentences for run in _runs(row, n)}
    found = [run in runs for row in written for run in _runs(row, n)]
    return float(np.mean([row in sentences for row in written])), float(np.mean(found or [0.0]))


def nearest(sentence: Iterable[Any], known: Sequence[Iterable[Any]]) -> int:
    """Return the place of the known sentence that shares the largest part of its words.

    By the Jaccard index: words in both, over words in either.
    """
    words = set(map(int, sentence))
    others = [set(map(int, row)) for row in known]
    return int(np.argmax([len(words & o) / max(1, len(words | o)) for o in others]))


def _runs(row: tuple[int, ...], n: int) -> list[tuple[int, ...]]:
    return list(zip(*(itertools.islice(row, start, None) for start in range(n)), strict=False))
