"""How fast ALBERT is fine-tuned: ours against `transformers`, on the same texts and weights.

    python -m benchmarks.speed_albert [TASK ...]     (all tasks when none is named)

`speed-albert-mr` and `speed-albert-imdb`, each with the mini-ALBERT and the lengths of those texts:

- a training step (forward, backward, AdamW) of our model and of `AlbertForSequenceClassification`,
  batch by batch in turns, in float32 and, where the hardware has it, in bfloat16;
- a whole epoch as the book does it (its loop, batches by length, bfloat16) and as most tutorials
  do (that class, float32, shuffled batches of 32 padded to their longest text), and what both
  then score.

`speed-albert-base`: the step alone, at the size of ALBERT-base with random weights, imdb's lengths.
Also printed: tokens a second, and the arithmetic as a share of what a large product of two
matrices reaches on this machine. Writes book/results/TASK.json.
"""

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import chosen, finish
from tutorial_lib import albert, data, finetuning, hub, runtime, training
from tutorial_lib.albert import AlbertClassifier
from tutorial_lib.results import Recorder
from tutorial_lib.training import TrainConfig

SEEDS = range(3)
STEPS = 30  # timed ones of each way
WARM = 3  # before them, not timed
BUDGET = {"mr": 1_200, "imdb": 4_096}  # tokens of a batch
ON_A_GPU = 16  # times as many in a timed step, to give it enough to do at once
LENGTH = {"mr": 128, "imdb": 512}
EPOCH_TEXTS = {"mr": 100_000, "imdb": 2_000}  # training texts of the compared epochs, at most
EPOCHS, LR, BATCH = 2, 5e-4, 32
DTYPES = {"float32": None, "bfloat16": torch.bfloat16}


def with_positions(model: AlbertClassifier, length: int) -> AlbertClassifier:
    """Return a model that reads so long a text: its vectors of positions come round again.

    What they are does not matter to the speed; both sides have the same.
    """
    known = model.albert.positions.weight
    config = dataclasses.replace(model.albert.config, max_position_embeddings=length)
    longer = AlbertClassifier(config, model.output.out_features)
    again = known.repeat(-(-length // len(known)), 1)[:length]
    longer.load_state_dict(model.state_dict() | {"albert.positions.weight": again})
    return longer


def theirs_of(model: AlbertClassifier) -> nn.Module:
    """Return `transformers`' classifier with the same weights."""
    import tempfile

    from transformers import AlbertForSequenceClassification

    with tempfile.TemporaryDirectory() as folder:
        hub.save(model, folder)
        return AlbertForSequenceClassification.from_pretrained(folder)


def ours_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch["ids"], batch["mask"]), batch["labels"])


def theirs_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return model(batch["ids"], attention_mask=batch["mask"].long(), labels=batch["labels"]).loss


def wait(device: torch.device) -> None:
    """Return when the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def stepper(model: nn.Module, loss: Callable, dtype: torch.dtype | None) -> Callable:
    """Return a function that takes a training step and returns its seconds."""
    device = runtime.device()
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step(batch: dict[str, Tensor]) -> float:
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        wait(device)
        begun = time.perf_counter()
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            value = loss(model, batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        wait(device)
        return time.perf_counter() - begun

    return step


def matrix_rate(dtype: torch.dtype, size: int = 4096) -> float:
    """Return the operations a second of a product of two square matrices."""
    device, best = runtime.device(), float("inf")
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    for _ in range(4):
        wait(device)
        begun = time.perf_counter()
        a @ b
        wait(device)
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best


def steps(model: AlbertClassifier, batches: list[dict[str, Tensor]]) -> dict[str, float]:
    """Time both ways' steps, in turns on the same batches: means, and the median ratio."""
    found = {}
    config = model.albert.config
    tokens = statistics.mean(batch["mask"].sum().item() for batch in batches)
    work = statistics.mean(
        3 * len(batch["ids"]) * albert.flops(config, batch["ids"].shape[1]) for batch in batches
    )  # the backward pass is two more products for each of the forward pass
    for name, dtype in DTYPES.items():
        if dtype is not None and runtime.precision() != "bf16":
            continue
        ways = {
            "ours": stepper(model, ours_loss, dtype),
            "transformers": stepper(theirs_of(model), theirs_loss, dtype),
        }
        spent: dict[str, list[float]] = {way: [] for way in ways}
        for place, batch in enumerate([*batches[:WARM], *batches]):
            for way in sorted(ways, reverse=place % 2 == 1):
                seconds = ways[way](batch)
                if place >= WARM:
                    spent[way].append(seconds)
        mean = {way: statistics.fmean(times) for way, times in spent.items()}
        for way, value in mean.items():
            found[f"milliseconds a step, {name}, {way}"] = 1000 * value
        ratios = [b / a for a, b in zip(spent["ours"], spent["transformers"], strict=True)]
        found[f"step, times as fast, {name}"] = statistics.median(ratios)
        found[f"tokens a second, {name}"] = tokens / mean["ours"]
        rate = matrix_rate(dtype or torch.float32)
        found[f"share of the matrix rate, {name}"] = work / mean["ours"] / rate
    return found


