"""The moving average of the weights, against the same average taken by hand."""

import pytest
import torch
from torch import nn

from tutorial_lib.training import TrainConfig, train

STEPS = 40


def fit(average, validate=None, epochs=1):
    """Train a line on noise and return the model, the weights at each step, the losses."""
    numbers = torch.Generator().manual_seed(0)
    data = list(torch.randn(STEPS // epochs, 8, 4, generator=numbers))
    torch.manual_seed(0)
    model, seen = nn.Linear(4, 1), []

    def loss(model, x):
        seen.append(model.weight.detach().clone())
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    config = TrainConfig(
        epochs=epochs, lr=0.05, average=average, precision="no", monitor="min w"
    )  # fmt: skip
    history = train(model, loss, data, validate=validate, config=config, progress=False)
    return model, seen, history


def test_the_average_is_the_one_of_its_definition():
    _, seen, _ = fit(0.0)
    last = fit(0.0)[0].weight.detach()
    after = [*seen[1:], last]  # the weights after each step
    expected = after[0]
    for step, weight in enumerate(after[1:], 2):
        decay = min(0.8, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(fit(0.8)[0].weight.detach(), expected)
    assert not torch.allclose(last, expected)


def test_the_average_is_validated_and_kept_and_training_goes_on_from_the_weights():
    validated = []

    def validate(model):
        validated.append(model.weight.detach().clone())
        return {"w": len(validated)}  # the first epoch is the best

    model, with_average, averaged = fit(0.9, validate, epochs=4)
    _, without, plain = fit(0.0, epochs=4)
    assert averaged.loss == plain.loss
    assert all(torch.equal(a, b) for a, b in zip(with_average, without, strict=True))
    assert torch.equal(model.weight, validated[0])
    assert not any(torch.equal(validated[0], weight) for weight in without)


@pytest.mark.parametrize("average", [-0.1, 1.0, float("nan")])
def test_a_decay_outside_its_range_is_refused(average):
    with pytest.raises(ValueError, match="average"):
        TrainConfig(average=average)
