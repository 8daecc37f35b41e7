"""Chapter 01: from scores to probabilities, and the loss that follows from them.

Everything here is written out so that it can be read beside the derivation. It equals
`torch.nn.functional` to rounding, for large logits and in half precision too.

Shapes: N examples, C classes, V features.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

if TYPE_CHECKING:
    import scipy.sparse


def logsumexp(logits: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch"]:
    """Return log(sum(exp(z))) over the classes without overflow.

    The largest logit is taken out first, so that no exponential exceeds 1. A row of nothing
    but -inf (no class is possible) gives -inf, not NaN.

    Equation: eq-logsumexp
    """
    rest, top = _take_out_top(logits)
    return (rest.exp().sum(-1).log() + top.squeeze(-1)).to(logits.dtype)


def log_softmax(logits: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch C"]:
    """Return the logarithms of the class probabilities, in nats.

    Not written as `logits - logsumexp(logits)`: in half precision a large top logit would
    swallow the logarithm that is added to it.

    Equation: eq-log-softmax
    """
    rest, _ = _take_out_top(logits)
    return (rest - rest.exp().sum(-1, keepdim=True).log()).to(logits.dtype)


def softmax(
    logits: Float[Tensor, "*batch C"], temperature: float = 1.0
) -> Float[Tensor, "*batch C"]:
    """Return class probabilities: positive, summing to 1 over the last axis.

    A temperature below 1 sharpens them, above 1 flattens them; the order of the classes
    stays. A logit of -inf gives probability 0; a row of nothing but -inf gives zeros.

    Raises:
        ValueError: the temperature is not positive, or too small to divide by.

    Equation: eq-softmax, eq-shift, eq-temperature
    """
    if not temperature > 1e-37:
        raise ValueError(f"a temperature is positive, above 1e-37; got {temperature}")
    rest, _ = _take_out_top(logits)
    weights = (rest / temperature).exp().masked_fill(rest == -torch.inf, 0)  # also if both are inf
    total = weights.sum(-1, keepdim=True)  # 0 only where no class is possible
    return (weights / torch.where(total == 0, torch.ones_like(total), total)).to(logits.dtype)


def entropy(probs: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch"]:
    """Return the entropy of each distribution in nats: 0 when certain, log C when uniform.

    Equation: eq-entropy
    """
    return -torch.xlogy(probs, probs).sum(-1)


def one_hot(labels: Int64[Tensor, "N"], classes: int) -> Float[Tensor, "N C"]:
    """Return a row for each label: 1 in the label's column, 0 elsewhere.

    Raises:
        ValueError: a label lies outside 0 … classes - 1.
    """
    _check_labels(labels, classes)
    return (labels.unsqueeze(-1) == torch.arange(classes, device=labels.device)).float()


def smooth(targets: Float[Tensor, "N C"], epsilon: float) -> Float[Tensor, "N C"]:
    """Move the share `epsilon` of each target distribution to the uniform one.

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7.

    Raises:
        ValueError: epsilon lies outside [0, 1].

    Equation: eq-label-smoothing
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon is a share between 0 and 1; got {epsilon}")
    return (1 - epsilon) * targets + epsilon / targets.shape[-1]