def usual_epochs(model, ids, labels, seed: int) -> tuple[float, float]:
    """Return seconds an epoch and test accuracy of the loop that most tutorials have."""
    device = runtime.device()
    torch.manual_seed(seed)
    model.to(device)

    def batches(split: str, shuffled: bool):
        rows = torch.randperm(len(ids[split])) if shuffled else torch.arange(len(ids[split]))
        for some in rows.split(BATCH):
            texts = [torch.from_numpy(ids[split][i]).long() for i in some]
            padded = nn.utils.rnn.pad_sequence(texts, batch_first=True)
            lengths = torch.tensor([len(t) for t in texts])
            mask = torch.arange(padded.shape[1]) < lengths[:, None]
            y = torch.from_numpy(labels[split][some.numpy()])
            yield {"ids": padded.to(device), "mask": mask.to(device), "labels": y.to(device)}

    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    total, done, spent = EPOCHS * -(-len(ids["train"]) // BATCH), 0, []
    for _ in range(EPOCHS):
        begun = time.perf_counter()
        model.train()
        for batch in batches("train", shuffled=True):
            loss = theirs_loss(model, batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            done += 1
            for group in optimizer.param_groups:
                group["lr"] = LR * min(done / (0.1 * total), (total - done) / (0.9 * total))
            optimizer.step()
        wait(device)
        spent.append(time.perf_counter() - begun)
    model.eval()
    with torch.no_grad():
        right = [
            model(b["ids"], attention_mask=b["mask"].long()).logits.argmax(1) == b["labels"]
            for b in batches("test", shuffled=False)
        ]
    return min(spent), torch.cat(right).float().mean().item()


def our_epochs(model, ids, labels, seed: int, budget: int) -> tuple[float, float]:
    """Return the same of the package's model, batches and loop."""
    parts = {
        split: data.batches(
            ids[split], labels[split], seed=seed, shuffle=split == "train",
            token_budget=budget if split == "train" else 8_192,
        )
        for split in ("train", "test")
    }  # fmt: skip
    config = TrainConfig(EPOCHS, LR, schedule="linear", warmup=0.1, seed=seed)
    history = training.fit_classifier(model, parts["train"], None, config, progress=False)
    predicted = training.predict_classes(model, parts["test"])
    return min(history.seconds), float((predicted == labels["test"]).mean())


def compare(name: str, base: bool = False) -> Recorder:
    """Measure steps and, for the mini-ALBERT, epochs, on texts of one set."""
    runtime.keep_freed_memory()  # for both
    splits = data.load(name)
    classes = splits["train"].features["label"].names
    _, tokenizer, _ = hub.load("mini-albert", AlbertClassifier, classes=2)
    ids, labels = {}, {}
    for split, most in (("train", EPOCH_TEXTS[name]), ("test", 2_000)):
        rows = splits[split].shuffle(seed=0).select(range(min(most, len(splits[split]))))
        ids[split] = finetuning.encode(rows["text"], tokenizer, LENGTH[name])
        labels[split] = np.array(rows["label"])
    budget = 1_024 if base else BUDGET[name]
    at_once = budget * (ON_A_GPU if runtime.device().type == "cuda" else 1)
    task = "speed-albert-base" if base else f"speed-albert-{name}"
    recorder = Recorder(
        task=task, model="ALBERT, ours against transformers",
        data=data.provenance(splits), command=f"python -m benchmarks.speed_albert {task}",
        protocol=f"{len(ids['train']):,} training texts of at most {LENGTH[name]} tokens",
        hyperparameters={
            "size": "base" if base else "mini", "steps": STEPS, "tokens of a step": at_once,
            "epochs": EPOCHS, "token_budget": budget, "lr": LR,
            "usual loop": f"batches of {BATCH}, AdamW, float32",
        },
    )  # fmt: skip

    def model() -> AlbertClassifier:
        torch.manual_seed(0)
        if base:
            return AlbertClassifier(albert.SIZES["base"], 2)
        loaded = hub.load("mini-albert", AlbertClassifier, classes=len(classes)).model
        return with_positions(loaded, LENGTH[name])

    recorder.parameters = sum(p.numel() for p in model().parameters())
    for seed in SEEDS:
        with recorder.measure(seed) as run:
            some = data.batches(ids["train"], labels["train"], token_budget=at_once, seed=seed)
            run.metrics = steps(model(), list(some)[:STEPS])
            if base:
                continue
            ways = {
                "usual recipe": lambda seed=seed: usual_epochs(
                    theirs_of(model()), ids, labels, seed
                ),
                "ours": lambda seed=seed: our_epochs(model(), ids, labels, seed, budget),
            }
            found = {way: ways[way]() for way in sorted(ways, reverse=seed % 2 == 1)}
            run.metrics |= {
                f"{what}, {way}": found[way][place]
                for place, what in enumerate(("seconds an epoch", "test accuracy"))
                for way in found
            }
            run.metrics["epoch, times as fast"] = found["usual recipe"][0] / found["ours"][0]
    return recorder


TASKS = {
    "speed-albert-mr": lambda: compare("mr"),
    "speed-albert-imdb": lambda: compare("imdb"),
    "speed-albert-base": lambda: compare("imdb", base=True),
}

if __name__ == "__main__":
    task = chosen("benchmarks.speed_albert", sys.argv[1:], TASKS)
    if task:
        finish(TASKS[task]())
