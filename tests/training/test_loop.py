"""The loop against optima known in closed form, scripted metrics and planted faults."""

import contextlib
import copy
import os
import random
import re
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tutorial_lib.training import (
    TrainConfig,
    TrainingDiverged,
    factor,
    interrupts,
    loop,
    randomness,
    train,
)  # fmt: skip
from tutorial_lib.training.checkpoint import FILE

PLAIN = {"precision": "no", "clip": None, "weight_decay": 0.0}


def squared(model, batch):
    x, y = batch
    return (model(x).squeeze(-1) - y).square().mean()


def regression(rows=64, features=3, seed=0):
    numbers = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, features, generator=numbers)
    return x, x @ torch.arange(1.0, features + 1) + torch.randn(rows, generator=numbers)


def linear(features=3, seed=0):
    torch.manual_seed(seed)
    return nn.Linear(features, 1)


def sgd(model, lr=0.1):
    return torch.optim.SGD(model.parameters(), lr=lr)


def cut(tensors, size):
    return list(zip(*(tensor.split(size) for tensor in tensors), strict=True))


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def run(model, batches, loss=squared, optimizer=None, validate=None, folder=None, **config):
    return train(
        model,
        loss,
        batches,
        validate=validate,
        config=TrainConfig(**{**PLAIN, **config}),
        optimizer=optimizer,
        checkpoints=folder,
        progress=False,
    )


# -- what it computes ---------------------------------------------------------------------


def test_linear_regression_reaches_the_least_squares_solution():
    x, y = regression()
    model = linear()
    run(model, [(x, y)], optimizer=sgd(model), epochs=300)
    with_one = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    expected = torch.linalg.lstsq(with_one, y).solution
    found = torch.cat([model.weight[0], model.bias]).detach()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_softmax_regression_on_a_constant_learns_the_log_frequencies():
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    model = nn.Linear(1, 3, bias=False)
    nn.init.zeros_(model.weight)

    def loss(model, y):
        return nn.functional.cross_entropy(model(torch.ones(len(y), 1)), y)

    history = run(model, [labels], loss, epochs=400, lr=0.05)
    probabilities = model.weight[:, 0].softmax(0).detach()
    torch.testing.assert_close(probabilities, torch.tensor([0.5, 0.3, 0.2]), atol=1e-3, rtol=0)
    entropy = -sum(p * np.log(p) for p in (0.5, 0.3, 0.2))
    assert history.loss[-1] == pytest.approx(entropy, abs=1e-4)


def test_default_optimizer_is_adamw_with_the_configured_decay():
    x, y = regression()
    ours, theirs = linear(), linear()
    run(ours, [(x, y)], epochs=5, lr=0.01, weight_decay=0.1)
    adamw = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1, fused=False)
    for _ in range(5):
        adamw.zero_grad()
        squared(theirs, (x, y)).backward()
        adamw.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_history_is_complete_and_right():
    x, y = regression(10)
    model = linear()
    seen = []

    def loss(model, batch):
        value = squared(model, batch)
        seen.append(value.item())
        return value

    data = cut((x, y), 4)  # 4, 4 and 2 rows
    config = {"schedule": "cosine", "warmup": 1 / 3}
    validate = iter([{"loss": 3.0, "f1": 0.1}, {"loss": 2.0, "f1": 0.2}])
    history = run(model, data, loss, sgd(model), lambda m: next(validate), epochs=2, **config)
    assert history.loss == pytest.approx(seen)
    assert history.rows == [4, 4, 2] * 2 and history.steps == [3, 3]
    expected = [0.1 * factor(step / 6, **config) for step in range(6)]
    assert history.lr == pytest.approx(expected) and history.lr[0] == 0
    first, second = seen[:3], seen[3:]
    means = [np.dot([4, 4, 2], part) / 10 for part in (first, second)]
    assert history.train_loss == pytest.approx(means)
    assert history.validation == {"loss": [3.0, 2.0], "f1": [0.1, 0.2]}
    assert len(history.seconds) == 2 and min(history.seconds) > 0
    assert history.best_epoch == 1 and not history.stopped_early


