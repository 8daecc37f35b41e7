"""The schedule against its formulas, and against torch's schedulers."""

import math

import pytest
import torch

from tutorial_lib.training import factor

STEPS, WARM = 40, 10


@pytest.mark.parametrize(
    ("schedule", "decay"),
    [
        ("constant", lambda step: 1.0),
        ("linear", lambda step: (STEPS - step) / (STEPS - WARM)),
        ("cosine", lambda step: 0.5 * (1 + math.cos(math.pi * (step - WARM) / (STEPS - WARM)))),
    ],
)
def test_course_with_warm_up(schedule, decay):
    """The formulas of get_{constant,linear,cosine}_schedule_with_warmup in transformers."""
    for step in range(STEPS + 1):
        expected = step / WARM if step < WARM else decay(step)
        assert factor(step / STEPS, schedule, WARM / STEPS) == pytest.approx(expected, abs=1e-12)


def torch_rates(make):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_same_as_torch_without_warm_up():
    schedulers = torch.optim.lr_scheduler
    linear = torch_rates(lambda o: schedulers.LinearLR(o, 1.0, 0.0, total_iters=STEPS))
    cosine = torch_rates(lambda o: schedulers.CosineAnnealingLR(o, STEPS))
    places = [step / STEPS for step in range(STEPS)]
    assert [factor(p, "linear") for p in places] == pytest.approx(linear, abs=1e-9)
    assert [factor(p, "cosine") for p in places] == pytest.approx(cosine, abs=1e-9)


@pytest.mark.equation("eq-slanted-triangular")
def test_the_slanted_triangle_is_that_of_the_paper():
    """Equation 3 of Howard and Ruder 2018, with their cut and ratio, step by step."""
    steps, cut_fraction, ratio = 400, 0.1, 32
    cut = math.floor(steps * cut_fraction)
    for t in range(steps + 1):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_fraction - 1))
        expected = (1 + p * (ratio - 1)) / ratio
        assert factor(t / steps, "slanted", cut_fraction) == pytest.approx(expected, abs=1e-12)
