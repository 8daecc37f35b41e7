"""The mini-ALBERT fine-tuned, against the same model from scratch, TextCNN and NB-SVM.

    python -m benchmarks.finetune_albert [TASK ...]     (all tasks when none is named)

A task is MODEL-DATA: `mini-albert-sst2`, `scratch-imdb`, `textcnn-sst2-100` … All four models of
one data set read the same texts with the same seeds. Needs the real data sets, and sst2's phrases
(TUTORIAL_DATA/sst2_glue) for `sst2`. Writes book/results/TASK.json. Settings were chosen on
validation texts; test texts are only scored. Where few labels are the point, none are spent on
validation: the last step's weights are kept.
"""

import dataclasses
import sys
from collections.abc import Callable

import numpy as np
import torch

from benchmarks import chosen, finish, networks
from tutorial_lib import data, finetuning, hub, text, training
from tutorial_lib.albert import AlbertClassifier
from tutorial_lib.baselines import NBSVM, bag_of_words
from tutorial_lib.cnn import TextCNN
from tutorial_lib.results import Recorder
from tutorial_lib.training import TrainConfig

SEEDS = range(3)


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learned.

    Attributes:
        name: of the data set.
        labels: size of the training set, drawn by the seed, the same share of each class; all
            labels and a choice of the epoch on validation texts if None.
        phrases: train on labelled phrases as well.
        folds: ten-fold cross-validation instead of the test set.
        epochs: over the training texts, of mini-ALBERT and of TextCNN.
        scratch_epochs: of ALBERT from scratch, which needs more.
        max_length: longest text in pieces of words; longer ones lose their middle.
    """

    name: str
    labels: int | None = None
    phrases: bool = False
    folds: bool = False
    epochs: int = 4
    scratch_epochs: int = 8
    max_length: int = 128


DATA = {
    "sst2": Task("sst2", phrases=True, epochs=2, scratch_epochs=4),
    "sst2-100": Task("sst2", labels=100, epochs=30, scratch_epochs=30),
    "sst2-1000": Task("sst2", labels=1000, epochs=10, scratch_epochs=20),
    "mr": Task("mr", folds=True),
    "imdb": Task("imdb", epochs=2, scratch_epochs=4, max_length=256),
    "trec6": Task("trec6", epochs=10, scratch_epochs=20),
    "ag-news": Task("ag_news", epochs=2, scratch_epochs=4),
    "sms-spam": Task("sms_spam", epochs=6, scratch_epochs=10),
}
# Rates of the classifier and, as a factor, of each depth below it, of the two ALBERTs.
RATES = {"mini-albert": (1e-3, 0.6), "scratch": (5e-4, 1.0)}


def texts_of(task: Task, seed: int) -> list[tuple[networks.Texts, np.ndarray | None]]:
    """Return the parts to train and test on; of ten folds also the rows of each test part."""
    splits = data.load(task.name, splits="official" if task.folds else "book")
    texts = {k: (list(s["text"]), np.array(s["label"])) for k, s in splits.items()}
    if task.folds:
        return list(networks.folds_of(*texts["full"]))
    if task.phrases:
        texts["train"] = networks.with_phrases(texts)
    if task.labels:
        from sklearn.model_selection import train_test_split

        strings, labels = texts["train"]
        rows, _ = train_test_split(
            np.arange(len(labels)), train_size=task.labels, stratify=labels, random_state=seed
        )
        texts["train"] = [strings[i] for i in rows], labels[rows]
        del texts["validation"]
    return [(texts, None)]


def albert(task: Task, texts: networks.Texts, classes: int, seed: int, kind: str) -> tuple:
    """Fine-tune the mini-ALBERT, or train its like from scratch; return predictions and size."""
    torch.manual_seed(seed)
    model, tokenizer, _ = hub.load("mini-albert", AlbertClassifier, classes=classes)
    config = dataclasses.replace(model.albert.config, classifier_dropout_prob=0.1)
    fresh = AlbertClassifier(config, classes)
    if kind == "mini-albert":
        fresh.load_state_dict(model.state_dict())
    ids = {
        split: finetuning.encode(strings, tokenizer, task.max_length)
        for split, (strings, _) in texts.items()
    }
    lr, decay = RATES[kind]
    epochs = task.epochs if kind == "mini-albert" else task.scratch_epochs
    train(
        fresh, ids, texts, TrainConfig(epochs, lr, schedule="linear", warmup=0.1, seed=seed),
        optimizer=finetuning.parameter_groups(fresh, lr, decay=decay),
    )  # fmt: skip
    return predict(fresh, ids, texts), sum(p.numel() for p in fresh.parameters())


def textcnn(task: Task, texts: networks.Texts, classes: int, seed: int, kind: str) -> tuple:
    """Return TextCNN-rand's predictions and its size."""
    tokens = {split: [text.words(t) for t in strings] for split, (strings, _) in texts.items()}
    vocabulary = text.Vocabulary.build(tokens["train"])
    ids = {
        split: [np.array(vocabulary.encode(t) or [text.UNK], np.int32) for t in some]
        for split, some in tokens.items()
    }
    torch.manual_seed(seed)
    model = TextCNN(len(vocabulary), classes, **networks.CNN)
    config = TrainConfig(task.epochs, 1e-3, schedule="cosine", average=0.99, seed=seed)
    train(model, ids, texts, config, word_dropout=0.1)
    return predict(model, ids, texts), sum(p.numel() for p in model.parameters())