@pytest.mark.parametrize("clip", [None, 0.5, 1e6])
def test_clipping_bounds_the_step_and_keeps_its_direction(clip):
    x, y = regression()
    model = linear()
    model.zero_grad()
    squared(model, (x, y)).backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    norm = gradient.norm().item()
    before = nn.utils.parameters_to_vector(model.parameters()).detach()
    history = run(model, [(x, y)], optimizer=sgd(model, 1.0), epochs=1, clip=clip)
    moved = before - nn.utils.parameters_to_vector(model.parameters()).detach()
    assert history.grad_norm == pytest.approx([norm])
    length = norm if clip is None else min(clip, norm)
    torch.testing.assert_close(moved, gradient * (length / norm), atol=1e-5, rtol=1e-4)


def test_accumulated_batches_of_unequal_size_are_one_batch():
    x, y = regression(10)
    whole, parts = linear(), linear()
    one = run(whole, [(x, y)], optimizer=sgd(whole), epochs=4)
    some = run(parts, cut((x, y), 4), optimizer=sgd(parts), epochs=4, accumulate=3)
    assert some.loss == pytest.approx(one.loss, rel=1e-5) and some.rows == [10] * 4
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    left_over = run(linear(), cut((x, y), 4), epochs=1, accumulate=2)
    assert left_over.rows == [8, 2]


def test_the_schedule_goes_over_updates_not_batches():
    """Three batches, two by two, are two updates an epoch: four quarters of the way in all."""
    data = cut(regression(12), 4)
    history = run(linear(), data, epochs=2, accumulate=2, schedule="linear", lr=0.1)
    assert history.lr == pytest.approx([0.1, 0.075, 0.05, 0.025])


def test_groups_keep_their_own_rates():
    model = nn.ModuleList([nn.Linear(3, 1, bias=False), nn.Linear(3, 1, bias=False)])
    groups = [{"params": model[0].parameters(), "lr": 0.0}, {"params": model[1].parameters()}]
    before = weights(model)
    run(
        model,
        [regression()],
        lambda m, b: squared(m[0], b) + squared(m[1], b),
        groups,
        epochs=2,
    )
    assert torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[1].weight, before["1.weight"])


def test_groups_are_not_changed_and_take_each_runs_rate():
    model = nn.ModuleList([nn.Linear(3, 1), nn.Linear(3, 1)])
    groups = [{"params": [*model[0].parameters()]}, {"params": model[1].bias, "lr": 0.5}]
    before = [dict(group) for group in groups]
    for lr in (0.1, 0.001):
        history = run(
            model,
            [regression()],
            lambda m, b: squared(m[0], b) + squared(m[1], b),
            groups,
            epochs=2,
            lr=lr,
        )
        assert history.lr == [lr, lr]
    assert groups == before


def test_the_schedule_scales_the_rate_of_every_group():
    model, seen = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)), []
    groups = [{"params": model[0].parameters()}, {"params": model[1].parameters(), "lr": 0.01}]
    optimizer = torch.optim.SGD(groups, lr=0.1)

    def loss(model, batch):
        seen.append([group["lr"] for group in optimizer.param_groups])
        return squared(model, batch)

    run(model, [regression()], loss, optimizer, epochs=2, schedule="linear")
    np.testing.assert_allclose(seen, [[0.1, 0.01], [0.05, 0.005]])


def test_an_optimizer_gets_its_rate_back_and_a_new_one_counts():
    model = linear()
    optimizer = sgd(model, 0.1)
    assert run(model, [regression()], optimizer=optimizer, epochs=2, schedule="linear").lr[1] < 0.1
    assert optimizer.param_groups[0]["lr"] == 0.1
    optimizer.param_groups[0]["lr"] = 0.01
    assert run(model, [regression()], optimizer=optimizer, epochs=1).lr == [0.01]


