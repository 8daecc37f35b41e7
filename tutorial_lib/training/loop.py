"""The training loop: epochs, validation, the best weights, checkpoints, progress.

Every step seeds Python, NumPy and torch from (seed, epoch, step) before it takes its batch.
So a step's dropout depends on its place in the run alone, not on validation, on how often a
checkpoint was written, or on whether the run was stopped and taken up again. Afterwards the
random numbers go on as if there had been no training.
"""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tutorial_lib import runtime
from tutorial_lib.training import checkpoint, randomness
from tutorial_lib.training.config import History, TrainConfig
from tutorial_lib.training.interrupts import Interrupts
from tutorial_lib.training.predict import modes_kept
from tutorial_lib.training.progress import Progress
from tutorial_lib.training.schedule import factor
from tutorial_lib.training.update import Updater

if TYPE_CHECKING:
    import accelerate


def train(
    model: nn.Module,
    loss: Callable[[nn.Module, Any], Tensor],
    batches: Iterable[Any],
    *,
    validate: Callable[[nn.Module], dict[str, Any]] | None = None,
    config: TrainConfig | None = None,
    optimizer: torch.optim.Optimizer | list[dict[str, Any]] | None = None,
    checkpoints: str | Path | None = None,
    save_every: int | None = None,
    progress: bool = True,
) -> History:
    """Train a model in place and return what happened.

    With `validate`, the model carries the weights of its best validated epoch however the
    training ends; without it, those of the last step, or their moving average where
    `config.average` asks for one.

    Args:
        model: any module; it is moved to the fastest device and its mode is kept.
        loss: (model, batch) to a scalar, the mean over the batch's rows.
        batches: anything with a length that can be iterated once an epoch (`data.batches`, a
            DataLoader, a list); its `set_epoch` is called where it has one. A batch is a
            tensor, or dicts, lists and tuples of tensors, with rows along the first axis.
        validate: model to a dict of numbers, called after each epoch in evaluation mode and
            without gradients; it must hold the metric that `config.monitor` names.
        config: everything that decides the result.
        optimizer: instead of fused AdamW over all weights: an optimizer, or groups of
            parameters for AdamW, each with its own `lr` if need be. An optimizer gets its
            own rates back at the end; groups are not changed.
        checkpoints: a folder. A run that finds its checkpoint there goes on from it, to the
            same weights (same device) as if it had never stopped; a finished one returns at
            once. The number of batches and the first batch of the first epoch must be the
            same again; `loss` and `validate` cannot be compared.
        save_every: write a checkpoint after so many steps too, not only after each epoch.
        progress: a bar on a terminal, and about ten lines in all anywhere.

    Raises:
        TrainingDiverged: loss or gradient is not finite.
        CheckpointError: the checkpoint is damaged or belongs to another run.
        OSError: a checkpoint cannot be written, tried before the first step too.
        KeyboardInterrupt: on Ctrl-C, after the step is done and a checkpoint is written.
        ValueError, TypeError: arguments that cannot work, named in the message.
    """
    config = config or TrainConfig()
    _check(batches, validate, config)
    here = _here()
    model.to(here.device)
    if here.num_processes > 1:
        for tensor in model.state_dict().values():
            torch.distributed.broadcast(tensor, 0)
    updater = Updater(model, loss, optimizer, config, here)
    folder = None if checkpoints is None else Path(checkpoints)
    here.wait_for_everyone()  # another process may still be writing this checkpoint
    with randomness.kept(here.device), modes_kept(model):
        run = _Run(updater, batches, validate, folder, save_every, progress)
        return run.all_epochs()


