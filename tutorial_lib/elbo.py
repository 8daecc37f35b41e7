"""Chapter 08: the loss of a variational autoencoder, and what is changed in it against collapse.

Read from `tutorial_lib.vae`.

Shapes: B batch, Z dimensions of the code, N sentences. Losses and bounds: nats a sentence.
"""

import dataclasses
import math
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Terms(NamedTuple):
    """What the ELBO of each sentence is made of.

    Attributes:
        log_likelihood: log p(x | z) at one sample z of the posterior, [B].
        kl: KL(q(z | x) || p(z)) of each dimension of the code, [B, Z].
    """

    log_likelihood: Float[Tensor, "B"]
    kl: Float[Tensor, "B Z"]


def elbo(terms: Terms) -> Float[Tensor, "B"]:
    """Return the evidence lower bound of each sentence: at most log p(x), on average over z.

    Source: Kingma and Welling 2014, equation 3.

    Equation: eq-elbo
    """
    return terms.log_likelihood - terms.kl.sum(-1)


def objective(terms: Terms, weight: float = 1.0, free_bits: float = 0.0) -> Float[Tensor, ""]:
    """Return the loss of a batch: minus the ELBO, its KL term weighed and partly forgiven.

    Args:
        weight: of the KL term; 1 for the ELBO itself.
        free_bits: nats of KL in each dimension, on the average of the batch (of each process's
            part of it), that cost nothing; below that nothing pulls towards the prior.

    Source: Bowman et al. 2016, section 3.1 (weight); Kingma et al. 2016, "Improved Variational
    Inference with Inverse Autoregressive Flow", appendix C.8 (free bits).

    Equation: eq-objective, eq-free-bits
    """
    kl = terms.kl.mean(0).clamp(min=free_bits).sum()
    return weight * kl - terms.log_likelihood.mean()


def linear(step: int, steps: int) -> float:
    """Return the KL term's weight: it climbs from 0 to 1 over so many steps and stays.

    Source: Bowman et al. 2016, section 3.1, where it climbs along a sigmoid.

    Equation: eq-linear-weight
    """
    return min(1.0, step / steps) if steps else 1.0


def cyclical(step: int, steps: int, cycles: int = 4) -> float:
    """Return the weight that climbs from 0 to 1 in the first half of each cycle and then stays.

    After `steps` steps, all cycles, it is 1 for good.

    Raises:
        ValueError: a cycle of less than two steps, in which it could not climb.

    Source: Fu et al. 2019, "Cyclical Annealing Schedule", with R = 0.5.

    Equation: eq-cyclical-weight
    """
    if step >= steps:
        return 1.0
    if steps < 2 * cycles:
        raise ValueError(f"{cycles} cycles need {2 * cycles} steps or more; got {steps}")
    return min(1.0, 2 * (step * cycles / steps % 1))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a VAE is trained; as it stands, the plain recipe, which collapses.

    Attributes:
        schedule: of the KL term's weight: `constant` (1), `linear` or `cyclical`.
        share: of all steps over which the schedule runs.
        free_bits: nats of KL that each dimension may have for nothing.
        word_dropout: share of the words that the decoder is not shown.
        aggressive: share of all steps in which the encoder learns far more often than the
            decoder, after He et al. 2019, "Lagging Inference Networks and Posterior Collapse".
            There the encoder's steps come on top, until the bound stops improving; here they take
            the place of the decoder's, so that each recipe has as many steps.
        encoder_steps: there, updates of the encoder alone before each one of the decoder alone.

    Raises:
        ValueError: an unknown schedule, or a number that cannot be, NaN among them.
    """

    schedule: str = "constant"
    share: float = 0.5
    free_bits: float = 0.0
    word_dropout: float = 0.0
    aggressive: float = 0.0
    encoder_steps: int = 10

    def __post_init__(self) -> None:
        if self.schedule not in ("constant", "linear", "cyclical"):
            raise ValueError(f"schedule is constant, linear or cyclical; got {self.schedule!r}")
        shares = self.share, self.word_dropout, self.aggressive
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"shares lie between 0 and 1; got {shares}")
        if not 0 <= self.free_bits < math.inf:
            raise ValueError(f"free_bits is finite, 0 or more; got {self.free_bits}")
        if self.encoder_steps < 1:
            raise ValueError(f"encoder_steps is 1 or more; got {self.encoder_steps}")

    def weight(self, step: int, steps: int) -> float:
        """Return the weight of the KL term in a step of so many, counted from 0."""
        if self.schedule == "constant":
            return 1.0
        shape = {"linear": linear, "cyclical": cyclical}[self.schedule]
        return shape(step, round(self.share * steps))

    def learners(self, step: int, steps: int) -> tuple[bool, bool]:
        """Return whether encoder and decoder learn in a step."""
        if step >= self.aggressive * steps:
            return True, True
        decoder = step % (self.encoder_steps + 1) == self.encoder_steps
        return not decoder, decoder


def perplexity(log_likelihood: Float[Tensor, "N"], words: Float[Tensor, "N"]) -> float:
    """Return exp of minus the mean log-likelihood of a word, over all words of all sentences.

    Args:
        log_likelihood: of each sentence, or a lower bound of it, in nats.
        words: in each sentence, its end counted.

    Equation: eq-perplexity
    """
    nats = -(log_likelihood.sum() / words.sum()).item()
    return math.exp(nats) if nats < 709 else math.inf