def test_complex_weights_can_be_trained():
    """No fused kernel has them. |w - z|² has its least value where w is z."""
    model = nn.Module()
    model.weight = nn.Parameter(torch.zeros(1, dtype=torch.complex64))
    z = torch.tensor([[0.5 - 0.25j]])
    run(model, [z], lambda m, b: (m.weight - b[0]).abs().square().sum(), epochs=300, lr=0.02)
    torch.testing.assert_close(model.weight.detach(), z[0], atol=1e-2, rtol=0)


def test_frozen_weights_stay():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    before = weights(model)
    run(model, [regression()], epochs=2)
    assert torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[1].weight, before["1.weight"])


# -- validation, best weights, early stopping --------------------------------------------


def scripted(values, name="loss"):
    """A validation that follows a script and keeps the weights that it saw."""
    seen = []

    def validate(model):
        seen.append(weights(model))
        return {name: values[len(seen) - 1]}

    return validate, seen


@pytest.mark.parametrize(
    ("monitor", "values", "best", "epochs"),
    [
        ("min loss", [5, 4, 3, 3, 4, 9], 2, 5),  # equal is not better
        ("max loss", [1, 7, 2, 3, 4, 9], 1, 4),
        ("min loss", [5, 4, 3, 2, 1, 0], 5, 6),
        ("min loss", [float("nan"), 4, float("nan"), 3, 5, 2], 5, 6),
        ("min loss", [float("nan")] * 6, None, 2),
    ],
)
def test_early_stopping_and_best_weights(monitor, values, best, epochs):
    model = linear()
    validate, seen = scripted([float(v) for v in values])
    history = run(model, [regression()], validate=validate, epochs=6, patience=2, monitor=monitor)
    assert len(history.steps) == len(seen) == epochs
    assert history.best_epoch == best
    assert history.stopped_early == (epochs < 6)
    assert same(weights(model), seen[epochs - 1 if best is None else best])
    assert not same(seen[0], seen[1])


def test_modes_and_gradients():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 1))
    model.train()
    model[1].eval()  # an odd state, to be found again
    during = {"loss": [], "validate": []}

    def loss(model, batch):
        during["loss"].append((model[1].training, torch.is_grad_enabled()))
        return squared(model, batch)

    def validate(model):
        during["validate"].append((model[1].training, torch.is_grad_enabled()))
        return {"loss": 0.0}

    run(model, [regression()], loss, validate=validate, epochs=2)
    assert during == {"loss": [(True, True)] * 2, "validate": [(False, False)] * 2}
    assert [module.training for module in model] == [True, False, True]


# -- random numbers -----------------------------------------------------------------------


def dropout_run(seed=0, validate=None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.5), nn.Linear(16, 1))
    data = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*regression()), batch_size=8, shuffle=True
    )
    history = run(model, data, validate=validate, epochs=3, seed=seed)
    return history.loss, weights(model)


def test_same_seed_same_weights_whatever_validation_draws():
    losses, first = dropout_run()
    np.random.rand(3), torch.rand(3)
    again, second = dropout_run()
    assert losses == again and same(first, second)

    def validate(model):
        return {"loss": -len(torch.rand(7)) - np.random.rand()}

    with_validation, _ = dropout_run(validate=validate)
    assert with_validation == losses
    other, _ = dropout_run(seed=1)
    assert other != losses


@pytest.mark.parametrize("fails", [False, True])
def test_random_numbers_go_on_as_if_there_had_been_no_training(fails, tmp_path):
    def states():  # not Python's: the checks of annotations in tests draw from it
        return str(np.random.get_state()), torch.get_rng_state().tolist()

    def loss(model, batch):
        torch.rand(1), np.random.rand()
        return squared(model, batch) * (torch.nan if fails else 1.0)

    models = []
    for folder in (tmp_path, tmp_path):  # the second goes on from the first
        models.append(nn.Linear(3, 1))
        model = copy.deepcopy(models[-1])
        before = states()
        with pytest.raises(TrainingDiverged) if fails else contextlib.nullcontext():
            run(model, [regression()], loss, folder=folder, epochs=1)
        assert states() == before
    assert not torch.equal(models[0].weight, models[1].weight)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_devices_random_numbers_are_kept_too():
    before = torch.cuda.get_rng_state()
    with randomness.kept(torch.device("cuda")):
        randomness.seed(torch.device("cuda"), 0, 1)
        torch.rand(3, device="cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_pythons_random_numbers_are_kept_too():
    before = random.getstate()
    with randomness.kept(torch.device("cpu")):
        randomness.seed(torch.device("cpu"), 0, 1)
        assert random.getstate() != before
    assert random.getstate() == before


def test_every_epoch_shuffles_and_drops_anew():
    model = linear()
    seen = []

    def loss(model, batch):
        seen.append((batch[1].tolist(), torch.rand(1).item()))
        return squared(model, batch)

    data = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*regression(16)), batch_size=16, shuffle=True
    )
    run(model, data, loss, epochs=3)
    assert len({tuple(order) for order, _ in seen}) == 3
    assert len({draw for _, draw in seen}) == 3


