"""One update of the weights: precision, gradients of several batches and processes, clipping.

The gradient is that of the mean loss over all rows of all batches of the step, however they
are split over batches and processes, so that the number of processes changes rounding only.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tutorial_lib import runtime
from tutorial_lib.training.config import TrainConfig

if TYPE_CHECKING:
    import accelerate

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TrainingDiverged(ArithmeticError):
    """The loss or a gradient stopped being a finite number.

    Attributes:
        epoch, step: where, both counted from 1, the step within its epoch.
        lr: the learning rate there.
        cause: the first thing found not to be finite.
    """

    def __init__(self, epoch: int, step: int, lr: float, cause: str) -> None:
        super().__init__(
            f"training diverged in epoch {epoch}, step {step}, learning rate {lr:.3g}: {cause}"
        )
        self.epoch, self.step, self.lr, self.cause = epoch, step, lr, cause


class Updater:
    """Holds model, loss and optimizer, and does one step at a time."""

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[nn.Module, Any], Tensor],
        optimizer: torch.optim.Optimizer | list[dict[str, Any]] | None,
        config: TrainConfig,
        here: "accelerate.PartialState",
    ) -> None:
        runtime.keep_freed_memory()
        self.model, self.loss, self.config, self.here = model, loss, config, here
        if not isinstance(optimizer, torch.optim.Optimizer):
            trainable = [p for p in model.parameters() if p.requires_grad]
            if not trainable:
                raise ValueError("the model has no parameter that can be trained")
            groups = [{"params": trainable}] if optimizer is None else optimizer
            optimizer = _adamw(groups, config)
        self.optimizer = optimizer
        self.rates = [group["lr"] for group in optimizer.param_groups]
        auto = config.precision == "auto"
        self.precision = runtime.precision(here.device) if auto else config.precision
        self.scaler = torch.amp.GradScaler(here.device.type, enabled=self.precision == "fp16")
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        self.parameters = {}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                other = f"parameter {len(self.parameters)} of the optimizer"
                self.parameters[names.get(id(parameter), other)] = parameter
        if not any(id(parameter) in names for parameter in self.parameters.values()):
            raise ValueError(
                "the optimizer holds no parameter of this model; was it made for another one?"
            )

    def set_rates(self, factor: float) -> None:
        """Set the learning rate of each group to `factor` times the one it came with."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def update(
        self, batches: list[Any], factor: float, epoch: int, step: int
    ) -> tuple[float, float, int]:
        """Take one step at `factor` times the base rates.

        Returns: mean loss over all rows, norm of its gradient before clipping, rows.

        Raises:
            TrainingDiverged: loss or gradient is not finite; the weights were not touched.
            ValueError: a batch has no rows.
        """
        self.set_rates(factor)
        rows = [_rows(batch, f"a batch of epoch {epoch}, step {step}") for batch in batches]
        self.optimizer.zero_grad()
        loss = sum(
            self._backward(batch, n, sum(rows)) for batch, n in zip(batches, rows, strict=True)
        )
        loss = self._over_processes(loss)
        self.scaler.unscale_(self.optimizer)
        gradients = {n: p.grad for n, p in self.parameters.items() if p.grad is not None}
        # One transfer from the device for all numbers that decide what happens next.
        value, *norms = torch.stack(
            [loss.float(), *(gradient.norm().float() for gradient in gradients.values())]
        ).tolist()
        norm = math.hypot(*norms)
        if not math.isfinite(value + norm):
            cause = self._cause(batches, value, dict(zip(gradients, norms, strict=True)))
            if cause:
                raise TrainingDiverged(epoch, step, self.optimizer.param_groups[0]["lr"], cause)
        elif self.config.clip is not None and norm > self.config.clip:
            for gradient in gradients.values():
                gradient.mul_(self.config.clip / (norm + 1e-6))
        self.scaler.step(self.optimizer)  # float16: skips a step whose gradient overflowed
        self.scaler.update()
        return value, norm, sum(rows)

    def _backward(self, batch: Any, rows: int, total: int) -> Tensor:
        """Add this process's share of the gradient; return its share of the mean loss."""
        from accelerate.utils import send_to_device, slice_tensors

        here, mine = self.here, rows
        if here.num_processes > 1:
            # A process for which there is no row computes the first with weight zero.
            mine = len(range(here.process_index, rows, here.num_processes))
            start = here.process_index if mine else 0
            batch = slice_tensors(batch, slice(start, None if mine else 1, here.num_processes))
        batch = send_to_device(batch, here.device)
        with self._autocast():
            loss = self.loss(self.model, batch)
        if not isinstance(loss, Tensor) or loss.ndim:
            shape = (
                f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            )
            raise TypeError(f"the loss must be one number, a tensor with no axes; got {shape}")
        if not loss.requires_grad:
            raise ValueError("the loss depends on no parameter that can be trained")
        share = loss * (mine / total)
        self.scaler.scale(share).backward()
        return share.detach()

    def _autocast(self) -> contextlib.AbstractContextManager:
        if self.precision == "no":
            return contextlib.nullcontext()
        return torch.autocast(self.here.device.type, dtype=DTYPES[self.precision])

    def _over_processes(self, loss: Tensor) -> Tensor:
        """Sum loss and gradients over all processes, in one exchange."""
        if self.here.num_processes == 1:
            return loss
        loss = loss.to(torch.promote_types(loss.dtype, torch.float32))  # gradients travel with it
        parameters = list(self.parameters.values())
        has = torch.tensor([p.grad is not None for p in parameters], device=loss.device)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([loss.view(1), has.to(loss), *(grad.flatten().to(loss) for grad in grads)])
        torch.distributed.all_reduce(flat)
        loss, *parts = flat.split([1, len(parameters), *(p.numel() for p in parameters)])
        for parameter, used, grad in zip(parameters, parts[0].tolist(), parts[1:], strict=True):
            parameter.grad = grad.view_as(parameter).to(parameter) if used else None
        return loss.view(())

    def _cause(self, batches: list[Any], loss: float, norms: dict[str, float]) -> str:
        """Say what is not finite, or nothing where loss scaling will mend it."""
        for name, tensor in tensors_of(batches):
            if not tensor.isfinite().all():
                return f"the batch's {name} holds NaN or infinity"
        for name, parameter in self.parameters.items():
            if not parameter.isfinite().all():
                return f"the weight {name} was not finite before this step"
        if not math.isfinite(loss):
            return f"the loss is {loss}, though batch and weights are finite"
        if self.scaler.is_enabled() and self.scaler.get_scale() > 1:
            return ""
        bad = [name for name, norm in norms.items() if not math.isfinite(norm)]
        if not bad:
            return "the gradient's norm is beyond the largest number"
        more = f" (and of {len(bad) - 1} more)" if len(bad) > 1 else ""
        return f"the loss is {loss:.4g}, but the gradient of {bad[0]}{more} is not finite"


