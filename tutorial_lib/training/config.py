"""What a training run is asked to do, and what it records."""

import dataclasses
import math

from tutorial_lib.training.schedule import SCHEDULES

PRECISIONS = ("auto", "no", "bf16", "fp16")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train. Everything here decides the result, so a resumed run must not change it.

    Attributes:
        epochs: most passes over the data.
        lr: base learning rate of AdamW. An optimizer of your own, or groups of parameters
            with their own `lr`, keep theirs; the schedule scales each.
        weight_decay: of AdamW (Loshchilov and Hutter 2019).
        schedule: `constant`, `linear`, `cosine` or `slanted` (linear, but never quite 0).
        warmup: share of all steps over which the rate climbs from 0 (`slanted`: from 1/32).
        clip: largest norm of the whole gradient; None leaves it as it is.
        average: decay of a moving average of the weights (Polyak and Juditsky 1992), which is
            then what is validated and kept; 0 keeps the weights themselves. Over the first
            steps the decay is (1 + step) / (10 + step) where that is less.
        accumulate: batches of one update; the gradient is that of their joint mean loss.
        patience: stop after this many epochs without a better score; None never does.
        monitor: `min` or `max` and the name of a validation metric.
        seed: decides dropout and whatever else draws random numbers.
        precision: `no` (float32), `bf16`, `fp16` (with loss scaling), or `auto`: what
            `runtime.precision` finds. Weights stay float32 in every case. On a processor with
            AMX, bf16 took 0.5 to 0.9 of float32's time for LSTMs, convolutions and small
            Transformers, the same for bags of embeddings, and up to 1.3 times for GRUs: for
            those choose `no`.
    """

    epochs: int = 10
    lr: float = 1e-3
    weight_decay: float = 0.01
    schedule: str = "constant"
    warmup: float = 0.0
    clip: float | None = 1.0
    average: float = 0.0
    accumulate: int = 1
    patience: int | None = None
    monitor: str = "min loss"
    seed: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant.

        Raises:
            ValueError: naming the field and what it may be.
        """
        words = self.monitor.split(" ", 1)
        for field, fits, rule in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("lr", 0 < self.lr < math.inf, "positive"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more"),
            ("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            ("warmup", 0 <= self.warmup < 1, "a share of all steps, from 0 to below 1"),
            ("clip", self.clip is None or self.clip > 0, "positive, or None"),
            ("average", 0 <= self.average < 1, "a decay, from 0 to below 1"),
            ("accumulate", self.accumulate >= 1, "at least 1"),
            ("patience", self.patience is None or self.patience >= 1, "at least 1, or None"),
            (
                "monitor",
                len(words) == 2 and words[0] in ("min", "max"),
                "`min` or `max` and a metric's name, such as 'max accuracy'",
            ),
            ("seed", self.seed >= 0, "0 or more"),
            ("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
        ):
            if not fits:
                raise ValueError(f"{field} must be {rule}; got {getattr(self, field)!r}")

    @property
    def metric(self) -> str:
        """Name of the validation metric to watch."""
        return self.monitor.split(" ", 1)[1]

    def better(self, new: float, old: float | None) -> bool:
        """Tell whether a score beats the best so far; a NaN never does."""
        if old is None:
            return not math.isnan(new)
        return new < old if self.monitor.startswith("min") else new > old


@dataclasses.dataclass
class History:
    """What happened, as plain lists: the first four have an entry a step, the next an epoch.

    Attributes:
        loss: mean loss of the step's rows.
        lr: learning rate of the first group of parameters.
        grad_norm: norm of the whole gradient before clipping; not finite where float16
            overflowed and the step was skipped.
        rows: number of rows in the step.
        train_loss: mean over the epoch's rows, each taken as it was trained on.
        steps: updates in the epoch.
        seconds: training and validation.
        validation: a list for each metric.
        best_epoch: index into the lists an epoch; None without validation.
        stopped_early: whether patience ran out.
    """

    loss: list[float] = dataclasses.field(default_factory=list)
    lr: list[float] = dataclasses.field(default_factory=list)
    grad_norm: list[float] = dataclasses.field(default_factory=list)
    rows: list[int] = dataclasses.field(default_factory=list)
    train_loss: list[float] = dataclasses.field(default_factory=list)
    steps: list[int] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    validation: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    best_epoch: int | None = None
    stopped_early: bool = False

    def add_step(self, loss: float, lr: float, grad_norm: float, rows: int) -> None:
        """Record one update."""
        self.loss.append(loss)
        self.lr.append(lr)
        self.grad_norm.append(grad_norm)
        self.rows.append(rows)

    def add_epoch(
        self, steps: int, seconds: float, metrics: dict[str, float], config: TrainConfig
    ) -> None:
        """Record an epoch of `steps` updates, and whether it is the best or the last."""
        rows, losses = self.rows[-steps:], self.loss[-steps:]
        weighted = sum(loss * n for loss, n in zip(losses, rows, strict=True))
        self.train_loss.append(weighted / sum(rows))
        self.steps.append(steps)
        self.seconds.append(seconds)
        for name, value in metrics.items():
            self.validation.setdefault(name, []).append(value)
        if not metrics:
            return
        epoch, scores = len(self.steps) - 1, self.validation[config.metric]
        if config.better(scores[-1], None if self.best_epoch is None else scores[self.best_epoch]):
            self.best_epoch = epoch
        since = epoch - (-1 if self.best_epoch is None else self.best_epoch)
        self.stopped_early = config.patience is not None and since >= config.patience