def test_every_step_draws_its_own_numbers_and_another_run_the_same():
    def draws():
        seen = []

        def loss(model, batch):
            seen.append((np.random.rand(), torch.rand(1).item()))
            return squared(model, batch)

        run(linear(), cut(regression(12), 4), loss, epochs=3)
        return seen

    first = draws()
    np.random.rand(), torch.rand(1)
    assert draws() == first
    assert len({draw for pair in first for draw in pair}) == 2 * 9  # three steps an epoch


def test_set_epoch_is_called():
    class Data(list):
        epochs = []

        def set_epoch(self, epoch):
            self.epochs.append(epoch)

    data = Data([regression()])
    run(linear(), data, epochs=3)
    assert data.epochs == [0, 1, 2]


# -- precision ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_half_precision_computes_in_it_and_keeps_float32_weights(precision, dtype):
    x, y = regression()
    model, computed = linear(), set()

    def loss(model, batch):
        output = model(batch[0])
        computed.add(output.dtype)
        return (output.float().squeeze(-1) - batch[1]).square().mean()

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    run(model, [(x, y)], loss, optimizer, epochs=200, precision=precision)
    assert computed == {dtype}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    expected = torch.linalg.lstsq(torch.cat([x, torch.ones(64, 1)], 1), y).solution[:3]
    torch.testing.assert_close(model.weight[0].detach(), expected, atol=0.02, rtol=0.02)


class Blow(torch.autograd.Function):
    """The identity, whose gradient overflows float16 at the first loss scale only."""

    @staticmethod
    def forward(ctx, x, limit):
        ctx.limit = limit
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.where(gradient.abs() > ctx.limit, torch.inf, gradient), None


def test_a_step_that_loss_scaling_skips_is_no_divergence():
    model = nn.Linear(1, 1, bias=False)
    seen = []

    def loss(model, batch):
        seen.append(model.weight.item())
        return Blow.apply(model.weight.sum(), 40_000.0)  # the scale starts at 65,536

    history = run(model, [torch.ones(1, 1)], loss, sgd(model), epochs=3, precision="fp16")
    assert history.grad_norm == [np.inf, 1.0, 1.0]
    assert seen[1] == seen[0] and seen[2] == pytest.approx(seen[1] - 0.1)


def test_overflow_at_every_loss_scale_is_divergence():
    model = nn.Linear(1, 1, bias=False)
    with pytest.raises(TrainingDiverged, match="gradient of weight is not finite"):
        run(
            model,
            [torch.ones(1, 1)],
            lambda m, b: Blow.apply(m.weight.sum(), 0.0),
            epochs=100,
            precision="fp16",
        )


# -- divergence -----------------------------------------------------------------------------


def diverge(model, data, loss=squared, **more):
    with pytest.raises(TrainingDiverged) as caught:
        run(model, data, loss, **more)
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    return caught.value


def test_nan_in_a_batch_is_named():
    x, y = regression(12)
    x[9] = torch.nan
    model = linear()
    data = [{"x": a, "y": b} for a, b in cut((x, y), 4)]
    error = diverge(model, data, lambda m, b: squared(m, (b["x"], b["y"])), lr=0.01)
    assert (error.epoch, error.step, error.lr) == (1, 3, 0.01)
    assert str(error) == (
        "training diverged in epoch 1, step 3, learning rate 0.01: "
        "the batch's x holds NaN or infinity"
    )