def cross_entropy(
    logits: Float[Tensor, "N C"],
    targets: Shaped[Tensor, "..."],
    epsilon: float = 0.0,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy in nats between targets and softmax(logits).

    Args:
        logits: raw scores. Not probabilities: the softmax is in here.
        targets: class indices (int64, [N]) or a distribution a row (float, [N, C]).
        epsilon: label smoothing.

    Raises:
        TypeError: indices that are not int64, or distributions that are not floating point.
        ValueError: an empty batch, a label outside 0 … C - 1, a row that is no distribution, or
            a shape that does not fit.

    Equation: eq-likelihood, eq-cross-entropy
    """
    target = _distribution(logits, targets, epsilon)
    # 0 · log 0 counts as 0: a class that cannot be may have a logit of -inf.
    terms = torch.where(target > 0, target * log_softmax(logits), 0.0)  # [N, C]
    return -terms.sum(-1).mean()


def cross_entropy_gradient(
    logits: Float[Tensor, "N C"],
    targets: Shaped[Tensor, "..."],
    epsilon: float = 0.0,
) -> Float[Tensor, "N C"]:
    """Return the gradient of `cross_entropy` with respect to the logits: (p - y) / N.

    Equation: eq-gradient
    """
    target = _distribution(logits, targets, epsilon)
    return (softmax(logits) - target) / len(logits)


def sigmoid(logit: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return the probability of class 1 of two, from the one logit z = z1 - z0.

    Equation: eq-sigmoid
    """
    return softmax(torch.stack([torch.zeros_like(logit), logit], -1))[..., 1]


def binary_cross_entropy(
    logit: Float[Tensor, "..."], target: Shaped[Tensor, "..."]
) -> Float[Tensor, ""]:
    """Return the mean binary cross-entropy in nats: `cross_entropy` of the logits (0, z).

    Args:
        logit: one a text, [N].
        target: the probability of class 1, floating point, [N].

    Raises:
        TypeError: targets that are not floating point.
        ValueError: shapes that are not one [N] (others would broadcast), an empty batch, or a
            target outside [0, 1].

    Equation: eq-binary-cross-entropy
    """
    if not target.is_floating_point():
        raise TypeError(f"binary targets are floating point; got {target.dtype}. Use .float()")
    if logit.ndim != 1 or logit.shape != target.shape:
        raise ValueError(
            f"logits and targets are both [N]; got {list(logit.shape)} and {list(target.shape)}. "
            "From logits of shape [N, 1] take z[:, 0]"
        )
    if len(logit) == 0:
        raise ValueError("the batch is empty: a mean over no examples has no value")
    if not ((target >= 0) & (target <= 1)).all():
        raise ValueError("a binary target is a probability: a number between 0 and 1")
    two = torch.stack([torch.zeros_like(logit), logit], -1)  # [N, 2]
    return (logsumexp(two) - target * logit).mean()


def sparse_tensor(counts: "scipy.sparse.spmatrix") -> Float[Tensor, "N V"]:
    """Return a SciPy sparse matrix, such as a vectorizer's counts, as a sparse COO tensor."""
    counts = counts.tocoo()
    where, values = torch.from_numpy(np.stack([counts.row, counts.col])), counts.data
    return torch.sparse_coo_tensor(
        where, torch.from_numpy(values), counts.shape, check_invariants=True
    ).coalesce()


class SoftmaxRegression(nn.Module):
    """A linear layer whose outputs are read as logits; the simplest text classifier.

    Also called multinomial logistic regression. Weights start at 0: the problem is convex,
    so there is no symmetry to break.

    Equation: eq-logits
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(features, classes))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, x: Float[Tensor, "N V"]) -> Float[Tensor, "N C"]:
        """Return the logits; `x` may be a sparse COO tensor."""
        return x @ self.weight + self.bias


@torch.no_grad()
def gradient_descent(
    model: SoftmaxRegression,
    x: Float[Tensor, "N V"],
    labels: Int64[Tensor, "N"],
    *,
    steps: int,
    lr: float,
    weight_decay: float = 0.0,
) -> list[float]:
    """Train on the whole set at every step with the gradient written by hand.

    Minimises cross_entropy + weight_decay / 2 · |W|²; the bias is not decayed.

    Returns:
        The loss before each step, penalty left out.

    Equation: eq-weight-gradient, eq-step
    """
    losses = []
    for _ in range(steps):
        logits = model(x)  # [N, C]
        losses.append(cross_entropy(logits, labels).item())
        error = cross_entropy_gradient(logits, labels)  # [N, C]
        model.weight -= lr * (x.T @ error + weight_decay * model.weight)
        model.bias -= lr * error.sum(0)
    return losses


def _take_out_top(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return (logits - top, top), top being the largest of each row, or 0 where that is infinite.

    Both are at least float32: in float16 the sum over many classes would overflow.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    top = logits.amax(-1, keepdim=True)  # [*batch, 1]
    top = torch.where(top.isinf(), torch.zeros_like(top), top)
    return logits - top, top


def _distribution(logits: Tensor, targets: Tensor, epsilon: float) -> Tensor:
    """Check targets and return them as one distribution a row, [N, C]."""
    n, classes = logits.shape
    if n == 0:
        raise ValueError("the batch is empty: a mean over no examples has no value")
    if targets.ndim == 1:
        if targets.dtype != torch.int64:
            raise TypeError(
                f"class indices are int64; got {targets.dtype}. Use .long(), or give one "
                "probability a class in a float tensor of shape [N, C]"
            )
        if len(targets) != n:
            raise ValueError(f"{n} rows of logits, but {len(targets)} labels")
        targets = one_hot(targets, classes).to(logits.dtype)
    elif not targets.is_floating_point():
        raise TypeError(f"a target distribution is floating point; got {targets.dtype}")
    elif targets.shape != logits.shape:
        raise ValueError(f"logits are {list(logits.shape)}, targets {list(targets.shape)}")
    elif not ((targets >= 0).all() and ((targets.sum(-1) - 1).abs() < 0.01).all()):
        raise ValueError("each row of a target distribution is non-negative and sums to 1")
    return smooth(targets, epsilon)


def _check_labels(labels: Tensor, classes: int) -> None:
    low, high = (labels.min().item(), labels.max().item()) if len(labels) else (0, 0)
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels run from 0 to {classes - 1} for {classes} classes; got {low} … {high}. "
            "If yours start at 1, subtract 1"
        )