def _adamw(groups: list[dict[str, Any]], config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW over copies of the groups: an optimizer writes into those that it is given."""
    groups = [group | {"params": _listed(group["params"])} for group in groups]
    if empty := [place for place, group in enumerate(groups) if not group["params"]]:
        raise ValueError(
            f"group {empty[0]} of the optimizer holds no parameters; "
            "give lists: an iterator is used up after one run"
        )
    # The fused kernels that every supported version of torch has.
    fused = all(
        parameter.device.type in ("cpu", "cuda") and parameter.is_floating_point()
        for group in groups
        for parameter in group["params"]
    )
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay, fused=fused)


def _listed(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _rows(batch: Any, where: str) -> int:
    from accelerate.utils import find_batch_size

    try:
        rows = find_batch_size(batch)
    except (IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"cannot count the rows of {where}: it must be a tensor, or dicts, lists and tuples "
            f"of tensors, with rows along the first axis ({error})"
        ) from error
    if not rows:
        raise ValueError(f"{where} has no rows")
    return rows


def tensors_of(batch: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor in a batch with its name."""
    if isinstance(batch, Tensor) and batch.is_sparse:
        batch = batch.coalesce()
        yield from tensors_of([batch.indices(), batch.values()], name)
    elif isinstance(batch, Tensor):
        yield name or "input", batch
    elif isinstance(batch, Mapping):
        for key, value in batch.items():
            yield from tensors_of(value, str(key))
    elif isinstance(batch, list | tuple):
        for value in batch:
            yield from tensors_of(value, name)
