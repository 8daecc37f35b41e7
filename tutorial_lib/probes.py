"""Chapter 07: questions to put to an ALBERT: what it expects, what its layers do, what it costs.

Shapes: B batch, T time (tokens), V vocabulary, H hidden, L layers, N vectors.
"""

import copy
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from tutorial_lib import plots, runtime
from tutorial_lib.albert import (
    Albert,
    AlbertClassifier,
    AlbertConfig,
    AlbertPretraining,
    flops,
    parameter_count,
)
from tutorial_lib.packing import PackedText
from tutorial_lib.pretraining import MASK, SEP, PretrainConfig, word_starts
from tutorial_lib.training.predict import evaluating

if TYPE_CHECKING:
    import tokenizers

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def pack(
    texts: Sequence[str], tokenizer: "tokenizers.Tokenizer", config: PretrainConfig
) -> PackedText:
    """Return texts as batches to pre-train on.

    Args:
        tokenizer: see `pretraining.word_starts`.
    """
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    tokens = np.concatenate([[*encoding.ids, SEP] for encoding in encodings])
    return PackedText(tokens, word_starts(tokenizer), config)


def recorded_curve(folder: Path, metric: str) -> tuple[list[int], list[float]]:
    """Return the tokens read and a measurement after them, from a model's `curve.jsonl`."""
    lines = (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    points = [point for point in map(json.loads, lines) if metric in point]
    return [point["tokens"] for point in points], [point[metric] for point in points]


def fill_blank(
    model: AlbertPretraining, tokenizer: "tokenizers.Tokenizer", text: str
) -> Float[Tensor, "V"]:
    """Return the probability of each token at the `[MASK]` of a text.

    Raises:
        ValueError: not one `[MASK]`.
    """
    ids = torch.tensor([tokenizer.encode(text).ids], device=model.word_bias.device)
    if (ids == MASK).sum() != 1:
        raise ValueError(f"a text with one [MASK] is needed; got {text!r}")
    with evaluating(model):
        return model(ids, None, positions=ids == MASK).words[0].softmax(0)


def likeliest(
    model: AlbertPretraining,
    tokenizer: "tokenizers.Tokenizer",
    texts: Mapping[str, str],
    count: int = 6,
) -> tuple[list[str], dict[str, list[float]]]:
    """Return what is likely at the blanks of several texts, and how likely it is at each.

    Args:
        texts: by name, each with one `[MASK]`.
        count: likeliest tokens of each text.

    Returns: the tokens, without doubles; and for each text's name their probabilities.
    """
    found = {name: fill_blank(model, tokenizer, text) for name, text in texts.items()}
    top = torch.cat([p.topk(count).indices for p in found.values()]).unique().tolist()
    tokens = [tokenizer.id_to_token(i) for i in top]
    return tokens, {name: p[top].tolist() for name, p in found.items()}


def halves(documents: Iterable[str], sentences: int = 6) -> list[tuple[str, str]]:
    """Return the first sentences of each document as two halves that follow one another.

    Documents of fewer than four sentences, or with one of fewer than four words, are left out.

    Args:
        sentences: of a document, at most.
    """
    found = []
    for document in documents:
        parts = SENTENCE_END.split(document.strip())[:sentences]
        if len(parts) >= 4 and all(len(part.split()) > 3 for part in parts):
            middle = len(parts) // 2
            found.append((" ".join(parts[:middle]), " ".join(parts[middle:])))
    return found


def order_told(
    model: AlbertPretraining,
    tokenizer: "tokenizers.Tokenizer",
    pairs: Iterable[tuple[str, str]],
    seed: int = 0,
) -> Int64[np.ndarray, "N"]:
    """Return 1 for each pair whose order the model tells right; a coin swaps each, or not."""
    told, coin = [], np.random.default_rng(seed)
    with evaluating(model):
        for pair in pairs:
            swapped = coin.integers(2)
            first, second = pair[::-1] if swapped else pair
            encoding = tokenizer.encode(first, second)
            pieces = torch.tensor([[encoding.ids], [encoding.type_ids]])
            ids, types = pieces.to(model.word_bias.device)
            told.append(int(model(ids, None, types).order.argmax()) == swapped)
    return np.array(told, dtype=np.int64)


class Changes(NamedTuple):
    """How far what leaves a layer is from what enters it, mean over tokens.

    Attributes:
        distance: Euclidean; cosine: of the angle between the two.
    """

    distance: Float[Tensor, "L"]
    cosine: Float[Tensor, "L"]


def layer_changes(encoder: Albert, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Changes:
    """Return what each layer changes.

    Source: Lan et al. 2020, section 3.1, figure 1.
    """
    with evaluating(encoder):
        states = encoder(ids, mask, need_states=True).all_states
    x = torch.stack([state[mask] for state in states])  # [L+1 tokens H]
    before, after = x[:-1], x[1:]
    cosine = torch.cosine_similarity(before, after, dim=-1).mean(1)
    return Changes((after - before).norm(dim=-1).mean(1), cosine)


def layer_picture(
    changes: Mapping[str, Changes], *, caption: str, data: Any = None
) -> plots.Picture:
    """Draw distance and cosine by layer, one line a model."""
    drawn, axes = plots.figure(2)
    for k, (name, values) in enumerate(changes.items()):
        style = plots.DASHES[k % 4] + plots.MARKERS[k % 7]
        for ax, line in zip(axes, values, strict=True):
            ax.plot(range(1, len(line) + 1), line.tolist(), style, label=name)
    for ax, name in zip(axes, Changes._fields, strict=True):
        ax.set(xlabel="layer", ylabel=name)
    axes[0].set_ylim(bottom=0)
    axes[1].legend(fontsize=8)
    ends = "; ".join(
        f"{name}: distance {d[0]:.1f} at the first layer, {d[-1]:.1f} at the last, "
        f"cosine {c[0]:.2f} and {c[-1]:.2f}"
        for name, (d, c) in changes.items()
    )
    alt = f"Line charts by layer of how far its output is from its input. {ends}."
    return plots.picture(drawn, alt=alt, caption=caption, data=data)


def likeness(vectors: Float[Tensor, "N H"]) -> float:
    """Return the mean cosine of two different vectors: 1 where all point the same way.

    Raises:
        ValueError: fewer than two vectors.
    """
    n = len(vectors)
    if n < 2:
        raise ValueError("two vectors at least can be alike")
    units = torch.nn.functional.normalize(vectors.cpu().double(), dim=1)
    return ((units.sum(0).square().sum() - n) / (n * (n - 1))).item()


@torch.no_grad()
def with_attention_of_rank(model: AlbertClassifier, rank: int) -> AlbertClassifier:
    """Return a copy on the processor, each attention matrix replaced by the nearest of a rank.

    Source: Eckart and Young 1936: the largest singular values and their vectors.
    """
    cut = copy.deepcopy(model).cpu()
    for group in cut.albert.groups:
        for attention in (layer.attention for layer in group):
            for part in (attention.query, attention.key, attention.value, attention.output):
                u, s, v = torch.linalg.svd(part.weight)
                part.weight.copy_((u[:, :rank] * s[:rank]) @ v[:rank])
    return cut


class Cost(NamedTuple):
    """What a forward and a backward pass take.

    Attributes:
        seconds: the least of several tries.
        states: bytes kept from the first for the second, the weights not counted.
    """

    seconds: float
    states: int


def step_cost(config: AlbertConfig, time_steps: int = 128, repeats: int = 3) -> Cost:
    """Return what training on one text costs.

    On the fastest device, in the precision that training takes there.
    """
    device, times = runtime.device(), []
    model = Albert(config).to(device)
    linear = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    ids = torch.randint(config.vocab_size, (1, time_steps), device=device)
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    kind = kinds.get(runtime.precision(device))

    def noted(kept: dict[int, int]) -> torch.autograd.graph.saved_tensors_hooks:
        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        return torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)

    for _ in range(repeats):
        weights: dict[int, int] = {p.untyped_storage().data_ptr(): 0 for p in model.parameters()}
        kept: dict[int, int] = {}
        begun = time.perf_counter()  # the copies are made at every step, so they count
        with torch.autocast(device.type, kind, enabled=kind is not None):
            with noted(weights):  # half precision computes with copies of them: which?
                # A layer keeps its copy only for an input that needs a gradient.
                held = [layer(layer.weight[:1].detach().requires_grad_()) for layer in linear]
            with noted(kept):
                states = model(ids, None).states
        states.float().square().mean().backward()
        next(model.parameters()).grad.sum().item()  # waits for a GPU
        times.append(time.perf_counter() - begun)
        del held  # until here, so that no state takes the place of a copy
    return Cost(min(times), sum(size for place, size in kept.items() if place not in weights))


SIZES_HEAD = "size      parameters  (as in BERT)  weights   GFLOP  seconds  states"


def size_line(name: str, config: AlbertConfig, *, measured: bool) -> str:
    """Return a line under `SIZES_HEAD`: what a size holds, computes and takes.

    Weights are counted with their gradients and AdamW's averages, 16 bytes a parameter; work and
    what is measured are those of one text of 128 tokens.
    """
    own = parameter_count(config)
    bert = parameter_count(config, factorised=False, shared=False)
    line = f"{name:<8}{own:>12,}{bert:>14,}{16 * own / 1e9:6.2f} GB{flops(config, 128) / 1e9:8.1f}"
    if not measured:
        return f"{line}{'not measured':>17}"
    cost = step_cost(config)
    return f"{line}{cost.seconds:9.3f}{cost.states / 1e6:5.0f} MB"
