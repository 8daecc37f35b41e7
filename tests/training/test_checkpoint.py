"""Checkpoints: what fits, what does not, and files that are broken or cannot be written."""

import errno
import json
import os
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from tutorial_lib.training import CheckpointError, TrainConfig, train
from tutorial_lib.training.checkpoint import FILE, KEY, fingerprint

CONFIG = {"epochs": 3, "precision": "no", "lr": 0.01}
DATA = [torch.randn(8, 4, generator=torch.Generator().manual_seed(i)) for i in range(4)]


class Net(nn.Module):
    """Tied weights, buffers and dropout: what checkpoints easily get wrong."""

    def __init__(self, width=4):
        super().__init__()
        self.first, self.last = nn.Linear(4, width), nn.Linear(4, width)
        self.norm, self.drop = nn.BatchNorm1d(width), nn.Dropout(0.3)
        self.last.weight = self.first.weight

    def forward(self, x):
        return self.last(self.drop(self.norm(self.first(x).relu())[:, :4]))


def net(width=4):
    torch.manual_seed(0)
    return Net(width)


def reconstruct(model, x):
    return (model(x)[:, :4] - x).square().mean()


def run(folder=None, model=None, loss=reconstruct, data=DATA, optimizer=None, every=None, **config):
    model = model or net()
    history = train(
        model,
        loss,
        data,
        validate=lambda m: {"loss": float(sum(reconstruct(m, x) for x in data))},
        config=TrainConfig(**{**CONFIG, **config}),
        optimizer=optimizer,
        checkpoints=folder,
        save_every=every,
        progress=False,
    )
    return history, model


class Stop(Exception):
    pass


def stopping(at):
    """A loss that fails in call number `at`, and the list of its calls."""
    calls = []

    def loss(model, x):
        calls.append(1)
        if len(calls) == at:
            raise Stop
        return reconstruct(model, x)

    return loss, calls


def stop(folder, at, **more):
    loss, _ = stopping(at)
    with pytest.raises(Stop):
        run(folder, loss=loss, **more)


def outcome(history, model):
    """All that a run gives but its times, as JSON: there NaN equals NaN."""
    facts = {k: v for k, v in vars(history).items() if k != "seconds"}
    return json.dumps([facts, {k: v.tolist() for k, v in model.state_dict().items()}])


OPTIMIZERS = {
    "adamw": lambda model: None,
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.01),
    "momentum": lambda model: torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
    "plain adam": lambda model: torch.optim.Adam(model.parameters(), lr=0.01, amsgrad=True),
    "rmsprop": lambda model: torch.optim.RMSprop(model.parameters(), lr=0.01, centered=True),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("precision", ["no", "fp16"])
def test_a_run_stopped_in_mid_epoch_ends_with_the_same_weights(tmp_path, make, precision):
    model = net()
    expected = outcome(*run(model=model, optimizer=make(model), precision=precision))
    model = net()
    stop(tmp_path, 7, model=model, optimizer=make(model), precision=precision, every=1)
    model = Net()  # other initial weights
    loss, calls = stopping(0)
    again = run(tmp_path, model, loss, optimizer=make(model), precision=precision, every=1)
    assert outcome(*again) == expected
    assert len(calls) == 12 - 6  # six steps were saved and are not repeated
    assert os.listdir(tmp_path) == [FILE]


def test_saving_changes_nothing_and_a_finished_run_returns_at_once(tmp_path):
    expected = outcome(*run())
    first = run(tmp_path / "new" / "folder", every=2)
    assert outcome(*first) == expected
    loss, calls = stopping(1)
    again, model = run(tmp_path / "new" / "folder", Net(), loss)
    assert not calls
    assert outcome(again, model) == expected and again.seconds == first[0].seconds
    assert model.last.weight is model.first.weight


def test_an_early_stop_is_remembered(tmp_path):
    def once(model):
        loss, calls = stopping(0)
        history = train(
            model,
            loss,
            DATA,
            validate=lambda m: {"loss": 1.0},
            config=TrainConfig(**{**CONFIG, "patience": 1}),
            checkpoints=tmp_path,
            progress=False,
        )
        return history, len(calls)

    first, calls = once(net())
    assert first.stopped_early and first.best_epoch == 0 and calls == 8
    assert once(Net()) == (first, 0)


def test_time_before_the_stop_counts(tmp_path):
    def slow(model, x, calls=[]):  # noqa: B006
        calls.append(time.sleep(0.1))
        if len(calls) == 4:
            raise Stop
        return reconstruct(model, x)

    with pytest.raises(Stop):
        run(tmp_path, loss=slow, every=1)
    history, _ = run(tmp_path)
    assert history.seconds[0] >= 0.3 > history.seconds[1]


def test_a_checkpoint_is_plain_safetensors_and_json(tmp_path):
    run(tmp_path)
    with safe_open(tmp_path / FILE, "pt") as file:
        facts = json.loads(file.metadata()[KEY])
        assert file.get_tensor("best/first.weight").shape == (4, 4)
    assert facts["config"]["epochs"] == 3 and facts["position"]["epoch"] == 3