def test_nan_in_a_sparse_batch_is_named():
    x = torch.tensor([[0.0, torch.nan], [1.0, 0.0]]).to_sparse()
    error = diverge(nn.Linear(2, 1), [x], lambda m, b: torch.sparse.mm(b, m.weight.T).mean())
    assert error.cause == "the batch's input holds NaN or infinity"


def test_too_high_a_rate_is_a_loss_that_overflows():
    x, y = regression()
    model = linear()
    error = diverge(model, [(x, y)], optimizer=sgd(model, 1e6), epochs=100)
    assert "the loss is inf" in error.cause or "norm is beyond" in error.cause
    assert error.lr == 1e6


def test_an_infinite_gradient_is_named():
    model = nn.ModuleDict({"fine": nn.Linear(1, 1), "root": nn.Linear(1, 1, bias=False)})
    nn.init.zeros_(model["root"].weight)
    before = weights(model)

    def loss(model, x):
        return model["fine"](x).mean() + model["root"](x).abs().sqrt().sum()

    error = diverge(model, [torch.ones(2, 1)], loss)
    assert re.search("gradient of root.weight is not finite", error.cause)
    assert same(weights(model), before)


def test_weights_that_were_not_finite_are_named():
    model = linear()
    nn.init.constant_(model.bias, torch.nan)
    with pytest.raises(TrainingDiverged, match="the weight bias was not finite before"):
        run(model, [regression()])


def test_divergence_leaves_the_best_weights_and_the_last_checkpoint(tmp_path):
    model = linear()
    validate, seen = scripted([2.0, 1.0, 3.0])

    def loss(model, batch):
        return squared(model, batch) * (torch.nan if len(seen) == 3 else 1.0)

    diverge(model, [regression()], loss, validate=validate, epochs=9, folder=tmp_path)
    assert same(weights(model), seen[1]) and not same(seen[1], seen[2])
    assert (tmp_path / FILE).exists()


# -- interruption ---------------------------------------------------------------------------


def interrupting(at, times=1, after=lambda: None):
    """A loss during whose call number `at` Ctrl-C is pressed."""
    calls = []

    def loss(model, batch):
        calls.append(1)
        if len(calls) == at:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
            after()
        return squared(model, batch)

    return loss, calls


def test_ctrl_c_finishes_the_step_saves_and_can_be_taken_up(tmp_path):
    data = cut(regression(), 8)
    whole = linear()
    expected = run(whole, data, epochs=3)
    model = linear()
    loss, calls = interrupting(at=11)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(model, data, loss, epochs=3, folder=tmp_path)
    assert len(calls) == 11 and model.training
    assert signal.getsignal(signal.SIGINT) is handler
    model(torch.ones(1, 3))
    model = linear(seed=5)
    loss, calls = interrupting(at=0)
    history = run(model, data, loss, epochs=3, folder=tmp_path)
    assert len(calls) == 24 - 11  # no batch goes through the model twice
    assert history.loss == expected.loss and same(weights(model), weights(whole))


def test_ctrl_c_during_validation_stops_at_once_and_loses_nothing(tmp_path):
    data = cut(regression(), 8)
    model, reached = linear(), []

    def validate(model):
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("after")
        return {"loss": 0.0}

    with pytest.raises(KeyboardInterrupt):
        run(model, data, validate=validate, epochs=2, folder=tmp_path)
    assert not reached
    loss, calls = interrupting(at=0)
    run(model, data, loss, validate=lambda m: {"loss": 0.0}, epochs=2, folder=tmp_path)
    assert len(calls) == 8  # the second epoch only


def test_ctrl_c_during_validation_saves_the_weights_and_not_their_average(tmp_path):
    def losses(folder, validate=lambda m: {"loss": 0.0}):
        config = {"epochs": 3, "average": 0.9, "validate": validate, "folder": folder}
        return run(linear(), cut(regression(), 8), **config).loss

    expected = losses(None)
    with pytest.raises(KeyboardInterrupt):
        losses(tmp_path, lambda m: os.kill(os.getpid(), signal.SIGINT))
    assert losses(tmp_path) == expected


