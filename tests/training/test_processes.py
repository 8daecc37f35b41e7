"""Two processes do what one does: run as a script under torchrun, this file is one of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tutorial_lib.data.batches import batches
from tutorial_lib.training import TrainConfig, TrainingDiverged, train

NUMBERS = torch.Generator().manual_seed(0)
LENGTHS = torch.randint(1, 20, (157,), generator=NUMBERS).tolist()
TEXTS = [torch.randint(1, 50, (n,), generator=NUMBERS) for n in LENGTHS]
LABELS = torch.tensor([int(text[0] % 2) for text in TEXTS])


class Bag(nn.Module):
    """With a part that is never used, whose gradient stays None."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.embed, self.out, self.unused = nn.Embedding(50, 8), nn.Linear(8, 2), nn.Linear(2, 2)

    def logits(self, batch):
        return self.out((self.embed(batch["ids"]) * batch["mask"][..., None]).sum(1))


def loss(model, batch):
    return nn.functional.cross_entropy(model.logits(batch), batch["labels"])


def curve(seed=0, folder=None):
    """Train on batches of which one has a single row, so that a process goes without."""
    model = Bag(seed)
    data = [*batches(TEXTS, LABELS, token_budget=130), first_row()]
    history = train(
        model,
        loss,
        data,
        validate=lambda m: {"loss": torch.rand(1)},
        config=TrainConfig(epochs=2, lr=0.05, accumulate=2, clip=0.5, precision="no"),
        checkpoints=folder,
        progress=False,
    )
    return vars(history) | {"weights": {k: v.tolist() for k, v in model.state_dict().items()}}


def halved():
    """The gradient's norm where the loss comes in half precision."""
    ids = torch.nn.utils.rnn.pad_sequence(TEXTS[:4], batch_first=True)
    batch = {"ids": ids, "mask": ids > 0, "labels": LABELS[:4]}
    config = TrainConfig(epochs=1, lr=0.05, precision="no")
    history = train(
        Bag(0), lambda m, b: loss(m, b).bfloat16(), [batch], config=config, progress=False
    )
    return history.grad_norm


def first_row():
    ids = TEXTS[0][None]
    return {"ids": ids, "mask": ids > 0, "labels": LABELS[:1]}


def diverging():
    """The NaN is in one process's share only; all must stop."""
    x = torch.ones(4, 1)
    x[1] = torch.nan
    try:
        train(nn.Linear(1, 1), lambda m, b: m(b).mean(), [x], progress=False)
    except TrainingDiverged as error:
        return error.cause
    return "no error"


def draws():
    """What each step draws, as dropout would."""
    drawn = []

    def loss(model, x):
        drawn.append(torch.rand(1).item())
        return model(x).mean()

    config = TrainConfig(epochs=1, precision="no")
    train(nn.Linear(1, 1), loss, [torch.ones(4, 1)] * 3, config=config, progress=False)
    return drawn


def prepared_rows():
    """The rows that this process sees of batches that accelerate has prepared."""
    from accelerate import Accelerator

    data = Accelerator().prepare(batches(TEXTS, LABELS, token_budget=130))
    return [[batch["rows"].tolist() for batch in data] for _ in range(2)]


def worker(folder):
    rank = int(os.environ["RANK"])
    found = {
        # Other initial weights in each process: the first one's must hold.
        "curve": curve(seed=rank, folder=folder),
        "again": curve(seed=rank + 5, folder=folder)["weights"],
        "halved": halved(),
        "diverging": diverging(),
        "draws": draws(),
        "rows": prepared_rows(),
    }
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--nproc_per_node", "2", __file__, str(folder)],
        capture_output=True,
        text=True,
        timeout=200,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_the_loss_curve_and_weights_are_those_of_one_process(two):
    one = curve()
    for process in two:
        for name in ("loss", "grad_norm", "lr", "rows", "train_loss"):
            assert process["curve"][name] == pytest.approx(one[name], rel=1e-4), name
        for name, values in one["weights"].items():
            found = torch.tensor(process["curve"]["weights"][name])
            torch.testing.assert_close(found, torch.tensor(values), rtol=1e-3, atol=1e-4)


def test_gradients_are_exchanged_in_their_own_precision(two):
    for process in two:
        assert process["halved"] == pytest.approx(halved(), rel=1e-5)


def test_both_processes_hold_the_same_weights_and_scores(two):
    first, second = (process["curve"] for process in two)
    assert first["weights"] == second["weights"]
    assert first["validation"] == second["validation"]


def test_both_go_on_from_one_checkpoint(two):
    assert two[0]["again"] == two[1]["again"] == two[0]["curve"]["weights"]


def test_divergence_in_one_stops_both(two):
    assert all("NaN" in process["diverging"] or "nan" in process["diverging"] for process in two)


def test_each_process_drops_out_other_units(two):
    drawn = [number for process in two for number in process["draws"]]
    assert len(set(drawn)) == 6


def test_prepared_batches_are_shared_out(two):
    plain = batches(TEXTS, LABELS, token_budget=130)
    for epoch in (0, 1):
        expected = [batch["rows"].tolist() for batch in plain]
        first, second = (process["rows"][epoch] for process in two)
        assert len(first) == len(second)
        dealt = [rows for pair in zip(first, second, strict=True) for rows in pair]
        # accelerate repeats a batch where the processes would get unequal numbers of them.
        assert dealt[: len(expected)] == expected and len(dealt) <= len(expected) + 1


if __name__ == "__main__":
    worker(sys.argv[1])
