"""Chapter 08: the variational autoencoder for sentences, and what keeps its code alive.

An encoder answers each sentence with a Gaussian over codes, a decoder says how probable the
sentence is given a code. Trained on the evidence lower bound (ELBO), such a model of text tends
to ignore its code (posterior collapse); a `Recipe` says what is done against that.

Shapes: B batch, T words, V vocabulary, Z dimensions of the code, S samples, N sentences. All
losses and bounds are in nats a sentence.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from tutorial_lib import training
from tutorial_lib.elbo import Recipe, Terms, cyclical, elbo, linear, objective, perplexity
from tutorial_lib.gaussian import (
    active_units,
    gradients_by_path,
    gradients_by_score,
    importance_weighted,
    kl_by_sampling,
    kl_to_prior,
    line,
    log_density,
    mutual_information,
    reparameterize,
    sphere,
)
from tutorial_lib.generation import beam_search, greedy, sample
from tutorial_lib.language_model import END, LanguageModel, fit_language_model, full
from tutorial_lib.rnn import RecurrentClassifier
from tutorial_lib.training import History, TrainConfig

__all__ = [
    "END",
    "LanguageModel",
    "Recipe",
    "SentenceVAE",
    "Terms",
    "active_units",
    "beam_search",
    "codes",
    "cyclical",
    "elbo",
    "evaluate",
    "fit",
    "fit_language_model",
    "gradients_by_path",
    "gradients_by_score",
    "greedy",
    "importance_weighted",
    "kl_by_sampling",
    "kl_to_prior",
    "line",
    "linear",
    "log_density",
    "mutual_information",
    "objective",
    "perplexity",
    "reparameterize",
    "sample",
    "sphere",
]

WIDEST = 10.0  # log-variance: standard deviations lie between 0.007 and 148


class SentenceVAE(nn.Module):
    """A recurrent encoder, a Gaussian code, an autoregressive decoder.

    The encoder is chapter 05's classifier with 2 Z outputs, the mean and the log-variance of the
    code: so the same encoder can be trained from scratch as a classifier, or its weights be moved.
    It reads the mean over all states.

    Args:
        vocabulary_size: number of ids.
        latent: dimensions of the code, Z.
        embedding: size of the word vectors, of encoder and decoder alike.
        hidden: size of the decoder's state; the encoder has half of it in each direction.
        dropout: in the decoder.
        deterministic: use the mean as the code, without noise: a plain autoencoder, for which
            the KL term has no meaning and is 0.
        spread: if not 0, batch normalisation gives each dimension of the posterior means this
            standard deviation over the batch, and the mean 0: a cure for collapse.

    Source: Kingma and Welling 2014; Bowman et al. 2016; pooling: Long et al. 2019, "Preventing
    Posterior Collapse in Sequence VAEs with Pooling"; `spread`: Zhu et al. 2020, "A Batch
    Normalized Inference Network Keeps the KL Vanishing Away".

    Raises:
        ValueError: sizes that cannot be.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        latent: int = 32,
        embedding: int = 128,
        hidden: int = 256,
        dropout: float = 0.3,
        deterministic: bool = False,
        spread: float = 0.0,
    ) -> None:
        if not 0 <= spread < math.inf:  # so NaN is refused as well
            raise ValueError(f"spread is a standard deviation, finite, 0 or more; got {spread}")
        super().__init__()
        self.encoder = RecurrentClassifier(
            vocabulary_size, 2 * latent, cell="lstm", embedding=embedding, hidden=hidden // 2,
            pooling="mean", dropout=0.0,
        )  # fmt: skip
        self.encoder.embedding.weight.data *= 10  # of deviation 1, as the decoder's
        self.decoder = LanguageModel(
            vocabulary_size, latent, embedding=embedding, hidden=hidden, dropout=dropout
        )
        self.deterministic = deterministic
        self.spread = spread
        if spread:  # what is normalised by where there is no batch
            self.register_buffer("usual_mean", torch.zeros(latent))
            self.register_buffer("usual_variance", torch.ones(latent))

    def posterior(
        self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Return mean and log-variance of q(z | x).

        Equation: eq-posterior
        """
        mean, raw = full(self.encoder(ids, mask)).chunk(2, -1)
        return self.normalized(mean) if self.spread else mean, bounded(raw)

    def normalized(self, mean: Float[Tensor, "B Z"]) -> Float[Tensor, "B Z"]:
        """Return posterior means with mean 0 and deviation `spread` in each dimension.

        In training over the batch; else, and for a single sentence, by what batches had lately,
        each with the weights of its step: also where `TrainConfig.average` averages the weights.

        Equation: eq-spread
        """
        over_batch = self.training and len(mean) > 1
        return self.spread * F.batch_norm(
            mean, self.usual_mean, self.usual_variance, training=over_batch
        )

    def forward(
        self,
        ids: Int64[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
        word_dropout: float = 0.0,
        noise: Float[Tensor, "B Z"] | None = None,
    ) -> Terms:
        """Return the terms of the ELBO, the likelihood at one sample of the code.

        Args:
            ids, mask: sentences, padding on the right; it never changes a sentence's terms.
            word_dropout: share of the words that the decoder is not shown.
            noise: standard normal, for the sample; drawn if None.
        """
        mean, log_variance = self.posterior(ids, mask)
        if self.deterministic:
            z, kl = mean, torch.zeros_like(mean)
        else:
            z = reparameterize(mean, log_variance, noise)
            kl = kl_to_prior(mean, log_variance)
        return Terms(self.decoder(ids, mask, z, word_dropout), kl)

    def log_weights(
        self, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"], samples: int
    ) -> Float[Tensor, "S B"]:
        """Return log p(x | z) + log p(z) - log q(z | x) at samples z of q(z | x).

        Raises:
            ValueError: no samples, or a deterministic autoencoder, which has no q.

        Equation: eq-log-weight
        """
        if samples < 1:
            raise ValueError(f"the bound needs at least one sample; got {samples}")
        if self.deterministic:
            raise ValueError("an autoencoder without noise has no posterior to draw from")
        mean, log_variance = self.posterior(ids, mask)
        zero = torch.zeros_like(mean)
        weights = []
        for _ in range(samples):
            z = reparameterize(mean, log_variance)
            prior, own = log_density(z, zero, zero), log_density(z, mean, log_variance)
            weights.append(self.decoder(ids, mask, z) + prior - own)
        return torch.stack(weights)


def bounded(raw: Float[Tensor, "B Z"]) -> Float[Tensor, "B Z"]:
    """Return log-variances bent to stay between ±`WIDEST`: no weight makes one infinite or 0."""
    return WIDEST * (raw / WIDEST).tanh()


def fit(
    model: SentenceVAE,
    batches: Iterable[dict[str, Tensor]],
    validation: Iterable[dict[str, Tensor]],
    config: TrainConfig | None = None,
    recipe: Recipe | None = None,
    *,
    progress: bool = True,
) -> History:
    """Train a VAE (or autoencoder); keep the epoch with the best bound on validation sentences.

    Args:
        batches, validation: of `ids` and `mask`, as `data.batches` makes them.
        config: as for `training.train`; `monitor` is always `min loss`, minus the bound.
        recipe: what is done against collapse; nothing if None.

    Returns:
        The history; its validation metrics are those of `evaluate`.
    """
    recipe, config = recipe or Recipe(), config or TrainConfig()
    steps, before, seen, size = 0, 0, 0, 0  # updates in all and before this epoch; its batches
    parts = {
        part: [p for p in part.parameters() if p.requires_grad]
        for part in (model.encoder, model.decoder)
    }

    def loss(model: SentenceVAE, batch: dict[str, Tensor]) -> Tensor:
        nonlocal steps, before, seen, size
        if seen == size:  # an epoch begins; the last update of the one before may have been smaller
            before += math.ceil(size / config.accumulate)
            seen, size = 0, len(batches)
            steps = steps or config.epochs * math.ceil(size / config.accumulate)
        step = before + seen // config.accumulate
        seen += 1
        for part, learns in zip(parts, recipe.learners(step, steps), strict=True):
            for parameter in parts[part]:
                parameter.requires_grad_(learns)  # without a gradient it stays as it is
        terms = model(batch["ids"], batch["mask"], recipe.word_dropout)
        return objective(terms, recipe.weight(step, steps), recipe.free_bits)

    config = dataclasses.replace(config, monitor="min loss")
    try:
        return training.train(
            model, loss, batches, config=config, progress=progress,
            validate=lambda model: evaluate(model, validation),
        )  # fmt: skip
    finally:
        for parameter in itertools.chain(*parts.values()):
            parameter.requires_grad_(True)


def codes(
    model: SentenceVAE, batches: Iterable[dict[str, Tensor]]
) -> tuple[Float[Tensor, "N Z"], Float[Tensor, "N Z"]]:
    """Return mean and log-variance of each sentence's posterior, in the order of the data."""
    both = training.predict(
        model, lambda m, b: torch.cat(m.posterior(b["ids"], b["mask"]), -1), batches
    )
    mean, log_variance = both.chunk(2, -1)
    return mean, log_variance


def evaluate(
    model: SentenceVAE, batches: Iterable[dict[str, Tensor]], samples: int = 0
) -> dict[str, float]:
    """Return a model's bound and the state of its code, means over the sentences.

    `loss` is minus the ELBO, `reconstruction` its part without the KL, `kl`: all in nats a
    sentence. `loss a word` is in nats too, the end counted as a word, and `perplexity` its exp, an
    upper bound; an autoencoder without noise has neither, for its loss bounds nothing. `units`
    are the active ones, `information` that between code and sentence, in nats.

    Args:
        samples: if not 0, the importance-weighted bound with so many is added: `weighted loss`
            and `weighted perplexity`.

    Raises:
        ValueError: fewer than two sentences, or samples of an autoencoder without noise.
    """

    def terms(model: SentenceVAE, batch: dict[str, Tensor]) -> Tensor:
        ids, mask = batch["ids"], batch["mask"]
        mean, log_variance = model.posterior(ids, mask)
        found = model(ids, mask)
        columns = [found.log_likelihood, found.kl.sum(-1), mask.sum(1) + 1.0]
        if samples:
            columns.append(importance_weighted(model.log_weights(ids, mask, samples)))
        return torch.cat([torch.stack(columns, 1), mean, log_variance], 1)

    table = training.predict(model, terms, batches)  # [N 3 + 2 Z], [N 4 + 2 Z] with samples
    width = 4 if samples else 3
    log_likelihood, kl, words = table[:, :3].double().unbind(1)
    mean, log_variance = table[:, width:].chunk(2, -1)
    bound = log_likelihood - kl
    found = {
        "loss": -bound.mean().item(),
        "reconstruction": -log_likelihood.mean().item(),
        "kl": kl.mean().item(),
        "units": active_units(mean),
        "information": 0.0 if model.deterministic else mutual_information(mean, log_variance),
    }
    if not model.deterministic:
        found["loss a word"] = -(bound.sum() / words.sum()).item()
        found["perplexity"] = perplexity(bound, words)
    if samples:
        weighted = table[:, 3].double()
        found |= {
            "weighted loss": -weighted.mean().item(),
            "weighted perplexity": perplexity(weighted, words),
        }
    return found
