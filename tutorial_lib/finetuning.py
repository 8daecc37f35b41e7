"""Chapter 07: fine-tuning: what a pre-trained encoder reads, and how fast each part learns.

Used with `hub.load`, `data.batches` and `training.fit_classifier`.

Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?".
"""

import re
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from tutorial_lib import text

if TYPE_CHECKING:
    import tokenizers

AT_ONCE = 1000  # texts whose tokens are in memory as objects
HEAD = ("output.", "albert.pooler.")
LAYER = re.compile(r"\b(?:layers|groups)\.(\d+)\.")


def encode(
    texts: Iterable[str],
    tokenizer: "tokenizers.Tokenizer",
    max_length: int,
    *,
    head: float = 0.25,
) -> list[np.ndarray]:
    """Return the ids of each text, int32: `[CLS]`, its tokens, `[SEP]`.

    Texts are normalised first, as in all chapters. Of one that is too long the middle is left out.

    Args:
        tokenizer: the one that the encoder was pre-trained with.
        max_length: most ids of a text, `[CLS]` and `[SEP]` counted.
        head: share of the tokens of a cut text that come from its beginning; the rest comes
            from its end. 1 keeps the beginning only, 0 the end only.

    Source: Sun et al. 2019, section 5.3.1 (128 of 510 tokens from the beginning).

    Raises:
        TypeError: one string in the place of a list of texts.
        ValueError: no room for a token, a share outside [0, 1], a tokenizer without `[CLS]` and
            `[SEP]` or one that cuts or pads.
    """
    if isinstance(texts, str):
        raise TypeError("encode reads a list of texts; for one text give a list of one")
    if max_length < 3:
        raise ValueError(f"max_length holds [CLS], a token and [SEP]: 3 or more; got {max_length}")
    if not 0 <= head <= 1:
        raise ValueError(f"head is a share, from 0 to 1; got {head}")
    if tokenizer.truncation or tokenizer.padding:
        raise ValueError("this tokenizer cuts or pads texts itself: no_truncation(), no_padding()")
    first, last = (tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
    if first is None or last is None:
        raise ValueError("the tokenizer has no [CLS] and [SEP]: is it the one of this encoder?")
    room = max_length - 2
    encoded, texts = [], iter(texts)
    while some := list(islice(texts, AT_ONCE)):
        plain = [text.normalize(string) for string in some]
        for encoding in tokenizer.encode_batch(plain, add_special_tokens=False):
            ids = text.cut_middle(encoding.ids, room, head)
            encoded.append(np.array([first, *ids, last], np.int32))
    return encoded


def depths(model: nn.Module) -> dict[str, int]:
    """Return how far above the input each parameter lies, by its name.

    0 is the embedding with all that comes before the first layer. Layers in a list, ALBERT's
    groups of them too, have a depth each, counted from 1, and what follows the last one has its
    depth; a model without such a list has its middle at depth 1. One deeper lies the head: the
    classifier `output`, with ALBERT's pooler.

    Args:
        model: a classifier of this book, or one that is laid out like it.

    Raises:
        ValueError: a model without a classifier called `output`.
    """
    names = [name for name, _ in model.named_parameters()]
    numbered = {name: int(found[1]) for name in names if (found := LAYER.search(name))}
    top = max(numbered.values(), default=0) + 2
    tables = tuple(
        f"{name}." for name, part in model.named_modules() if isinstance(part, nn.Embedding)
    )
    found, depth = {}, 0 if numbered else 1
    for name in names:
        depth = numbered[name] + 1 if name in numbered else depth
        found[name] = top if name.startswith(HEAD) else 0 if name.startswith(tables) else depth
    if not any(name.startswith("output.") for name in names):
        raise ValueError("the model has no classifier called `output`")
    return found


def parameter_groups(
    model: nn.Module, lr: float, *, decay: float = 1.0, weight_decay: float = 0.01
) -> list[dict[str, Any]]:
    r"""Return groups of parameters for AdamW, with a learning rate for each depth of the model.

    With the head at depth G + 1 (`depths`), the rate of depth d is `lr` times `decay` to the
    power of G + 1 - d.

    A layer that serves several times has one set of weights, hence one rate: where all are
    shared (G = 1, every published ALBERT) there are three rates, however deep the model is.

    Biases and what belongs to layer normalisation, all of them vectors, get no weight decay.
    Parameters that are frozen are left out.

    Args:
        model: a classifier of this book.
        lr: of the head.
        decay: from one depth to the one below it; 1 gives all parts the same rate.

    Source: Howard and Ruder 2018, section 3.2, and Sun et al. 2019, section 5.3.3
    (layer-wise rates); Devlin et al. 2019, the authors' code (no decay of vectors).

    Equation: eq-layer-rates

    Raises:
        ValueError: a rate or a decay that cannot be, nothing to train, no classifier `output`.
    """
    if lr <= 0 or not 0 < decay <= 1:
        raise ValueError(f"lr is above 0, decay above 0 and at most 1; got {lr} and {decay}")
    depth = depths(model)
    top = max(depth.values())
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        vector = parameter.ndim < 2
        group = groups.setdefault(
            (depth[name], vector),
            {
                "params": [],
                "lr": lr * decay ** (top - depth[name]),
                "weight_decay": 0.0 if vector else weight_decay,
                "part": _part(depth[name], top),
            },
        )
        group["params"].append(parameter)
    if not groups:
        raise ValueError("the model has no parameter that can be trained")
    return [groups[key] for key in sorted(groups)]


def set_dropout(model: nn.Module, share: float) -> nn.Module:
    """Let training set this share of the states to 0, whatever the configuration says.

    Returns: the model itself.

    The dropout of attention weights stays as it is: most fused kernels have none.

    Raises:
        ValueError: a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"dropout is a share, from 0 to below 1; got {share}")
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = share
    return model


def _part(depth: int, top: int) -> str:
    if depth in (0, top):
        return "head" if depth else "embedding"
    return "layers" if top == 2 else f"layers, depth {depth}"