@pytest.mark.parametrize(
    ("more", "messages"),
    [
        ({"lr": 0.02, "seed": 1}, ["lr was 0.01, is 0.02", "seed was 0, is 1"]),
        ({"precision": "bf16"}, ["precision was no, is bf16"]),
        (
            {"model": nn.Sequential(nn.Linear(4, 4))},
            ["weight 0.bias was absent, is float32 [4]", "first.bias was float32 [4], is not in"],
        ),
        ({"model": Net(5)}, ["weight first.weight was float32 [4, 4], is float32 [5, 4]"]),
        (
            {"model": Net().double(), "data": [x.double() for x in DATA]},
            ["weight first.bias was float32 [4], is float64 [4]", "more weights"],
        ),
        ({"data": DATA[:3]}, ["batches was 4, is 3"]),
        ({"data": [DATA[0] + 1, *DATA[1:]]}, ["first batch's hash was"]),
    ],
)
def test_what_does_not_fit_is_listed_and_nothing_is_lost(tmp_path, more, messages):
    stop(tmp_path, 7, every=1)
    kept = (tmp_path / FILE).read_bytes()
    with pytest.raises(CheckpointError) as caught:
        run(tmp_path, **more)
    for message in messages:
        assert message in str(caught.value)
    assert (tmp_path / FILE).read_bytes() == kept


def test_another_optimizer_does_not_fit(tmp_path):
    stop(tmp_path, 7)
    model = net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="optimizer was AdamW, is SGD"):
        run(tmp_path, model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    groups = [{"params": [*model.first.parameters()]}, {"params": [*model.norm.parameters()]}]
    with pytest.raises(CheckpointError, match="groups was"):
        run(tmp_path, model, optimizer=groups)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file_is_named(tmp_path, keep):
    stop(tmp_path, 7)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="checkpoint.safetensors is damaged or cut short"):
        run(tmp_path)


def test_a_foreign_file_is_named(tmp_path):
    save_file(net().first.state_dict(), tmp_path / FILE)
    with pytest.raises(CheckpointError, match="was not written by this training loop"):
        run(tmp_path)


@pytest.mark.parametrize("data", [DATA * 5, DATA[::-1], [x[:, None] for x in DATA]])
@pytest.mark.parametrize("at", [5, 0], ids=["at an epoch's end", "finished"])
def test_other_data_do_not_go_on_or_pass_for_finished(tmp_path, data, at):
    if at:
        stop(tmp_path, at)
    else:
        run(tmp_path)
    model, (loss, calls) = net(), stopping(0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="batch.* was"):
        run(tmp_path, model, loss, data=data)
    assert not calls and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_later_epoch_of_another_length_is_named(tmp_path):
    class Growing(list):
        more = 0

        def set_epoch(self, epoch):
            self[4:] = DATA[: self.more * epoch]

    data = Growing(DATA)
    stop(tmp_path, 7, data=data, every=1)
    data.more = 2
    with pytest.raises(CheckpointError, match="epoch 2 had 4 steps .* now has 6"):
        run(tmp_path, data=data)


def test_a_group_longer_than_the_epoch_can_be_taken_up(tmp_path):
    """A loader that moves on at its end, and whose epochs differ in length."""

    class Epochs(list):
        epoch = 0

        def __iter__(self):
            yield from DATA[: len(self)]
            self.epoch += 1

        def __len__(self):
            return 4 - self.epoch % 2

        def set_epoch(self, epoch):
            self.epoch = epoch

    expected = outcome(*run(data=Epochs(), accumulate=9))
    stop(tmp_path, 6, data=Epochs(), accumulate=9, every=1)
    assert outcome(*run(tmp_path, Net(), data=Epochs(), accumulate=9, every=1)) == expected


@pytest.mark.parametrize("kind", ["column", "sparse", "one number"])
def test_batches_of_every_layout_are_told_apart(kind):
    def made(x):
        x = torch.tensor(x)
        return {"column": x[:, 1], "sparse": x.to_sparse(), "one number": x[1:, 1]}[kind]

    first, same, other = (
        fingerprint(1, made([[0.0, 1.0], [0.0, last]]), True) for last in (2.0, 2.0, 3.0)
    )
    assert first == same != other


def test_validation_belongs_to_the_run(tmp_path):
    run(tmp_path)
    config = TrainConfig(**CONFIG)
    with pytest.raises(CheckpointError, match="validated was True, is False"):
        train(net(), reconstruct, DATA, config=config, checkpoints=tmp_path, progress=False)


def test_a_folder_that_cannot_be_written_shows_before_the_first_step(tmp_path):
    (tmp_path / "taken").write_text("a file")
    loss, calls = stopping(0)
    with pytest.raises(OSError, match="cannot write checkpoints to this folder: ") as caught:
        run(tmp_path / "taken", loss=loss)
    assert caught.value.filename == str(tmp_path / "taken") and not calls


def test_a_failed_first_write_claims_no_earlier_checkpoint(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="and there is no earlier one: No space left"):
        run(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_file_is_on_the_disk_before_it_takes_the_old_ones_name(tmp_path, monkeypatch):
    synced, moved = [], []
    fsync, replace = os.fsync, os.replace

    def syncing(handle):
        synced.append(os.fstat(handle).st_ino)
        fsync(handle)

    def replacing(source, target):
        moved.append(os.stat(source).st_ino in synced[-1:])
        replace(source, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(os, "replace", replacing)
    run(tmp_path)
    assert moved == [True] * 3
    assert synced[1::2] == [tmp_path.stat().st_ino] * 3  # and then its new name is too


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    """/dev/full is a real device on which every write fails for want of space."""
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    expected = outcome(*run())

    def loss(model, x, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) == 7:
            os.symlink("/dev/full", tmp_path / f"{FILE}.part")
        return reconstruct(model, x)

    with pytest.raises(OSError, match="an earlier one is kept: No space left") as caught:
        run(tmp_path, loss=loss, every=1)
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == [FILE]
    loss, calls = stopping(0)
    assert outcome(*run(tmp_path, Net(), loss)) == expected
    assert len(calls) == 12 - 6