class _Run:
    """One call of `train`."""

    def __init__(
        self,
        updater: Updater,
        batches: Iterable[Any],
        validate: Callable[[nn.Module], dict[str, Any]] | None,
        folder: Path | None,
        save_every: int | None,
        progress: bool,
    ) -> None:
        self.updater, self.batches, self.validate = updater, batches, validate
        self.folder, self.save_every, self.config = folder, save_every, updater.config
        found = checkpoint.load(folder, updater, self._inputs) if folder else None
        self.state = state = found or checkpoint.State()
        self.progress = Progress(
            self.config, state.history, progress and updater.here.is_main_process
        )
        if found:
            self.progress.tell(
                f"going on after {state.epoch} epochs and {state.step} steps, from {folder}"
            )
        self.interrupts = Interrupts()
        self.started = time.perf_counter() - state.seconds

    def all_epochs(self) -> History:
        """Train until the last epoch or an early stop, and leave the best weights."""
        state, updater = self.state, self.updater
        if self.folder and updater.here.is_main_process and not self._over():
            checkpoint.prepare(self.folder)
        with self.interrupts:
            try:
                while not self._over():
                    self.epoch()
            except KeyboardInterrupt:
                if not self.interrupts.torn:
                    self.save()
                raise
            finally:
                updater.set_rates(1.0)
                if state.best is None:
                    self._put(state.average)
                else:
                    updater.model.load_state_dict(state.best)
        return state.history

    def _over(self) -> bool:
        return self.state.epoch >= self.config.epochs or self.state.history.stopped_early

    def epoch(self) -> None:
        """Do the rest of the current epoch, validate, record, save."""
        state, history = self.state, self.state.history
        self._set_epoch(state.epoch)
        steps = math.ceil(len(self.batches) / self.config.accumulate)
        if state.step and state.steps != steps:
            raise checkpoint.CheckpointError(
                f"epoch {state.epoch + 1} had {state.steps} steps when the checkpoint in "
                f"{self.folder} was written and now has {steps}: the data changed"
            )
        state.steps = steps
        self.started = time.perf_counter() - state.seconds
        self.updater.model.train()
        with self.progress.bar(state.epoch, state.step, steps) as bar:
            for step, group in enumerate(self._groups()):
                if step >= state.step:
                    self._step(group)
                    bar.set_postfix_str(f"loss {history.loss[-1]:.4f}", refresh=False)
                    bar.update()
        if not state.step:
            raise ValueError("batches gave nothing: is it an iterator that was used up before?")
        with self._averaged():
            self._validated()
        self.save()
        self.progress.tell_epoch()

    def _validated(self) -> None:
        """Validate and record the epoch; keep the weights if they are the best so far."""
        state, history = self.state, self.state.history
        metrics = self._metrics()
        with self.interrupts.held():
            history.add_epoch(state.step, time.perf_counter() - self.started, metrics, self.config)
            if history.best_epoch == state.epoch:
                weights = self.updater.model.state_dict()
                state.best = {name: tensor.detach().clone() for name, tensor in weights.items()}
            state.epoch, state.step, state.seconds = state.epoch + 1, 0, 0.0
            self.started = time.perf_counter()

    def _step(self, group: list[Any]) -> None:
        state, config = self.state, self.config
        done = (state.epoch + state.step / state.steps) / config.epochs
        rate = factor(min(done, 1.0), config.schedule, config.warmup)
        with self.interrupts.held():
            where = state.epoch + 1, state.step + 1
            loss, norm, rows = self.updater.update(group, rate, *where)
            lr = self.updater.optimizer.param_groups[0]["lr"]
            state.history.add_step(loss, lr, norm, rows)
            state.step += 1
            self._average()
        if self.save_every and len(state.history.loss) % self.save_every == 0:
            self.save()

    def _average(self) -> None:
        """Move the average of the weights towards the weights, where one is asked for."""
        if not self.config.average:
            return
        average, done = self.state.average, len(self.state.history.loss)
        decay = min(self.config.average, (1 + done) / (10 + done))
        for name, weight in self.updater.parameters.items():
            if name in average:
                average[name].lerp_(weight.detach(), 1 - decay)
            else:
                average[name] = weight.detach().clone()

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """Put the average in the place of the weights for a while."""
        mine = {n: self.updater.parameters[n].detach().clone() for n in self.state.average}
        try:
            self._put(self.state.average)
            yield
        finally:
            with self.interrupts.held():  # half of each would be saved as the weights
                self._put(mine)

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, weight in weights.items():
            self.updater.parameters[name].copy_(weight)

    def _groups(self) -> Iterator[list[Any]]:
        """Yield the batches of each step, with the random numbers of that step set."""
        self._seed(self.state.epoch, 0)
        count, iterator = len(self.batches), iter(self.batches)  # its end begins the next epoch
        for step in itertools.count(1):
            group = list(itertools.islice(iterator, self.config.accumulate))
            if not group:
                return
            if self.folder and not self.state.inputs:
                self.state.inputs = self._fingerprint(count, group[0])
            if self.updater.here.num_processes > 1:  # the same data, but dropout of its own
                self._seed(self.state.epoch, step, self.updater.here.process_index + 1)
            yield group
            self._seed(self.state.epoch, step)

    def _inputs(self) -> dict[str, Any]:
        """Look at the first batch of the first epoch again."""
        self._set_epoch(0)
        self._seed(0, 0)
        return self._fingerprint(len(self.batches), next(iter(self.batches), None))

    def _fingerprint(self, count: int, first: Any) -> dict[str, Any]:
        return checkpoint.fingerprint(count, first, self.validate is not None)

    def _set_epoch(self, epoch: int) -> None:
        if hasattr(self.batches, "set_epoch"):
            self.batches.set_epoch(epoch)

    def _seed(self, *place: int) -> None:
        randomness.seed(self.updater.here.device, self.config.seed, *place)

    def _metrics(self) -> dict[str, float]:
        if self.validate is None:
            return {}
        self.updater.model.eval()
        with torch.no_grad():
            found = self.validate(self.updater.model)
        if not isinstance(found, dict):
            raise TypeError(f"validate must return a dict of numbers; got {type(found).__name__}")
        metrics = {name: float(value) for name, value in found.items()}
        if self.config.metric not in metrics:
            raise ValueError(
                f"config.monitor asks for {self.config.metric!r}, but validate gives "
                f"{', '.join(metrics) or 'nothing'}"
            )
        before = self.state.history.validation
        if before and before.keys() != metrics.keys():
            raise ValueError(
                f"validate must give the same metrics each epoch; it gave {', '.join(before)} "
                f"before and gives {', '.join(metrics)} now"
            )
        if self.updater.here.num_processes > 1:
            from accelerate.utils import broadcast_object_list

            (metrics,) = broadcast_object_list([metrics])
        return metrics

    def save(self) -> None:
        """Write a checkpoint, where there is a folder for it and a batch was seen."""
        if self.folder and self.state.inputs and self.updater.here.is_main_process:
            self.state.seconds = time.perf_counter() - self.started
            checkpoint.save(self.folder, self.state, self.updater)


def _here() -> "accelerate.PartialState":
    """Return the device and this process's place among several."""
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    # Without `cpu`, accelerate takes two processes on the CPU for two separate runs.
    return PartialState(
        cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or runtime.device().type == "cpu"
    )


def _check(batches: Iterable[Any], validate: Callable | None, config: TrainConfig) -> None:
    if not hasattr(batches, "__len__") or isinstance(batches, Iterator):
        raise TypeError("batches must have a length and be iterable once an epoch, as a list is")
    if not len(batches):
        raise ValueError("there are no batches to train on")
    if validate is None and config.patience is not None:
        raise ValueError("patience needs validate: early stopping watches a validation metric")
