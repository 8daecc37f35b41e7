"""The learning rate's course: warm-up, then constant, linear or cosine decay."""

import math

SCHEDULES = ("constant", "linear", "cosine", "slanted")
RATIO = 32  # of the largest rate to the smallest of the slanted triangle


def factor(progress: float, schedule: str = "constant", warmup: float = 0.0) -> float:
    r"""Return what to multiply the base learning rate by.

    With p the progress and w the warm-up's share: p / w while p < w; then 1, or
    (1 - p) / (1 - w), or (1 + cos(pi (p - w) / (1 - w))) / 2. At whole warm-up steps these are
    the schedules that BERT and its successors were trained with, and the ones of the
    transformers library. The very first step of a warm-up has the rate 0.

    `slanted` is the linear one lifted off 0, to between 1 / 32 and 1.

    Args:
        progress: share of all steps that are done, from 0 to 1.
        schedule: one of `SCHEDULES`.
        warmup: share of all steps over which the rate climbs.

    Source: Howard and Ruder 2018, equation 3 (`slanted`, there with a warm-up of 0.1).

    Equation: eq-slanted-triangular
    """
    if schedule == "slanted":
        return (1 + (RATIO - 1) * factor(progress, "linear", warmup)) / RATIO
    if progress < warmup:
        return progress / warmup
    if schedule == "constant":
        return 1.0
    left = (1 - progress) / (1 - warmup)
    return max(0.0, left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)
