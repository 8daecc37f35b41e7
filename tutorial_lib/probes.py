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
from tutorial_lib.albert import Albert, AlbertClassifier, AlbertConfig, AlbertPretraining
from tutorial_lib.pretraining import MASK, SEP, PackedText, PretrainConfig

if TYPE_CHECKING:
    import tokenizers

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def pack(
    texts: Sequence[str], tokenizer: "tokenizers.Tokenizer", config: PretrainConfig
) -> PackedText:
    """Return texts as batches to pre-train on.

    Args:
        tokenizer: of ALBERT's kind: a piece begins a word if it begins with U+2581.
    """
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    tokens = np.concatenate([[*encoding.ids, SEP] for encoding in encodings]).astype(np.uint16)
    pieces = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    starts = [p.startswith("\u2581") or not any(map(str.isalnum, p)) for p in pieces]
    return PackedText(tokens, torch.tensor(starts), config)


def recorded_curve(folder: Path, metric: str) -> tuple[list[int], list[float]]:
    """Return the tokens read and a measurement after them, from a model's `curve.jsonl`."""
    lines = (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    points = [point for point in map(json.loads, lines) if metric in point]
    return [point["tokens"] for point in points], [point[metric] for point in points]


@torch.no_grad()
def fill_blank(
    model: AlbertPretraining, tokenizer: "tokenizers.Tokenizer", text: str
) -> Float[Tensor, "V"]:
    """Return the probability of each token at the `[MASK]` of a text.

    Raises:
        ValueError: not one `[MASK]`.
    """
    ids = torch.tensor([tokenizer.encode(text).ids])
    if (ids == MASK).sum() != 1:
        raise ValueError(f"a text with one [MASK] is needed; got {text!r}")
    return model.eval()(ids, None, positions=ids == MASK).words[0].softmax(0)


def halves(documents: Iterable[str], sentences: int = 6) -> list[tuple[str, str]]:
    """Return the first sentences of each document as two halves that follow one another.

    Documents of fewer than four sentences, or with one of fewer than four words, are left out.
    """
    found = []
    for document in documents:
        parts = SENTENCE_END.split(document.strip())[:sentences]
        if len(parts) >= 4 and all(len(part.split()) > 3 for part in parts):
            middle = len(parts) // 2
            found.append((" ".join(parts[:middle]), " ".join(parts[middle:])))
    return found


@torch.no_grad()
def order_told(
    model: AlbertPretraining, tokenizer: "tokenizers.Tokenizer", pairs: Iterable[tuple[str, str]]
) -> Int64[np.ndarray, "N 2"]:
    """Return 1 where the model tells the order of a pair right: as it stood, and swapped."""
    model.eval()
    told = []
    for pair in pairs:
        for swapped, (first, second) in enumerate((pair, pair[::-1])):
            encoding = tokenizer.encode(first, second)
            ids, types = (torch.tensor([x]) for x in (encoding.ids, encoding.type_ids))
            told.append(int(model(ids, None, types).order.argmax()) == swapped)
    return np.array(told, dtype=np.int64).reshape(-1, 2)


class Changes(NamedTuple):
    """How far what leaves a layer is from what enters it, mean over tokens.

    Attributes:
        distance: Euclidean; cosine: of the angle between the two.
    """

    distance: Float[Tensor, "L"]
    cosine: Float[Tensor, "L"]


@torch.no_grad()
def layer_changes(encoder: Albert, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Changes:
    """Return what each layer changes.

    Source: Lan et al. 2020, section 3.1, figure 1.
    """
    states = encoder.eval()(ids, mask, need_states=True).all_states
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
    units = torch.nn.functional.normalize(vectors.double(), dim=1)
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


def step_seconds(config: AlbertConfig, time_steps: int = 128, repeats: int = 3) -> float:
    """Return the least time of a forward and a backward pass of one text, in seconds.

    On the fastest device, in the precision that training takes there.
    """
    device, times = runtime.device(), []
    model = Albert(config).to(device)
    ids = torch.randint(config.vocab_size, (1, time_steps), device=device)
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    kind = kinds.get(runtime.precision(device))
    for _ in range(repeats):
        begun = time.perf_counter()
        with torch.autocast(device.type, kind, enabled=kind is not None):
            states = model(ids, None).states
        states.float().square().mean().backward()
        next(model.parameters()).grad.sum().item()  # waits for a GPU
        times.append(time.perf_counter() - begun)
    return min(times)
