"""Chapter 08, first part: Gaussians with independent dimensions, and averages over them.

The encoder of a variational autoencoder answers with such a Gaussian, q(z | x), given by the mean
and the logarithm of the variance of each dimension; the prior p(z) is the one of mean 0 and
variance 1. Read from `tutorial_lib.vae`.

Shapes: S samples, B batch, Z dimensions of the code. All densities and divergences are in nats.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tutorial_lib.softmax import logsumexp


def reparameterize(
    mean: Float[Tensor, "*batch Z"],
    log_variance: Float[Tensor, "*batch Z"],
    noise: Float[Tensor, "*#batch Z"] | None = None,
) -> Float[Tensor, "*batch Z"]:
    """Return a sample z = mean + standard deviation · noise, through which gradients flow.

    Args:
        noise: from the standard normal distribution; drawn if None.

    Source: Kingma and Welling 2014, "Auto-Encoding Variational Bayes", section 2.4.

    Equation: eq-reparameterize
    """
    if noise is None:
        noise = torch.randn_like(mean)
    return mean + (log_variance / 2).exp() * noise


def log_density(
    z: Float[Tensor, "*#batch Z"],
    mean: Float[Tensor, "*#batch Z"],
    log_variance: Float[Tensor, "*#batch Z"],
) -> Float[Tensor, "..."]:
    """Return log q(z) of a Gaussian with independent dimensions, for each point and Gaussian.

    Equation: eq-gaussian-density
    """
    square = ((z - mean) * (-log_variance / 2).exp()) ** 2
    return -0.5 * (square + log_variance + math.log(2 * math.pi)).sum(-1)


def kl_to_prior(
    mean: Float[Tensor, "*batch Z"], log_variance: Float[Tensor, "*batch Z"]
) -> Float[Tensor, "*batch Z"]:
    """Return KL(q || p) of each dimension in nats; p is the standard normal distribution.

    Their sum over the dimensions is the divergence of the whole code. Written with `expm1`, so
    that little cancels near log-variance 0, where most dimensions of a collapsed model are.

    Source: Kingma and Welling 2014, appendix B.

    Equation: eq-kl-gaussian
    """
    return 0.5 * (mean**2 + torch.expm1(log_variance) - log_variance)


def kl_by_sampling(
    mean: Float[Tensor, "B Z"], log_variance: Float[Tensor, "B Z"], samples: int
) -> Float[Tensor, "S B"]:
    """Return log q(z) - log p(z) at samples of q: each is an unbiased estimate of KL(q || p).

    Equation: eq-kl-sampled
    """
    z = reparameterize(mean.expand(samples, *mean.shape), log_variance.expand(samples, *mean.shape))
    zero = torch.zeros_like(mean)
    return log_density(z, mean, log_variance) - log_density(z, zero, zero)


def gradients_by_path(
    f: Callable[[Tensor], Tensor],
    mean: Float[Tensor, "Z"],
    log_variance: Float[Tensor, "Z"],
    samples: int,
) -> Float[Tensor, "S Z"]:
    """Return, from each sample, an estimate of the gradient of E_q[f(z)] by the mean of q.

    The sample is written as a function of the mean (reparameterised), and f differentiated along
    that path.

    Args:
        f: maps samples [S, Z] to values [S]; differentiable.

    Equation: eq-path-gradient
    """
    means = mean.detach().expand(samples, -1).clone().requires_grad_()
    with torch.enable_grad():
        values = f(reparameterize(means, log_variance.detach().expand(samples, -1)))
        (gradient,) = torch.autograd.grad(values.sum(), means)
    return gradient


def gradients_by_score(
    f: Callable[[Tensor], Tensor],
    mean: Float[Tensor, "Z"],
    log_variance: Float[Tensor, "Z"],
    samples: int,
) -> Float[Tensor, "S Z"]:
    """Return the same estimates by the score function: f(z) times the gradient of log q(z).

    f is only evaluated, so that it may have steps or choose words; the price is variance.

    Source: Williams 1992, "Simple Statistical Gradient-Following Algorithms" (REINFORCE).

    Equation: eq-score-gradient
    """
    mean, log_variance = mean.detach(), log_variance.detach()
    with torch.no_grad():
        z = reparameterize(mean.expand(samples, -1), log_variance.expand(samples, -1))
        return f(z)[:, None] * (z - mean) * (-log_variance).exp()


def importance_weighted(log_weights: Float[Tensor, "S B"]) -> Float[Tensor, "B"]:
    """Return the importance-weighted bound: the logarithm of the mean weight over the samples.

    Its expectation never falls as S grows, is the ELBO for S = 1, and tends to log p(x).

    Args:
        log_weights: log p(x, z) - log q(z | x) at samples z of q(z | x).

    Raises:
        ValueError: no samples.

    Source: Burda et al. 2016, "Importance Weighted Autoencoders", equation 8 and theorem 1.

    Equation: eq-importance-weighted
    """
    if not len(log_weights):
        raise ValueError("the bound needs at least one sample")
    log_weights = log_weights.to(torch.promote_types(log_weights.dtype, torch.float32))
    return logsumexp(log_weights.T) - math.log(len(log_weights))


def mutual_information(mean: Float[Tensor, "N Z"], log_variance: Float[Tensor, "N Z"]) -> float:
    """Return an estimate of the information in nats that codes hold about which sentence it is.

    I = E[log q(z | x) - log q(z)], with one sample of each of the N posteriors and the mixture of
    all N as q(z); at most log N, and biased downwards where the true value comes near that.

    Source: Hoffman and Johnson 2016, "ELBO Surgery"; the estimate as Dieng et al. 2019, section 4.

    Equation: eq-mutual-information
    """
    mean, log_variance = mean.double(), log_variance.double()
    z, precision = reparameterize(mean, log_variance), (-log_variance).exp()
    constant = (mean**2 * precision + log_variance + math.log(2 * math.pi)).sum(-1)  # [N]
    mixed = []
    for some in z.split(1_000):  # all at once, 50,000 sentences would take 20 GB
        # The density of some samples in all posteriors, [n N], its square multiplied out.
        each = some**2 @ precision.T - 2 * some @ (mean * precision).T + constant
        mixed.append(logsumexp(-0.5 * each) - math.log(len(z)))
    return (log_density(z, mean, log_variance) - torch.cat(mixed)).mean().item()


def active_units(mean: Float[Tensor, "N Z"], threshold: float = 0.01) -> int:
    """Return how many dimensions of the code depend on the sentence.

    Those whose posterior mean varies over the N sentences with a variance above the threshold.

    Raises:
        ValueError: fewer than two sentences.

    Source: Burda et al. 2016, section 5.2.

    Equation: eq-active-units
    """
    if len(mean) < 2:
        raise ValueError(f"a variance over sentences needs at least two; got {len(mean)}")
    return int((mean.var(0) > threshold).sum())


def line(
    start: Float[Tensor, "Z"], end: Float[Tensor, "Z"], steps: int
) -> Float[Tensor, "steps Z"]:
    """Return codes on the straight line between two, both ends among them.

    Raises:
        ValueError: fewer than two steps.

    Equation: eq-line
    """
    return torch.lerp(start, end, _shares(start, steps))


def sphere(
    start: Float[Tensor, "Z"], end: Float[Tensor, "Z"], steps: int
) -> Float[Tensor, "steps Z"]:
    """Return codes on the great circle between two, both ends among them.

    In many dimensions nearly all of the prior's mass lies near a sphere of radius √Z; the middle
    of a straight line lies inside it, where hardly any code of training was. The direction turns
    evenly, and the length goes evenly from one end's to the other's.

    Raises:
        ValueError: a code of zeros, two that point in opposite directions, fewer than two steps.

    Source: Shoemake 1985, "Animating Rotation with Quaternion Curves", section 3.3; White 2016,
    "Sampling Generative Networks", section 2.1.

    Equation: eq-sphere
    """
    lengths = start.norm(), end.norm()
    if not (lengths[0] > 0 and lengths[1] > 0):
        raise ValueError("a code of zeros has no direction to turn from")
    a, b = start / lengths[0], end / lengths[1]
    angle = 2 * torch.atan2((a - b).norm(), (a + b).norm())  # exact for small angles too
    if math.pi - angle < 1e-3:
        raise ValueError("the codes point in opposite directions: no one circle joins them")
    share = _shares(start, steps)
    if angle < 1e-4:  # sin(x) / sin(y) is x / y
        directions = torch.lerp(a, b, share)
    else:
        directions = (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()
    return directions * torch.lerp(*lengths, share)


def _shares(like: Tensor, steps: int) -> Float[Tensor, "steps 1"]:
    """Return how far along the path each step is, from 0 to 1."""
    if steps < 2:
        raise ValueError(f"a path has two ends: steps is 2 or more; got {steps}")
    return torch.linspace(0, 1, steps, dtype=like.dtype, device=like.device)[:, None]
