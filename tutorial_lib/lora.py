"""Chapter 09: low-rank adaptation (LoRA): a frozen matrix, and a small learned change of it.

Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models".
"""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

ATTENTION = ("query", "value")  # what the authors adapt, section 5.1


class LoRALinear(nn.Module):
    """A linear layer whose weight stays as it is, plus a learned matrix of low rank.

    The change begins at 0, since one of its two factors does.

    Args:
        linear: the layer; it is kept, not copied, and frozen.
        rank: of the change, r.
        alpha: the change is scaled by alpha / r. The authors leave it alone as they change the
            rank, so that the learning rate need not be chosen anew.

    Raises:
        ValueError: a rank that the matrix cannot have, or alpha not above 0.

    Source: Hu et al. 2022, section 4.1; the start of A is that of their code.

    Equation: eq-lora
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        _check(linear, rank, alpha)
        self.linear = linear.requires_grad_(False)
        self.a = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.b = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.a, math.sqrt(5))
        self.scale = alpha / rank

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Return what the layer with the changed weight would, without making that weight."""
        return self.linear(x) + self.scale * (x @ self.a.T @ self.b.T)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return a plain linear layer with the change added to its weight.

        Equation: eq-lora-merged
        """
        weight, bias = self.linear.weight, self.linear.bias
        plain = nn.utils.skip_init(
            nn.Linear, *weight.T.shape, bias=bias is not None, device=weight.device,
            dtype=weight.dtype,
        )  # fmt: skip
        plain.weight.copy_(weight + self.scale * self.b @ self.a)
        if bias is not None:
            plain.bias.copy_(bias)
        return plain


def add(
    model: nn.Module, rank: int, alpha: float | None = None, targets: Iterable[str] = ATTENTION
) -> list[str]:
    """Freeze a model, and give its linear layers of these names a change of low rank to learn.

    A head called `output` at the top of the model stays free. A layer that serves several times
    has one change for all its times.

    Args:
        model: changed in place.
        alpha: `rank` if None, a scale of 1.
        targets: last parts of the layers' names.

    Returns:
        The full names of the adapted layers.

    Raises:
        ValueError: no linear layer has such a name, the model is adapted already, or as for
            `LoRALinear`; the model is then as it was.
    """
    found, scale = _targets(model, targets), float(rank) if alpha is None else alpha
    for linear in found.values():
        _check(linear, rank, scale)
    model.requires_grad_(False)
    for name, linear in found.items():
        _replace(model, name, LoRALinear(linear, rank, scale))
    if isinstance(getattr(model, "output", None), nn.Linear):
        model.output.requires_grad_(True)
    return list(found)


def size(model: nn.Module, rank: int, targets: Iterable[str] = ATTENTION) -> int:
    """Return how many numbers would learn after `add`, those of the head among them.

    Raises:
        ValueError: as for `add`.
    """
    layers = _targets(model, targets).values()
    for layer in layers:
        _check(layer, rank)
    head = getattr(model, "output", None)
    own = sum(p.numel() for p in head.parameters()) if isinstance(head, nn.Linear) else 0
    return own + sum(rank * (layer.in_features + layer.out_features) for layer in layers)


def stored(numbers: int) -> str:
    """Say how much so many numbers are to store, of 4 bytes each."""
    return f"{numbers:>10,} numbers, {4 * numbers / 1_000:>8,.1f} kB"


def merge(model: nn.Module) -> list[str]:
    """Make plain linear layers of the adapted ones, in place; nothing else is changed or freed.

    Returns:
        The names of the layers.
    """
    found = [name for name, part in model.named_modules() if isinstance(part, LoRALinear)]
    for name in found:
        _replace(model, name, model.get_submodule(name).merged())
    return found


def _check(linear: nn.Linear, rank: int, alpha: float = 1.0) -> None:
    """Raise for a rank that the layer's matrix cannot have, or alpha not above 0."""
    most = min(linear.in_features, linear.out_features)
    if rank not in range(1, most + 1) or not 0 < alpha < math.inf:
        raise ValueError(f"rank is from 1 to {most}, alpha above 0; got {rank} and {alpha}")


def _targets(model: nn.Module, targets: Iterable[str]) -> dict[str, nn.Linear]:
    """Return the layers to adapt by their full names."""
    if any(isinstance(part, LoRALinear) for part in model.modules()):
        raise ValueError("the model is adapted already: merge it first")
    targets = tuple(targets)
    found = {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and name.rpartition(".")[2] in targets and name != "output"
    }
    if not found:
        raise ValueError(f"no linear layer of the model is called {' or '.join(targets)}")
    return found


def _replace(model: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, part)
