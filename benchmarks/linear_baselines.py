"""Linear models on real data: the recorded runs of chapters 01 and 03.

    python -m benchmarks.linear_baselines [TASK ...]     (all tasks when none is named)

Needs the real data sets (TUTORIAL_DATA or the network). Writes book/results/TASK.json.
"""

import sys

import numpy as np
import torch

from benchmarks import chosen, finish
from tutorial_lib import data, softmax
from tutorial_lib.baselines import NBSVM, NaiveBayes, bag_of_words
from tutorial_lib.results import Measured, Recorder

SEEDS = range(5)


def texts_and_labels(split) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return texts, labels and class names; line-break markup (imdb) becomes a blank."""
    texts = np.array([text.replace("<br />", " ") for text in split["text"]], object)
    return texts, np.array(split["label"]), split.features["label"].names


def fit_and_score(run: Measured, vectorizer, model, train, test, classes) -> int:
    """Train on (texts, labels), score on the other pair, return the number of weights."""
    features = vectorizer.fit_transform(train[0])
    model.fit(features, train[1])
    run.score(test[1], model.predict(vectorizer.transform(test[0])), classes)
    return features.shape[1] * (1 if len(classes) == 2 else len(classes))


def ten_fold(task: str, name: str, label: str, make) -> Recorder:
    """Stratified ten-fold cross-validation; the fold's number stands for the seed."""
    from sklearn.model_selection import StratifiedKFold

    splits = data.load(name, splits="official")
    texts, labels, classes = texts_and_labels(splits["full"])
    record = recorder(task, label, "ten-fold", splits, classes, vars(make(0)), folds=True)
    folds = StratifiedKFold(10, shuffle=True, random_state=0).split(texts, labels)
    for fold, (train, test) in enumerate(folds):
        with record.measure(fold) as run:
            record.parameters = fit_and_score(
                run, bag_of_words(), make(0), (texts[train], labels[train]),
                (texts[test], labels[test]), classes,
            )  # fmt: skip
    return record


def official(task: str, name: str, label: str, make, which: str = "official") -> Recorder:
    """Train on the official training set as published, score on the official test set.

    With `which="book"`, on what the book's networks train on: no validation texts, none of the
    test set. Nothing in naive Bayes is random, so it runs once; NB-SVM's seed is its solver's.
    """
    splits = data.load(name, splits=which)
    *train, classes = texts_and_labels(splits["train"])
    *test, _ = texts_and_labels(splits["test"])
    record = recorder(task, label, "official test set", splits, classes, vars(make(0)))
    for seed in SEEDS if "seed" in vars(make(0)) else [0]:
        with record.measure(seed) as run:
            record.parameters = fit_and_score(run, bag_of_words(), make(seed), train, test, classes)
    return record


def subsets(task: str, name: str, label: str, make) -> Recorder:
    """Score on the official test set; each seed trains on its own 90 % of the other texts.

    The book's split is used, so that no test text is also trained on.
    """
    splits = data.load(name)
    (a, y_a, classes), (b, y_b, _) = (texts_and_labels(splits[s]) for s in ("train", "validation"))
    texts, labels = np.concatenate([a, b]), np.concatenate([y_a, y_b])
    *test, _ = texts_and_labels(splits["test"])
    protocol = "official test set, 90 % of the training rows"
    record = recorder(task, label, protocol, splits, classes, vars(make(0)))
    for seed in SEEDS:
        with record.measure(seed) as run:
            rows = np.random.default_rng(seed).permutation(len(texts))[: int(0.9 * len(texts))]
            record.parameters = fit_and_score(
                run, bag_of_words(), make(seed), (texts[rows], labels[rows]), test, classes
            )
    return record


def spam(task: str, name: str, label: str, make) -> Recorder:
    """Characters of deduplicated messages, five random stratified 80/20 splits."""
    from sklearn.model_selection import train_test_split

    splits = data.load(name, splits="official")
    texts, labels, classes = texts_and_labels(splits["full"])
    _, first = np.unique(texts.astype(str), return_index=True)
    texts, labels = texts[np.sort(first)], labels[np.sort(first)]
    settings = {**vars(make(0)), "ngrams": "characters 2-5"}
    record = recorder(task, label, "random 80/20 splits, no repeats", splits, classes, settings)
    for seed in SEEDS:
        with record.measure(seed) as run:
            x, x_test, y, y_test = train_test_split(
                texts, labels, test_size=0.2, stratify=labels, random_state=seed
            )
            words = bag_of_words((2, 5), characters=True)
            record.parameters = fit_and_score(
                run, words, make(seed), (x, y), (x_test, y_test), classes
            )
    return record


class SoftmaxRegression:
    """Chapter 01's model on binary features, trained by its gradient descent by hand."""

    def __init__(self, steps: int = 600, lr: float = 4.0) -> None:
        self.steps, self.lr = steps, lr

    def fit(self, x, labels: np.ndarray) -> None:
        """Train from zero weights on the whole set at every step."""
        x = softmax.sparse_tensor((x > 0).astype(np.float32))
        self.model = softmax.SoftmaxRegression(x.shape[1], int(labels.max()) + 1)
        y = torch.from_numpy(labels)
        softmax.gradient_descent(self.model, x, y, steps=self.steps, lr=self.lr)

    def predict(self, x) -> np.ndarray:
        """Return the class with the largest logit."""
        with torch.no_grad():
            logits = self.model(softmax.sparse_tensor((x > 0).astype(np.float32)))
        return logits.argmax(1).numpy()


def recorder(task, model, protocol, splits, classes, settings, folds=False) -> Recorder:
    return Recorder(
        task=task, model=model, protocol=protocol, folds=folds, data=data.provenance(splits),
        classes=classes, command=f"python -m benchmarks.linear_baselines {task}",
        hyperparameters={
            "ngrams": "words 1-2", **{k: v for k, v in settings.items() if k != "seed"}
        },
        precision="float32" if "steps" in settings else "float64",
    )  # fmt: skip


TASKS = {
    "nb-mr": (ten_fold, "mr", "naive Bayes", lambda seed: NaiveBayes(binary=True)),
    "nbsvm-mr": (ten_fold, "mr", "NB-SVM", lambda seed: NBSVM(seed=seed)),
    "nb-imdb": (official, "imdb", "naive Bayes", lambda seed: NaiveBayes(binary=True)),
    "nbsvm-imdb": (official, "imdb", "NB-SVM", lambda seed: NBSVM(seed=seed)),
    "nbsvm-sst2": (official, "sst2", "NB-SVM", lambda seed: NBSVM(seed=seed), "book"),
    "nbsvm-ag-news": (official, "ag_news", "NB-SVM", lambda seed: NBSVM(seed=seed), "book"),
    "nbsvm-trec6": (subsets, "trec6", "NB-SVM", lambda seed: NBSVM(seed=seed)),
    "softmax-trec6": (subsets, "trec6", "softmax regression", lambda seed: SoftmaxRegression()),
    "nbsvm-sms-spam": (spam, "sms_spam", "NB-SVM", lambda seed: NBSVM(seed=seed)),
}


if __name__ == "__main__":
    task = chosen("benchmarks.linear_baselines", sys.argv[1:], TASKS)
    if task:
        protocol, *rest = TASKS[task]
        finish(protocol(task, *rest))
