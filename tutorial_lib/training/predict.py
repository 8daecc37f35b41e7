"""Predictions in the order of the input, whatever the order of the batches."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


def predict(
    model: nn.Module, forward: Callable[[nn.Module, Any], Tensor], batches: Iterable[Any]
) -> Tensor:
    """Return `forward(model, batch)` for every row, on the CPU, in the input's order.

    The model is in evaluation mode meanwhile and keeps its mode afterwards. Each batch is a
    dict whose `rows` tell the place of its rows in the input, as `data.batches` makes them.

    Raises:
        ValueError: there are no batches, their rows are not 0, 1, 2 … each once, or an output
            has not one entry a row.
    """
    from accelerate.utils import send_to_device

    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    rows, outputs = [], []
    with evaluating(model):
        for batch in batches:
            output = forward(model, send_to_device(batch, device)).cpu()
            if output.shape[:1] != batch["rows"].shape:
                raise ValueError(
                    f"forward gave shape {tuple(output.shape)} for {len(batch['rows'])} rows"
                )
            rows.append(batch["rows"].cpu())
            outputs.append(output)
    if not rows:
        raise ValueError("there are no batches to predict on")
    order = torch.cat(rows)
    if not order.sort().values.equal(torch.arange(len(order))):
        raise ValueError("the batches' rows are not 0, 1, 2 … each once")
    result = torch.cat(outputs)
    return torch.empty_like(result).index_copy_(0, order, result)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode for a while, without gradients."""
    with modes_kept(model), torch.no_grad():
        model.eval()
        yield


@contextlib.contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Put every module back into training or evaluation mode as it was."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