def test_ctrl_c_while_the_weights_are_put_back_waits_for_the_last(tmp_path, monkeypatch):
    put, calls = loop._Run._put, []

    def slowly(self, weights):
        calls.append(1)
        for place, (name, weight) in enumerate(weights.items()):
            put(self, {name: weight})
            if len(calls) == 2 and not place:  # the average is in; of the weights, one is back
                os.kill(os.getpid(), signal.SIGINT)

    def losses(folder):
        config = {"epochs": 3, "average": 0.9, "validate": lambda m: {"loss": 0.0}}
        return run(linear(), cut(regression(), 8), **config, folder=folder).loss

    expected = losses(None)
    monkeypatch.setattr(loop._Run, "_put", slowly)
    with pytest.raises(KeyboardInterrupt):
        losses(tmp_path)
    monkeypatch.setattr(loop._Run, "_put", put)
    assert losses(tmp_path) == expected


def test_the_weights_that_were_best_before_a_stop_are_left(tmp_path):
    model, (validate, seen) = linear(), scripted([1.0, 2.0, 3.0])
    loss, _ = interrupting(at=2)
    with pytest.raises(KeyboardInterrupt):
        run(linear(), [regression()], loss, validate=validate, epochs=3, folder=tmp_path)
    run(model, [regression()], validate=validate, epochs=3, folder=tmp_path)
    assert same(weights(model), seen[0]) and not same(seen[0], seen[2])


def test_an_optimizer_gets_its_rate_back_after_ctrl_c_too():
    model, (loss, _) = linear(), interrupting(at=3)
    optimizer = sgd(model, 0.1)
    with pytest.raises(KeyboardInterrupt):
        run(model, [regression()], loss, optimizer, epochs=4, schedule="linear")
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_second_ctrl_c_breaks_a_hanging_step_and_leaves_the_old_checkpoint(tmp_path):
    data = [regression()]
    loss, _ = interrupting(at=3, times=2, after=lambda: pytest.fail("still running"))
    with pytest.raises(KeyboardInterrupt):
        run(linear(), data, loss, epochs=5, folder=tmp_path)
    loss, calls = interrupting(at=0)
    run(linear(), data, loss, epochs=5, folder=tmp_path)
    assert len(calls) == 3


class Breakable(torch.optim.SGD):
    """In step number `at`, Ctrl-C comes twice when half of the weights are updated."""

    def __init__(self, model, at):
        super().__init__(model.parameters(), lr=0.1)
        self.left = at

    def step(self, closure=None):
        self.left -= 1
        if not self.left:
            with torch.no_grad():
                self.param_groups[0]["params"][0].add_(1.0)
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        super().step(closure)


def test_half_an_update_is_never_saved(tmp_path):
    whole = linear()
    run(whole, [regression()], optimizer=Breakable(whole, at=0), epochs=5)
    model = linear()
    with pytest.raises(KeyboardInterrupt):
        run(model, [regression()], optimizer=Breakable(model, at=3), epochs=5, folder=tmp_path)
    model = linear(seed=5)
    run(model, [regression()], optimizer=Breakable(model, at=0), epochs=5, folder=tmp_path)
    assert same(weights(model), weights(whole))


def test_training_works_outside_the_main_thread():
    model, found = linear(), []
    thread = threading.Thread(target=lambda: found.append(run(model, [regression()], epochs=2)))
    thread.start()
    thread.join()
    assert found[0].steps == [1, 1]


def test_a_job_that_ignores_ctrl_c_goes_on():
    def interrupt(model, batch):
        os.kill(os.getpid(), signal.SIGINT)
        return squared(model, batch)

    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run(linear(), [regression()], interrupt, epochs=2).steps == [1, 1]
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, handler)


