"""Chapter 07: the published names of an ALBERT's tensors, and whether they fill a model."""

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from tutorial_lib.albert import Albert

# Our names of modules and theirs, `albert.` before all that is in the encoder.
NAMES = {
    "albert.words": "albert.embeddings.word_embeddings",
    "albert.positions": "albert.embeddings.position_embeddings",
    "albert.token_types": "albert.embeddings.token_type_embeddings",
    "albert.norm": "albert.embeddings.LayerNorm",
    "albert.mapping": "albert.encoder.embedding_hidden_mapping_in",
    "albert.pooler": "albert.pooler",
    "word_dense": "predictions.dense",
    "word_norm": "predictions.LayerNorm",
    "word_bias": "predictions.bias",
    "order": "sop_classifier.classifier",
    "output": "classifier",
}
LAYER_NAMES = {
    "attention.query": "attention.query",
    "attention.key": "attention.key",
    "attention.value": "attention.value",
    "attention.output": "attention.dense",
    "norm1": "attention.LayerNorm",
    "inner": "ffn",
    "outer": "ffn_output",
    "norm2": "full_layer_layer_norm",
}
# Parts that a file may lack as a whole: they are then trained from a fresh start.
HEADS = ("albert.pooler", "predictions", "sop_classifier", "classifier")
# Second copies of tensors that the model has once, and the first ones.
TIED = {
    "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
    "predictions.decoder.bias": "predictions.bias",
}
MOST_PROBLEMS = 5


class WeightsError(ValueError):
    """A model cannot be had, is damaged, or is not one that this package knows."""


def published_name(name: str) -> str:
    """Return the published name of a tensor of ours, its own beginning with `albert.`."""
    pattern = r"albert\.groups\.(\d+)\.(\d+)\.(.+)\.(weight|bias)"
    if match := re.fullmatch(pattern, name):
        group, layer, part, kind = match.groups()
        place = f"albert.encoder.albert_layer_groups.{group}.albert_layers.{layer}"
        return f"{place}.{LAYER_NAMES[part]}.{kind}"
    if name in NAMES:
        return NAMES[name]
    part, kind = name.rsplit(".", 1)
    return f"{NAMES[part]}.{kind}"


def published(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's own tensors by published name."""
    prefix = "albert." if isinstance(model, Albert) else ""
    return {published_name(prefix + name): t for name, t in model.state_dict().items()}


def fill(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> tuple[str, ...]:
    """Copy tensors by published name into a model; return the heads that are not among them.

    Raises:
        WeightsError: a tensor is missing, does not fit or is not finite; `path` is blamed, and
            nothing was copied.
    """
    wanted, problems = published(model), []
    for second, first in TIED.items():
        if second not in tensors or first not in wanted or "predictions.bias" not in wanted:
            continue
        copy = tensors[second]
        # Early releases held an unused bias of zeros beside the true one.
        if not tensors.setdefault(first, copy).equal(copy) and (copy.ndim > 1 or copy.any()):
            problems.append(f"{second} differs from {first}: this model has them as one")
    new = tuple(
        head
        for head in HEADS
        if any(within(name, head) for name in wanted)
        and not any(within(name, head) for name in tensors)
    )
    for name, ours in wanted.items():
        if name not in tensors:
            if not any(within(name, head) for head in new):
                problems.append(f"{name} is missing")
        elif tensors[name].shape != ours.shape or tensors[name].dtype != torch.float32:
            have, want = (f"{str(t.dtype)[6:]} {[*t.shape]}" for t in (tensors[name], ours))
            problems.append(f"{name} is {have}; the configuration asks for {want}")
        elif not tensors[name].isfinite().all():
            problems.append(f"{name} holds numbers that are not finite")
    buffers = ("position_ids", "token_type_ids")
    problems += [
        f"{name} is not part of a model of this configuration"
        for name in sorted(tensors)
        if name.startswith("albert.") and name not in wanted and not name.endswith(buffers)
    ]
    if problems:
        more = len(problems) - MOST_PROBLEMS
        listed = problems[:MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise WeightsError(f"{path} does not fit:" + "".join(f"\n- {p}" for p in listed))
    with torch.no_grad():
        for name, ours in wanted.items():
            if name in tensors:
                ours.copy_(tensors[name])
    return new


def within(name: str, part: str) -> bool:
    """Return whether a tensor is in this part of a model."""
    return name.startswith(f"{part}.")