def nbsvm(task: Task, texts: networks.Texts, classes: int, seed: int, kind: str) -> tuple:
    """Return NB-SVM's predictions and its size."""
    words = bag_of_words()
    strings, labels = texts["train"]
    features = words.fit_transform(strings)
    model = NBSVM(seed=seed).fit(features, labels)
    size = features.shape[1] * (1 if classes == 2 else classes)
    return model.predict(words.transform(texts["test"][0])), size


def train(model, ids, texts, config: TrainConfig, **options) -> None:
    """Train with the best validation epoch, or for all epochs where there are no such texts."""
    batches = {
        split: data.batches(
            ids[split], texts[split][1], seed=config.seed, shuffle=split == "train",
            token_budget=1_200 if split == "train" else 16_000,
        )
        for split in ("train", "validation") if split in ids
    }  # fmt: skip
    training.fit_classifier(model, batches["train"], batches.get("validation"), config, **options)


def predict(model, ids, texts) -> np.ndarray:
    batches = data.batches(ids["test"], texts["test"][1], shuffle=False, token_budget=16_000)
    return training.predict_classes(model, batches)


MODELS: dict[str, tuple[str, Callable]] = {
    "mini-albert": ("mini-ALBERT, fine-tuned", albert),
    "scratch": ("mini-ALBERT's architecture from scratch", albert),
    "textcnn": ("TextCNN-rand", textcnn),
    "nbsvm": ("NB-SVM", nbsvm),
}
TASKS = [f"{model}-{name}-finetuning" for name in DATA for model in MODELS]


def parts_of(name: str) -> tuple[str, str]:
    """Return the model and the data set that a task names."""
    kind = next(model for model in MODELS if name.startswith(f"{model}-"))
    return kind, name.removeprefix(f"{kind}-").removesuffix("-finetuning")


def record(name: str) -> Recorder:
    """Measure one model on one task."""
    kind, data_set = parts_of(name)
    task = DATA[data_set]
    title, fit = MODELS[kind]
    splits = data.load(task.name, splits="official" if task.folds else "book")
    classes = next(iter(splits.values())).features["label"].names
    protocol = "ten-fold" if task.folds else "the book's test split"
    recorder = Recorder(
        task=name, model=title, data=data.provenance(splits), classes=classes,
        protocol=f"{protocol}, {task.labels} labels" if task.labels else protocol,
        command=f"python -m benchmarks.finetune_albert {name}",
        hyperparameters={
            **{k: v for k, v in dataclasses.asdict(task).items() if v},
            **({"rates": list(RATES[kind])} if kind in RATES else {}),
        },
        precision="float64" if kind == "nbsvm" else None,
    )  # fmt: skip
    for seed in SEEDS:
        with recorder.measure(seed) as run:
            parts = texts_of(task, seed)
            truth = np.concatenate([texts["test"][1] for texts, _ in parts])
            found = []
            for texts, _ in parts:
                predicted, recorder.parameters = fit(task, texts, len(classes), seed, kind)
                found.append(predicted)
            run.score(truth, np.concatenate(found), classes)
    return recorder


if __name__ == "__main__":
    name = chosen("benchmarks.finetune_albert", sys.argv[1:], TASKS)
    if name:
        finish(record(name))
