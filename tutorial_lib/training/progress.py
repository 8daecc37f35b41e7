"""What a run shows: a bar on a terminal, and a few lines anywhere, notebooks and logs included."""

import math
from typing import TYPE_CHECKING

from tutorial_lib.training.config import History, TrainConfig

if TYPE_CHECKING:
    import tqdm

LINES = 10  # a run prints about so many, however many epochs it has


class Progress:
    """Shows the run that `history` records; says nothing unless `shown`."""

    def __init__(self, config: TrainConfig, history: History, shown: bool) -> None:
        self.config, self.history, self.shown = config, history, shown

    def bar(self, epoch: int, step: int, steps: int) -> "tqdm.tqdm":
        """Return the epoch's bar; it draws on a terminal only and leaves nothing behind."""
        from tqdm import tqdm

        return tqdm(
            total=steps,
            initial=step,
            desc=f"epoch {epoch + 1}/{self.config.epochs}",
            leave=False,
            disable=None if self.shown else True,  # None: a bar on a terminal only
        )

    def tell(self, line: str) -> None:
        """Print a line, above the bar where there is one."""
        from tqdm import tqdm

        if self.shown:
            tqdm.write(line)

    def tell_epoch(self) -> None:
        """Print the last epoch's numbers, unless there are too many epochs for that."""
        history, epochs, done = self.history, self.config.epochs, len(self.history.steps)
        last = done == epochs or history.stopped_early
        if not (last or done == 1 or done % math.ceil(epochs / LINES) == 0):
            return
        line = f"epoch {done:{len(str(epochs))}}/{epochs}  train loss {history.train_loss[-1]:.4f}"
        if history.validation:
            line += "  validation"
        for name, values in history.validation.items():
            line += f"  {name} {values[-1]:.4f}"
        self.tell(f"{line}  ({history.seconds[-1]:.1f} s)")
        if history.stopped_early:
            self.tell(
                f"stopped: {self.config.patience} epochs without a better {self.config.metric}"
            )
        if last and history.best_epoch is not None:
            self.tell(f"the model has the weights of epoch {history.best_epoch + 1}")
