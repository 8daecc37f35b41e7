"""The networks that `benchmarks.transfer` compares: how each is built, and how fast it learns."""

import dataclasses
from typing import Any

import numpy as np
from torch import nn

from tutorial_lib import finetuning, hub, transfer
from tutorial_lib import transfer_probes as tp
from tutorial_lib.albert import AlbertClassifier
from tutorial_lib.attention import TransformerClassifier
from tutorial_lib.cnn import TextCNN
from tutorial_lib.rnn import RecurrentClassifier
from tutorial_lib.transfer_probes import Texts


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of model, and how fast it learns.

    Attributes:
        title: name for people.
        model: made for so many words and classes; the mini-ALBERT is loaded.
        sizes: of it, or its dropout.
        lr: from random weights: on the source, and on the target from scratch.
        tuned: from weights that have learned something.
        decay: of that rate from depth to depth.
        low_rank: whether it has attention for LoRA to adapt.
    """

    title: str
    model: type[nn.Module]
    sizes: dict[str, Any]
    lr: float
    tuned: float
    decay: float = 0.6
    low_rank: bool = False

    @property
    def strategies(self) -> list[str]:
        """The strategies that it is carried over by."""
        return [s for s in transfer.STRATEGIES if s != "lora" or self.low_rank]

    @property
    def is_albert(self) -> bool:
        """Whether it has read before its first task, and reads pieces of words."""
        return self.model is AlbertClassifier

    def source_passes(self, size: int) -> int:
        """Return how often it goes over the texts of a source: some 16,000 are read, or half."""
        passes = int(np.clip(16_000 // size, 4, 8))
        return passes // 2 if self.is_albert else passes

    def start(self, words: int, classes: int, *, pretrained: bool = True) -> nn.Module:
        """Return a model that has seen no task."""
        if not self.is_albert:
            return self.model(words, classes, **self.sizes)
        model = hub.load("mini-albert", AlbertClassifier, classes=classes).model
        if not pretrained:
            model = AlbertClassifier(model.albert.config, classes)
        return finetuning.set_dropout(model, self.sizes["dropout"])

    def reader(self, *parts: Texts) -> tuple[tp.Read, tp.Vocabulary | None]:
        """Return what turns texts into numbers, with the words of these texts if it needs any."""
        if not self.is_albert:
            vocabulary = tp.vocabulary(*parts)
            return tp.words(vocabulary), vocabulary
        return tp.pieces(hub.load("mini-albert").tokenizer), None


FAMILIES = {
    "textcnn": Family("TextCNN", TextCNN, {"embedding": 100, "filters": 100}, 2e-3, 1e-3),
    "lstm": Family(
        "LSTM", RecurrentClassifier, {"cell": "lstm", "hidden": 64, "pooling": "max"}, 2e-3, 1e-3
    ),
    "transformer": Family(
        "Transformer", TransformerClassifier, {"pooling": "max", "dropout": 0.2}, 1e-3, 5e-4,
        low_rank=True,
    ),
    "mini-albert": Family(
        "mini-ALBERT", AlbertClassifier, {"dropout": 0.1}, 2e-4, 1e-3, low_rank=True
    ),
}  # fmt: skip
