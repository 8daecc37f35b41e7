"""A run killed at any moment ends with the weights of one that was never stopped.

Run as a script, this file is a nursery: it imports everything once and forks a fresh child
for every attempt, so that many kills cost little.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

KILLS = 24


def attempt(folder, die_in_write=0):
    """Train to the end, going on from the folder's checkpoint; write the outcome last.

    With `die_in_write` n, the process kills itself in its n-th write: half the file written.
    """
    import torch
    from torch import nn

    from tutorial_lib.data.batches import batches
    from tutorial_lib.training import TrainConfig, checkpoint, predict, train

    torch.set_num_threads(1)
    numbers = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 20, (300,), generator=numbers).tolist()
    texts = [torch.randint(1, 50, (n,), generator=numbers) for n in lengths]
    labels = torch.tensor([int(text[0] % 2) for text in texts])

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.drop, self.out = (
                nn.Embedding(50, 16),
                nn.Dropout(0.2),
                nn.Linear(16, 2),
            )

        def forward(self, batch):
            hidden = self.embed(batch["ids"]) * batch["mask"][..., None]
            return self.out(self.drop(hidden.sum(1)))

    def loss(model, batch):
        return nn.functional.cross_entropy(model(batch), batch["labels"])

    fixed = batches(texts, labels, shuffle=False)

    def validate(model):
        logits = predict(model, lambda m, batch: m(batch), fixed)
        return {"loss": nn.functional.cross_entropy(logits, labels)}

    if die_in_write:
        fsync, writes = os.fsync, []

        def deadly(handle):
            writes.append(1)
            if len(writes) == die_in_write:
                if os.fstat(handle).st_mode & 0o100000:  # a file, not the folder
                    os.ftruncate(handle, os.fstat(handle).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(handle)

        checkpoint.os.fsync = deadly
    torch.manual_seed(0)
    model = Bag()
    history = train(
        model,
        loss,
        batches(texts, labels, token_budget=256, seed=5),
        validate=validate,
        config=TrainConfig(epochs=6, lr=0.02, schedule="cosine", warmup=0.1, average=0.9),
        checkpoints=folder,
        save_every=2,
        progress=False,
    )
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    facts = {k: v for k, v in vars(history).items() if k != "seconds"}
    Path(folder, "outcome.json").write_text(json.dumps([digest.hexdigest(), facts]))


def nursery(folder):
    """Let one child live; kill many others, at random moments or in mid-write; print both."""
    import accelerate
    import torch
    import tqdm  # noqa: F401

    import tutorial_lib.data.batches
    import tutorial_lib.training  # noqa: F401

    accelerate.PartialState()
    # The first optimizer imports a large part of torch; every child inherits that too.
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)]).zero_grad()

    def child(path, die_in_write=0, kill_after=None):
        pid = os.fork()
        if not pid:
            attempt(path, die_in_write)
            os._exit(0)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            return True
        assert status == 0, f"the child failed with status {status}"
        return False

    whole, killed = Path(folder, "whole"), Path(folder, "killed")
    start = time.perf_counter()
    child(whole)
    full = time.perf_counter() - start
    chance, kills, rounds, in_write = random.Random(0), 0, 1, 0
    while kills < KILLS:
        if (killed / "outcome.json").exists():  # done before all kills: start over
            assert (killed / "outcome.json").read_text() == (whole / "outcome.json").read_text()
            rounds += 1
            killed = Path(folder, f"killed{rounds}")
        if kills % 2:
            died = child(killed, die_in_write=chance.randint(1, 8))
            in_write += died
        else:
            died = child(killed, kill_after=chance.uniform(0.0, 0.6 * full))
        kills += died
    child(killed)
    counts = {"kills": kills, "in_write": in_write, "rounds": rounds}
    outcomes = [json.loads((path / "outcome.json").read_text()) for path in (whole, killed)]
    print(json.dumps([*outcomes, counts]))


def test_killed_runs_end_with_the_same_weights_and_history(tmp_path):
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    whole, killed, counts = json.loads(done.stdout)
    assert killed == whole
    assert len(whole[1]["train_loss"]) == 6
    assert counts["kills"] == KILLS and counts["in_write"] >= KILLS // 3


if __name__ == "__main__":
    nursery(sys.argv[1])