def test_a_handler_that_is_not_pythons_is_left_alone(monkeypatch):
    host = SimpleNamespace(SIGINT=signal.SIGINT, getsignal=lambda number: None)  # sets no handler
    monkeypatch.setattr(interrupts, "signal", host)
    assert run(linear(), [regression()], epochs=2).steps == [1, 1]


# -- what the user sees ---------------------------------------------------------------------


def test_a_log_gets_about_ten_lines_and_no_bar(capsys):
    validate, _ = scripted([float(-i) for i in range(200)])
    model = linear()
    train(model, squared, [regression()], validate=validate, config=TrainConfig(epochs=200))
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert printed.err == "" and "\r" not in printed.out
    assert 10 <= len(lines) <= 13
    assert re.fullmatch(
        r"epoch  20/200  train loss \d+\.\d{4}  validation  loss -19\.0000  \(\d\.\d s\)", lines[1]
    )
    assert lines[-1] == "the model has the weights of epoch 200"


def test_silence(capsys):
    run(linear(), [regression()], epochs=2)
    assert capsys.readouterr() == ("", "")


# -- bad arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0), ("lr", 0.0), ("lr", float("nan")), ("weight_decay", -1.0),
        ("schedule", "step"), ("warmup", 1.0), ("warmup", -0.1), ("clip", 0.0),
        ("accumulate", 0), ("patience", 0), ("monitor", "loss"), ("monitor", "best loss"),
        ("seed", -1), ("precision", "fp8"),
    ],
)  # fmt: skip
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        TrainConfig(**{field: value})


@pytest.mark.parametrize(
    ("data", "loss", "more", "error", "message"),
    [
        (iter([1]), squared, {}, TypeError, "must have a length"),
        ([], squared, {}, ValueError, "no batches"),
        ([regression()], squared, {"patience": 1}, ValueError, "patience needs validate"),
        (
            [regression()], squared, {"validate": lambda m: {"f1": 0.1}}, ValueError,
            "asks for 'loss', but validate gives f1",
        ),
        ([regression()], lambda m, b: m(b[0]), {}, TypeError, r"no axes; got shape \(64, 1\)"),
        ([regression()], lambda m, b: 1.0, {}, TypeError, "got float"),
        ([regression()], lambda m, b: b[0].sum(), {}, ValueError, "no parameter that can be"),
        ([regression()], squared, {"optimizer": sgd(linear())}, ValueError, "no parameter of this"),
        (
            [regression()], squared, {"optimizer": [{"params": iter(())}]}, ValueError,
            "group 0 of the optimizer holds no parameters",
        ),
        (
            [regression()], squared, {"validate": lambda m: None}, TypeError,
            "validate must return a dict of numbers; got NoneType",
        ),
        (
            [regression()], squared, {"validate": lambda m: 0.5}, TypeError,
            "validate must return a dict of numbers; got float",
        ),
        (
            [regression(), (torch.tensor(1.0), torch.ones(3))], squared, {}, ValueError,
            "rows of a batch of epoch 1, step 2: it must be a tensor, or",
        ),
        ([["text"]], squared, {}, ValueError, "rows of a batch of epoch 1, step 1: it must be"),
        (
            [regression(), regression(0)], squared, {}, ValueError,
            "a batch of epoch 1, step 2 has no rows",
        ),
    ],
)  # fmt: skip
def test_arguments_are_refused(data, loss, more, error, message):
    with pytest.raises(error, match=message):
        run(linear(), data, loss, **more)


@pytest.mark.parametrize(
    "metrics",
    [[{"loss": 1.0}, {"loss": 1.0, "f1": 0.5}], [{"loss": 1.0, "f1": 0.5}, {"loss": 1.0}]],
)
def test_metrics_must_not_come_or_go(metrics):
    """They would no longer line up with the epochs."""
    script = iter(metrics)
    with pytest.raises(ValueError, match="must give the same metrics each epoch; it gave loss"):
        run(linear(), [regression()], validate=lambda m: next(script), epochs=2)


def test_a_model_without_trainable_weights_is_refused():
    with pytest.raises(ValueError, match="the model has no parameter that can be trained"):
        run(linear().requires_grad_(False), [regression()])
