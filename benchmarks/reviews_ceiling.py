"""The embedded reviews against their known ceiling, by phenomenon.

    python -m benchmarks.reviews_ceiling [TASK ...]     (all tasks when none is named)

Naive Bayes (unigrams) and NB-SVM (unigrams and bigrams) see which words occur; the small
bidirectional GRU sees their order. Nothing is downloaded. Writes book/results/TASK.json.
"""

import sys
from collections.abc import Callable

import numpy as np
import torch

from benchmarks import chosen, finish
from tutorial_lib import data, evaluation, text, training
from tutorial_lib.baselines import NBSVM, NaiveBayes, bag_of_words
from tutorial_lib.data import reviews
from tutorial_lib.results import Recorder
from tutorial_lib.rnn import RecurrentClassifier

ROWS, SEEDS = 25_000, range(3)
COSTS = (0.01, 0.03, 0.1, 0.3, 1.0)  # of NB-SVM, chosen on the validation texts
GRU = {"cell": "gru", "embedding": 80, "hidden": 96, "pooling": "max", "dropout": 0.2}
CONFIG = {"epochs": 18, "lr": 4e-3, "schedule": "cosine", "warmup": 0.2, "precision": "no"}
REGULARIZATION = {"smoothing": 0.1, "word_dropout": 0.05}
TOKENS_A_BATCH = 1_500
SETTINGS = {**GRU, **CONFIG, **REGULARIZATION, "token_budget": TOKENS_A_BATCH}


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
    tokenize = text.characters if language == "zh" else text.words
    tokens = {name: [tokenize(t) for t in split["text"]] for name, split in splits.items()}
    vocabulary = text.Vocabulary.build(tokens["train"], min_count=2)
    batches = {
        name: data.batches(
            [np.array(vocabulary.encode(t), np.int32) for t in texts],
            splits[name]["label"],
            token_budget=TOKENS_A_BATCH if name == "train" else 16_000,
            shuffle=name == "train",
            seed=seed,
        )
        for name, texts in tokens.items()
    }
    torch.manual_seed(seed)
    model = RecurrentClassifier(len(vocabulary), len(reviews.CLASSES), **GRU)
    training.fit_classifier(
        model, batches["train"], batches["validation"],
        training.TrainConfig(**CONFIG, seed=seed), **REGULARIZATION,
    )  # fmt: skip
    predicted = training.predict_classes(model, batches["test"])
    return predicted, sum(p.numel() for p in model.parameters())


MODELS: dict[str, tuple[str, Callable, dict]] = {
    "nb": ("naive Bayes", naive_bayes, {"ngrams": "1"}),
    "nbsvm": ("NB-SVM", nb_svm, {"ngrams": "1-2", "c": list(COSTS)}),
    "gru": (
        "bidirectional GRU",
        order_aware,
        {**GRU, **CONFIG, **REGULARIZATION, "token_budget": TOKENS_A_BATCH},
    ),
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
