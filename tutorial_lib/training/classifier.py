"""The usual case: a model of (ids, mask) to logits, batches of `data.batches`, cross-entropy."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from tutorial_lib import softmax, text
from tutorial_lib.training.config import History, TrainConfig
from tutorial_lib.training.loop import train
from tutorial_lib.training.predict import predict


def fit_classifier(
    model: nn.Module,
    batches: Iterable[dict[str, Tensor]],
    validation: Iterable[dict[str, Tensor]] | None,
    config: TrainConfig | None = None,
    *,
    smoothing: float = 0.0,
    word_dropout: float = 0.0,
    optimizer: torch.optim.Optimizer | list[dict[str, Any]] | None = None,
    checkpoints: str | Path | None = None,
    progress: bool = True,
) -> History:
    """Train `model(ids, mask) -> logits`; keep the epoch with the best validation accuracy.

    Args:
        model: any module; ids int64 [B, T] and mask bool [B, T] to logits [B, C].
        batches, validation: with `ids`, `mask` and `labels`, as `data.batches` makes them;
            without validation texts the weights are those of the last step.
        config: as for `train`; `monitor` is always `max accuracy`.
        smoothing: label smoothing in training.
        word_dropout: share of the training tokens that become the unknown word, fresh in each
            batch, so that the model learns to do without any one word.
        optimizer, checkpoints, progress: as for `train`.
    """

    def loss(model: nn.Module, batch: dict[str, Any]) -> Tensor:
        ids = text.drop_words(batch["ids"], batch["mask"], word_dropout)
        logits = model(ids, batch["mask"])
        full = torch.promote_types(logits.dtype, torch.float32)  # half precision is for matrices
        return softmax.cross_entropy(logits.to(full), batch["labels"], smoothing)

    def accuracy(model: nn.Module) -> dict[str, float]:
        def right(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
            return model(batch["ids"], batch["mask"]).argmax(1) == batch["labels"]

        return {"accuracy": predict(model, right, validation).double().mean().item()}

    config = dataclasses.replace(config or TrainConfig(), monitor="max accuracy")
    return train(
        model, loss, batches,
        validate=None if validation is None else accuracy,
        config=config, optimizer=optimizer, checkpoints=checkpoints, progress=progress,
    )  # fmt: skip


def predict_classes(
    model: nn.Module, batches: Iterable[dict[str, Tensor]]
) -> Int64[np.ndarray, " N"]:
    """Return the class with the largest logit for each text, in the order of the data."""
    return predict(model, lambda m, b: m(b["ids"], b["mask"]).argmax(1), batches).numpy()
