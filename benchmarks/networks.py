"""The networks of chapters 04 to 06 on real data, and what each ingredient of them gives.

    python -m benchmarks.networks [TASK ...]     (all tasks when none is named)

Needs the real data sets; the tasks on sst2 also its phrases (TUTORIAL_DATA/sst2_glue). Writes
book/results/TASK.json. Every setting was chosen on validation texts; so is the epoch that is
kept, unless a recipe says `refit`. Test texts are only scored.
"""

import dataclasses
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import chosen, finish
from tutorial_lib import data, tables, text, training
from tutorial_lib.attention import AttentionClassifier, TransformerClassifier
from tutorial_lib.cnn import TextCNN, ngram_filters
from tutorial_lib.results import Recorder
from tutorial_lib.rnn import RecurrentClassifier
from tutorial_lib.training import TrainConfig

SUFFIXES = ["ing", "ed", "ion", "ness", "ly", "er", "est", "ist", "al", "ous", "y", "s"]
Texts = Mapping[str, tuple[list[str], np.ndarray]]  # texts and labels of each split


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One experiment.

    Attributes:
        name: of the data set.
        model: name for people, and the class with its options.
        config: of the training; `seed` is filled in.
        token_budget: positions of a training batch.
        length: longest text in tokens; of a longer one, a quarter of these are its first
            tokens and the others its last.
        min_count: how often a word must occur in the training texts.
        cased: keep capital letters.
        pairs: every pair of neighbours is a token too, after the words.
        signatures: a word too rare for `min_count` becomes its `signature`, not unknown.
        skip_gram: options of word vectors trained on the training texts first; none if empty.
        ngrams: start the filters from the n-grams that naive Bayes weighs most.
        phrases: train on labelled phrases as well (sst2).
        folds: ten-fold cross-validation instead of the test set.
        refit: train on the validation texts too, for all epochs.
        seeds: number of runs.
    """

    name: str
    title: str
    model: Callable[..., nn.Module]
    options: Mapping[str, Any]
    config: TrainConfig
    token_budget: int = 1_200
    smoothing: float = 0.0
    word_dropout: float = 0.0
    length: int | None = None
    min_count: int = 1
    cased: bool = False
    pairs: bool = False
    signatures: bool = False
    skip_gram: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ngrams: bool = False
    phrases: bool = False
    folds: bool = False
    refit: bool = False
    seeds: int = 3

    def settings(self) -> dict[str, Any]:
        """Return what decides the result, for the record."""
        config = {k: v for k, v in dataclasses.asdict(self.config).items() if k not in UNUSED}
        own = dataclasses.asdict(self)
        skip = ("name", "title", "model", "options", "config", "skip_gram", "seeds")
        own = {k: v for k, v in own.items() if k not in skip and v}
        vectors = {f"skip-gram {k}": v for k, v in self.skip_gram.items()}
        return {**self.options, **config, **own, **vectors}


UNUSED = ("seed", "monitor", "patience", "accumulate")  # of the configuration, left as they are


def tokens_of(recipe: Recipe, texts: list[str]) -> list[list[str]]:
    """Cut texts into tokens, and long ones to their first and last."""
    tokenize = cased_words if recipe.cased else text.words
    tokens = [tokenize(t) for t in texts]
    if recipe.length:
        tokens = [text.cut_middle(t, recipe.length) for t in tokens]
    if recipe.pairs:
        tokens = [t + [f"{a} {b}" for a, b in itertools.pairwise(t)] for t in tokens]
    return tokens


def cased_words(string: str) -> list[str]:
    """Return words and punctuation marks with their capital letters."""
    return re.findall(text.TOKEN, text.normalize(string))


def signature(word: str) -> str:
    """Return what a word looks like: digits, capital letters, its ending.

    After the word classes of Bikel et al. 1997, "Nymble", table 3.1, and of Petrov's parser.
    """
    if word.isdigit():
        return f"<{len(word)} digits>"
    if any(c.isdigit() for c in word):
        return "<digits and others>"
    capitals = "AA" if word.isupper() and len(word) > 1 else "Aa" if word[0].isupper() else "a"
    endings = (s for s in SUFFIXES if len(word) > 3 and word.lower().endswith(s))
    return f"<{capitals} {next(endings, '')}>"


def fit_and_predict(recipe: Recipe, texts: Texts, classes: int, seed: int) -> tuple:
    """Train on `train`, choose the epoch on `validation`; return predictions on `test`, model."""
    tokens = {split: tokens_of(recipe, strings) for split, (strings, _) in texts.items()}
    if recipe.signatures:
        known = text.Vocabulary.build(tokens["train"], recipe.min_count)
        tokens = {
            split: [[w if w in known else signature(w) for w in t] for t in cut]
            for split, cut in tokens.items()
        }
    vocabulary = text.Vocabulary.build(tokens["train"], recipe.min_count)
    ids = {
        split: [np.array(vocabulary.encode(t) or [text.UNK], np.int32) for t in cut]
        for split, cut in tokens.items()
    }
    vectors = None
    if recipe.skip_gram:
        vectors = text.train_skip_gram(ids["train"], vocabulary, seed=seed, **recipe.skip_gram)
    torch.manual_seed(seed)
    model = recipe.model(len(vocabulary), classes, vectors=vectors, **recipe.options)
    if recipe.ngrams:
        ngram_filters(model, ids["train"], texts["train"][1], seed=seed)
    batches = {
        split: data.batches(
            ids[split], labels, seed=seed, shuffle=split == "train",
            token_budget=recipe.token_budget if split == "train" else 16_000,
        )
        for split, (_, labels) in texts.items()
    }  # fmt: skip
    training.fit_classifier(
        model, batches["train"], None if recipe.refit else batches["validation"],
        dataclasses.replace(recipe.config, seed=seed),
        smoothing=recipe.smoothing, word_dropout=recipe.word_dropout,
    )  # fmt: skip
    return training.predict_classes(model, batches["test"]), model


def folds_of(texts: list[str], labels: np.ndarray) -> Iterator[tuple[Texts, np.ndarray]]:
    """Yield each of ten stratified folds as the test set, a ninth of the others for validation."""
    from sklearn.model_selection import StratifiedKFold, train_test_split

    for train, test in StratifiedKFold(10, shuffle=True, random_state=0).split(texts, labels):
        train, valid = train_test_split(
            train, test_size=1 / 10, stratify=labels[train], random_state=0
        )
        parts = {"train": train, "validation": valid, "test": test}
        yield {k: ([texts[i] for i in rows], labels[rows]) for k, rows in parts.items()}, test


def scored(recipe: Recipe, splits, seed: int) -> tuple[np.ndarray, np.ndarray, nn.Module]:
    """Run a recipe once; return labels and predictions of its test texts, and the model."""
    classes = len(next(iter(splits.values())).features["label"].names)
    texts = {k: (list(s["text"]), np.array(s["label"])) for k, s in splits.items()}
    if recipe.folds:
        whole, labels = texts["full"]
        predicted = np.empty_like(labels)
        for fold, rows in folds_of(whole, labels):
            predicted[rows], model = fit_and_predict(recipe, fold, classes, seed)
        return labels, predicted, model
    if recipe.phrases:
        texts["train"] = with_phrases(texts)
    if recipe.refit:
        parts = texts["train"], texts.pop("validation")
        texts["train"] = sum((p[0] for p in parts), []), np.concatenate([p[1] for p in parts])
    return texts["test"][1], *fit_and_predict(recipe, texts, classes, seed)


def with_phrases(texts: Texts) -> tuple[list[str], np.ndarray]:
    """Return sst2's training sentences and the labelled phrases that GLUE made of them.

    Left out: phrases that are a validation or test sentence, or five words and more of one.
    """
    from pyarrow import parquet

    path = Path(os.environ["TUTORIAL_DATA"]) / "sst2_glue" / "train.parquet"
    phrases = parquet.read_table(path).to_pydict()
    joined = [" ".join(text.words(t)) for k in ("validation", "test") for t in texts[k][0]]
    held_out, everything = set(joined), "\n".join(f" {t} " for t in joined)
    strings, labels = list(texts["train"][0]), list(texts["train"][1])
    for phrase, label in zip(phrases["text"], phrases["label"], strict=True):
        words = text.words(phrase)
        plain = " ".join(words)
        if plain not in held_out and not (len(words) >= 5 and f" {plain} " in everything):
            strings.append(phrase)
            labels.append(label)
    return strings, np.array(labels)


def record(task: str) -> Recorder:
    """Measure one recipe, or, for an ablation, one recipe and each change to it."""
    name = task.removesuffix(ABLATION)
    recipe, changes = RECIPES[name], {}
    if task.endswith(ABLATION):  # on one split: ten folds of each change would take hours
        recipe, changes = dataclasses.replace(recipe, folds=False), CHANGES[name]
    splits = data.load(recipe.name, splits="official" if recipe.folds else "book")
    classes = next(iter(splits.values())).features["label"].names
    recorder = Recorder(
        task=task,
        model=recipe.title + (", one thing changed at a time" if changes else ""),
        protocol=protocol(recipe),
        data=data.provenance(splits),
        classes=classes,
        command=f"python -m benchmarks.networks {task}",
        hyperparameters=recipe.settings(),
        precision=None if recipe.config.precision == "auto" else "float32",
    )
    for seed in range(recipe.seeds):
        with recorder.measure(seed) as run:
            labels, predicted, model = scored(recipe, splits, seed)
            run.score(labels, predicted, classes)
            recorder.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
            for claim, change in changes.items():
                changed = dataclasses.replace(recipe, **change)
                labels, predicted, _ = scored(changed, splits, seed)
                run.metrics[tables.CHANGED + claim] = float((predicted == labels).mean())
    return recorder


def protocol(recipe: Recipe) -> str:
    """Say what the texts were that a recipe was scored on."""
    if recipe.name == "mr":
        return "ten-fold" if recipe.folds else "the book's test split"
    return "official test set"


def config(epochs: int, lr: float, **more: Any) -> TrainConfig:
    return TrainConfig(epochs=epochs, lr=lr, schedule="cosine", **more)


CNN = {"embedding": 300, "filters": 100, "widths": (3, 4, 5), "dropout": 0.5, "mode": "rand"}
LSTM = {"cell": "lstm", "embedding": 100, "hidden": 64, "pooling": "max", "dropout": 0.3}
TRANSFORMER = {
    "dim": 128, "heads": 4, "layers": 1, "feedforward": 256, "pooling": "max", "dropout": 0.2,
}  # fmt: skip
RECIPES = {
    "textcnn-mr": Recipe(
        "mr", "TextCNN-rand", TextCNN, CNN, config(4, 3e-3), token_budget=2_400, folds=True,
    ),
    "textcnn-trec6": Recipe(
        "trec6", "TextCNN-rand", TextCNN, {**CNN, "filters": 200, "widths": (2, 3, 4)},
        config(8, 3e-3), token_budget=600, min_count=2, cased=True, signatures=True,
        refit=True, seeds=10,
    ),
    "textcnn-sst2": Recipe(
        "sst2", "TextCNN-rand", TextCNN, CNN, config(4, 1e-3, average=0.995),
        word_dropout=0.1, phrases=True,
    ),
    "lstm-ag-news": Recipe(
        "ag_news", "bidirectional LSTM", RecurrentClassifier, LSTM,
        config(3, 3e-3, average=0.99), token_budget=6_000, smoothing=0.1, word_dropout=0.1,
        length=120, min_count=2, skip_gram={"dim": 100, "epochs": 3},
    ),
    "lstm-imdb": Recipe(
        "imdb", "bidirectional LSTM", RecurrentClassifier, LSTM, config(2, 2e-3, average=0.98),
        token_budget=8_000, word_dropout=0.2, length=256, min_count=5,
        skip_gram={"dim": 100, "epochs": 2},
    ),
    "transformer-sst2": Recipe(
        "sst2", "Transformer, one layer", TransformerClassifier, TRANSFORMER,
        config(3, 1e-3, warmup=0.1, average=0.995), token_budget=2_400, word_dropout=0.2,
        phrases=True,
    ),
    "attention-sst2": Recipe(
        "sst2", "attention over words and pairs", AttentionClassifier,
        {"embedding": 100, "queries": 4, "dropout": 0.5}, config(3, 2e-3, average=0.99),
        token_budget=4_800, word_dropout=0.3, min_count=2, pairs=True, phrases=True,
    ),
    "attention-imdb": Recipe(
        "imdb", "attention over word vectors", AttentionClassifier,
        {"embedding": 100, "queries": 4, "dropout": 0.5}, config(3, 2e-3, average=0.99),
        token_budget=8_000, word_dropout=0.3, length=400, min_count=2,
        skip_gram={"dim": 100, "epochs": 2},
    ),
}  # fmt: skip
ABLATION = "-ablation"
VECTORS = {"dim": 300, "epochs": 5}
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "textcnn-mr": {
        "word dropout of 0.2": {"word_dropout": 0.2},
        "label smoothing of 0.1": {"smoothing": 0.1},
        "average of the weights": {"config": config(4, 3e-3, average=0.99)},
        "filters from n-grams": {"ngrams": True},
        "skip-gram vectors, trained on": {
            "options": {**CNN, "mode": "non-static"}, "skip_gram": VECTORS,
        },
        "skip-gram vectors, kept": {"options": {**CNN, "mode": "static"}, "skip_gram": VECTORS},
        "skip-gram vectors, two channels": {
            "options": {**CNN, "mode": "multichannel"}, "skip_gram": VECTORS,
        },
        "float32 instead of bf16": {"config": config(4, 3e-3, precision="no")},
    },
    "textcnn-trec6": {
        "rare words unknown": {"signatures": False},
        "all words, however rare": {"signatures": False, "min_count": 1},
        "no capital letters": {"cased": False},
        "not trained on the validation texts": {"refit": False},
        "average of the weights": {"config": config(8, 3e-3, average=0.98)},
        "label smoothing of 0.1": {"smoothing": 0.1},
    },
    "attention-sst2": {
        "words only": {"pairs": False},
        "no phrases": {"phrases": False},
        "no word dropout": {"word_dropout": 0.0},
        "no average of the weights": {"config": config(3, 2e-3)},
        "one query instead of four": {"options": {"embedding": 100, "queries": 1, "dropout": 0.5}},
    },
}  # fmt: skip
TASKS = [*RECIPES, *(f"{task}{ABLATION}" for task in CHANGES)]

if __name__ == "__main__":
    task = chosen("benchmarks.networks", sys.argv[1:], TASKS)
    if task:
        finish(record(task))
