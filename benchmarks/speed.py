"""What the book's batches and training loop save, against the loop that one writes first.

    python -m benchmarks.speed [TASK ...]     (all tasks when none is named)

`speed-textcnn-mr`: one epoch of TextCNN on mr, ours and a plain loop's (shuffled batches of 50,
padded to their longest text, Adam, float32), in turns in one process, and what both then score.
`padding-imdb`: the share of padding in an epoch's batches. Writes book/results/TASK.json.
"""

import dataclasses
import statistics
import sys
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import chosen, finish
from benchmarks.networks import RECIPES
from tutorial_lib import data, runtime, text, training
from tutorial_lib.cnn import TextCNN
from tutorial_lib.results import Recorder

SEEDS = range(3)
RECIPE = RECIPES["textcnn-mr"]


class PlainTextCNN(nn.Module):
    """The same layers of the same sizes as `TextCNN`, without a mask."""

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 300, padding_idx=text.PAD)
        self.convolutions = nn.ModuleList(nn.Conv1d(300, 100, w, padding=w - 1) for w in (3, 4, 5))
        self.out = nn.Linear(300, classes)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids).transpose(1, 2)  # [B E T]
        pooled = torch.cat([F.relu(conv(x)).amax(2) for conv in self.convolutions], 1)
        return self.out(F.dropout(pooled, 0.5, self.training))


def plain_epoch(model: PlainTextCNN, optimizer, ids: list[Tensor], labels: Tensor) -> None:
    """Train for one epoch as most tutorials do."""
    model.train()
    for rows in torch.randperm(len(ids)).split(50):
        padded = nn.utils.rnn.pad_sequence([ids[i] for i in rows], batch_first=True)
        loss = F.cross_entropy(model(padded), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def plain_accuracy(model: PlainTextCNN, ids: list[Tensor], labels: Tensor) -> float:
    """Return the share of texts that it gets right."""
    model.eval()
    padded = [nn.utils.rnn.pad_sequence(ids[i : i + 50], True) for i in range(0, len(ids), 50)]
    return (torch.cat([model(p).argmax(1) for p in padded]) == labels).float().mean().item()


def plain_loop(ids: dict[str, list[Tensor]], labels: dict[str, Tensor], words: int, seed: int):
    """Return seconds of each epoch (validation included) and the test accuracy of the best."""
    torch.manual_seed(seed)
    model = PlainTextCNN(words, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    best, spent = (0.0, 0.0), []
    for _ in range(RECIPE.config.epochs):
        start = time.perf_counter()
        plain_epoch(model, optimizer, ids["train"], labels["train"])
        valid = plain_accuracy(model, ids["validation"], labels["validation"])
        spent.append(time.perf_counter() - start)
        best = max(best, (valid, plain_accuracy(model, ids["test"], labels["test"])))
    return spent, best[1]


def ours(ids: dict[str, list[Tensor]], labels: dict[str, Tensor], words: int, seed: int):
    """Return the same of the package's model, batches and loop."""
    batches = {
        split: data.batches(
            ids[split], labels[split], seed=seed, shuffle=split == "train",
            token_budget=RECIPE.token_budget if split == "train" else 16_000,
        )
        for split in ids
    }  # fmt: skip
    torch.manual_seed(seed)
    model = TextCNN(words, 2, **RECIPE.options)
    config = dataclasses.replace(RECIPE.config, seed=seed)
    extra = {"smoothing": RECIPE.smoothing, "word_dropout": RECIPE.word_dropout}
    history = training.fit_classifier(
        model, batches["train"], batches["validation"], config, **extra
    )
    predicted = training.predict_classes(model, batches["test"])
    return history.seconds, float((predicted == labels["test"].numpy()).mean())


def textcnn() -> Recorder:
    """Train both, one after the other; the order changes with the seed."""
    splits = data.load("mr")
    vocabulary = text.Vocabulary.build(map(text.words, splits["train"]["text"]))
    ids = {
        name: [torch.from_numpy(i).long() for i in text.encode(s["text"], text.words, vocabulary)]
        for name, s in splits.items()
    }
    labels = {name: torch.tensor(split["label"]) for name, split in splits.items()}
    runtime.keep_freed_memory()  # for both
    recorder = Recorder(
        task="speed-textcnn-mr", model="TextCNN, ours against a plain loop", protocol="test split",
        data=data.provenance(splits), command="python -m benchmarks.speed speed-textcnn-mr",
        hyperparameters={**RECIPE.settings(), "plain loop": "batches of 50, Adam, 0.001, float32"},
    )  # fmt: skip
    for seed in SEEDS:
        with recorder.measure(seed) as run:
            found = {}
            for way in (plain_loop, ours) if seed % 2 else (ours, plain_loop):
                found[way] = way(ids, labels, len(vocabulary), seed)
            # The first epoch also pays for what is done once.
            spent = {way: statistics.median(seconds) for way, (seconds, _) in found.items()}
            run.metrics = {
                "seconds an epoch, ours": spent[ours],
                "seconds an epoch, plain loop": spent[plain_loop],
                "epoch, times as fast": spent[plain_loop] / spent[ours],
                "test accuracy, ours": found[ours][1],
                "test accuracy, plain loop": found[plain_loop][1],
            }
    recorder.parameters = sum(p.numel() for p in PlainTextCNN(len(vocabulary), 2).parameters())
    return recorder


def padding() -> Recorder:
    """Measure padding on imdb: batches by length, and 64 texts at random."""
    splits = data.load("imdb")
    vocabulary = text.Vocabulary.build(map(text.words, splits["train"]["text"]))
    ids = text.encode(splits["train"]["text"], text.words, vocabulary)
    lengths = np.array([len(i) for i in ids])
    recorder = Recorder(
        task="padding-imdb", model="batches, by length and at random", protocol="training texts",
        data=data.provenance(splits), command="python -m benchmarks.speed padding-imdb",
        hyperparameters={"token_budget": BUDGET, "random": "64 texts a batch"}, precision="none",
    )  # fmt: skip
    recorder.parameters = len(vocabulary)
    for seed in SEEDS:
        with recorder.measure(seed) as run:
            order = np.random.default_rng(seed).permutation(lengths)
            parts = np.split(order, range(64, len(order), 64))
            cells = sum(len(part) * part.max() for part in parts)
            batches = data.batches(ids, token_budget=BUDGET, seed=seed)
            run.metrics = {
                "padding": batches.padding_share,
                "padding in random batches": 1 - lengths.sum() / cells,
            }
    return recorder


BUDGET = 16_384
TASKS = {"speed-textcnn-mr": textcnn, "padding-imdb": padding}

if __name__ == "__main__":
    task = chosen("benchmarks.speed", sys.argv[1:], TASKS)
    if task:
        finish(TASKS[task]())
