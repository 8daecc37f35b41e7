"""The embedded reviews against their known ceiling, by phenomenon.

    python -m benchmarks.reviews_ceiling [TASK ...]     (all tasks when none is named)

Naive Bayes (unigrams) and NB-SVM (unigrams and bigrams) see which words occur; the small
bidirectional GRU sees their order. Nothing is downloaded. Writes book/results/TASK.json.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks import chosen, finish
from tutorial_lib import data, evaluation, training
from tutorial_lib.baselines import NBSVM, TOKEN, NaiveBayes, bag_of_words
from tutorial_lib.data import reviews
from tutorial_lib.results import Recorder

ROWS, SEEDS = 25_000, range(3)
PAD, UNKNOWN, FIRST_WORD = 0, 1, 2
COSTS = (0.01, 0.03, 0.1, 0.3, 1.0)  # of NB-SVM, chosen on the validation texts
GRU = {"embedding": 80, "hidden": 96, "dropout": 0.2, "unknown": 0.05, "smoothing": 0.1}
CONFIG = {"epochs": 18, "lr": 4e-3, "schedule": "cosine", "warmup": 0.2}
TOKENS_A_BATCH = 1_500


class OrderAware(nn.Module):
    """Embedding, bidirectional GRU, the largest value over time, linear."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, GRU["embedding"], padding_idx=PAD)
        self.gru = nn.GRU(GRU["embedding"], GRU["hidden"], batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(GRU["dropout"])
        self.out = nn.Linear(2 * GRU["hidden"], len(reviews.CLASSES))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        ids, mask = batch["ids"], batch["mask"]  # [batch time]
        if self.training:  # so that an unknown word has been met before
            drop = (torch.rand(ids.shape, device=ids.device) < GRU["unknown"]) & mask
            ids = ids.masked_fill(drop, UNKNOWN)
        # Packed, so that the backward half does not begin in the padding.
        packed = pack_padded_sequence(
            self.dropout(self.embedding(ids)), mask.sum(1).cpu(), True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(self.gru(packed)[0], True, padding_value=-1.0)
        pooled = states.amax(1)  # [batch 2*hidden]; every state lies above -1
        return self.out(self.dropout(pooled))


def naive_bayes(splits, language: str, seed: int) -> tuple[np.ndarray, int]:
    """Return the predictions on the test texts and the number of weights."""
    words = bag_of_words((1, 1), characters=language == "zh")
    x = words.fit_transform(splits["train"]["text"])
    model = NaiveBayes(binary=True).fit(x, np.array(splits["train"]["label"]))
    return model.predict(words.transform(splits["test"]["text"])), x.shape[1]


def nb_svm(splits, language: str, seed: int) -> tuple[np.ndarray, int]:
    """The same for NB-SVM, with the cost that does best on the validation texts."""
    words = bag_of_words((1, 2), characters=language == "zh")
    x = words.fit_transform(splits["train"]["text"])
    x_valid = words.transform(splits["validation"]["text"])
    labels, truth = np.array(splits["train"]["label"]), np.array(splits["validation"]["label"])
    models = [NBSVM(c=c, seed=seed).fit(x, labels) for c in COSTS]
    best = max(models, key=lambda model: (model.predict(x_valid) == truth).mean())
    return best.predict(words.transform(splits["test"]["text"])), x.shape[1]


def order_aware(splits, language: str, seed: int) -> tuple[np.ndarray, int]:
    """The same for the GRU, with the weights of its best epoch on the validation texts."""
    pattern = "." if language == "zh" else TOKEN
    tokens = {
        name: [re.findall(pattern, text.lower()) for text in split["text"]]
        for name, split in splits.items()
    }
    counts = Counter(token for text in tokens["train"] for token in text)
    known = [token for token, count in counts.items() if count > 1]
    index = {token: i for i, token in enumerate(known, FIRST_WORD)}
    batches = {
        name: data.batches(
            [[index.get(token, UNKNOWN) for token in text] for text in texts],
            splits[name]["label"],
            token_budget=TOKENS_A_BATCH if name == "train" else 16_000,
            shuffle=name == "train",
            seed=seed,
        )
        for name, texts in tokens.items()
    }
    torch.manual_seed(seed)
    model = OrderAware(FIRST_WORD + len(known))
    cross_entropy = nn.CrossEntropyLoss(label_smoothing=GRU["smoothing"])
    truth = torch.tensor(splits["validation"]["label"])

    def predicted(model: nn.Module, name: str) -> Tensor:
        return training.predict(model, lambda m, batch: m(batch).argmax(1), batches[name])

    training.train(
        model,
        lambda m, batch: cross_entropy(m(batch), batch["labels"]),
        batches["train"],
        validate=lambda m: {"accuracy": (predicted(m, "validation") == truth).float().mean()},
        config=training.TrainConfig(
            **CONFIG, monitor="max accuracy", seed=seed, precision="no"
        ),
    )  # fmt: skip
    return predicted(model, "test").numpy(), sum(p.numel() for p in model.parameters())


MODELS: dict[str, tuple[str, Callable, dict]] = {
    "nb": ("naive Bayes", naive_bayes, {"ngrams": "1"}),
    "nbsvm": ("NB-SVM", nb_svm, {"ngrams": "1-2", "c": list(COSTS)}),
    "gru": ("bidirectional GRU", order_aware, {**GRU, **CONFIG, "token_budget": TOKENS_A_BATCH}),
}


TASKS = [f"{name}-reviews-{language}" for language in reviews.LANGUAGES for name in MODELS]


def record(task: str) -> Recorder:
    """Measure one model: accuracy on the noisy labels, on the true ones, by phenomenon."""
    name, _, language = task.split("-")
    splits = reviews.dataset(ROWS, language=language)
    title, predict, settings = MODELS[name]
    test = splits["test"]
    clean, phenomena = np.array(test["clean_label"]), test["phenomena"]
    recorder = Recorder(
        task=task, model=title, protocol="held-out reviews",
        data=data.provenance(splits), classes=reviews.CLASSES, precision="float32",
        command=f"python -m benchmarks.reviews_ceiling {task}", hyperparameters=settings,
    )  # fmt: skip
    for seed in SEEDS if name == "gru" else [0]:  # nothing in the other two is random
        with recorder.measure(seed) as run:
            predicted, recorder.parameters = predict(splits, language, seed)
            run.score(np.array(test["label"]), predicted, reviews.CLASSES)
            run.metrics["ceiling"] = reviews.ceiling(test)
            parts = evaluation.by_phenomenon(clean, predicted, phenomena, len(reviews.CLASSES))
            for part, (_, interval) in parts.items():
                run.metrics[f"accuracy on true labels: {part}"] = float(interval.value)
    return recorder


if __name__ == "__main__":
    task = chosen("benchmarks.reviews_ceiling", sys.argv[1:], TASKS)
    if task:
        finish(record(task))
