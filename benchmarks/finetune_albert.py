"""The mini-ALBERT fine-tuned, against the same model from scratch, TextCNN and NB-SVM.

    python -m benchmarks.finetune_albert [TASK ...]     (all tasks when none is named)

A task is MODEL-DATA-finetuning: `mini-albert-sst2-finetuning`, `scratch-imdb-finetuning`,
`textcnn-sst2-100-finetuning` … The models of one data set learn from the same labelled texts and
are scored on the same ones; TextCNN and NB-SVM on the others of these sets are recorded by
`benchmarks.networks` and `benchmarks.linear_baselines`. What is not equal: the mini-ALBERT has
read texts without labels before, those of these sets' training parts among them (but not sst2 and
mr), and both ALBERTs see at most 128 pieces of a text. `vectors` is the rival that has read the
same texts and sees the same pieces: a TextCNN on chapter 2's skip-gram vectors of them, learned as
those were from which the mini-ALBERT's own training began.

Needs the real data sets, and sst2's phrases (TUTORIAL_DATA/sst2_glue) for `sst2`. Writes
book/results/TASK.json. Settings were chosen on validation texts, but the passes from scratch over
the three large sets by the hours that they take, and those of `vectors` are TextCNN's (on sst2's
validation texts vectors that stay were the better with 100 labels); test texts are only scored.
Where few labels are the point, none are spent on validation: the last step's weights are kept.
"""

import dataclasses
import sys
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks import HALF_DONE, chosen, finish, networks
from benchmarks import pretraining_corpus as corpora
from tutorial_lib import data, finetuning, hub, training
from tutorial_lib.albert import AlbertClassifier
from tutorial_lib.baselines import NBSVM, nbsvm
from tutorial_lib.cnn import TextCNN
from tutorial_lib.results import Recorder
from tutorial_lib.training import TrainConfig

SEEDS = range(3)
DROPOUT = 0.1
SKIP_GRAM = {"dim": 128, "epochs": 3}  # of the word vectors from the mini-ALBERT's texts
LONGEST = 128  # pieces of a text, as many as the mini-ALBERT can read; longer ones lose the middle


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learned.

    Attributes:
        name: of the data set.
        labels: size of the training set, drawn by the seed, the same share of each class; all
            labels and a choice of the epoch on validation texts if None.
        phrases: train on labelled phrases as well.
        folds: ten-fold cross-validation instead of the test set.
        epochs: over the training texts, of the mini-ALBERT.
        scratch_epochs: of ALBERT from scratch, which needs more.
        cnn_epochs: of TextCNN; 0 where it is recorded elsewhere.
        nbsvm: whether NB-SVM is not recorded elsewhere.
        budget: tokens of a training batch; more where 1,200 would be few texts.
    """

    name: str
    labels: int | None = None
    phrases: bool = False
    folds: bool = False
    epochs: int = 4
    scratch_epochs: int = 8
    cnn_epochs: int = 0
    nbsvm: bool = False
    budget: int = 1_200

    @property
    def cnn(self) -> networks.Recipe:
        """TextCNN's settings."""
        config = TrainConfig(self.cnn_epochs, 1e-3, schedule="cosine", average=0.99)
        return networks.Recipe(
            self.name, "TextCNN-rand", TextCNN, networks.CNN, config,
            word_dropout=0.1, length=400, refit=self.labels is not None,
        )  # fmt: skip

    @property
    def on_vectors(self) -> networks.Recipe:
        """Settings of the same on pieces and their word vectors, which few labels leave alone."""
        cnn = self.cnn if self.cnn_epochs else networks.RECIPES[f"textcnn-{self.name}"]
        mode = "static" if self.labels else "non-static"
        return dataclasses.replace(
            cnn, options={**cnn.options, "embedding": SKIP_GRAM["dim"], "mode": mode},
            skip_gram=SKIP_GRAM, length=LONGEST, min_count=1, cased=False, signatures=False,
            refit=self.labels is not None,
        )  # fmt: skip


DATA = {
    "sst2": Task("sst2", phrases=True, epochs=2, scratch_epochs=4),
    "sst2-100": Task("sst2", labels=100, epochs=30, scratch_epochs=60, cnn_epochs=150, nbsvm=True),
    "sst2-1000": Task("sst2", labels=1000, epochs=10, scratch_epochs=20, cnn_epochs=30, nbsvm=True),
    "mr": Task("mr", folds=True, scratch_epochs=6),
    "imdb": Task("imdb", epochs=3, scratch_epochs=3, cnn_epochs=4, budget=2_400),
    "trec6": Task("trec6", epochs=10, scratch_epochs=20),
    "ag-news": Task("ag_news", epochs=2, scratch_epochs=3, cnn_epochs=4),
    "sms-spam": Task("sms_spam", epochs=6, scratch_epochs=12, cnn_epochs=8, nbsvm=True),
}
# Rates of the classifier and, as a factor, of each depth below it, of the two ALBERTs. From scratch
# 5e-4 left some runs at chance (on imdb the first seed, on mr two of sixteen folds).
RATES = {"mini-albert": (1e-3, 0.6), "scratch": (2e-4, 1.0)}
MODELS = {
    "mini-albert": "mini-ALBERT, fine-tuned",
    "scratch": "mini-ALBERT's architecture from scratch",
    "textcnn": "TextCNN-rand",
    "vectors": "TextCNN on word vectors from the mini-ALBERT's texts",
    "nbsvm": "NB-SVM",
}


def named(kind: str, data_set: str) -> bool:
    """Return whether this is a task here."""
    task = DATA[data_set]
    return {"textcnn": task.cnn_epochs > 0, "nbsvm": task.nbsvm}.get(kind, True)


TASKS = [f"{kind}-{name}-finetuning" for name in DATA for kind in MODELS if named(kind, name)]


def parts_of(name: str) -> tuple[str, str]:
    """Return the model and the data set that a task names."""
    kind = next(model for model in MODELS if name.startswith(f"{model}-"))
    return kind, name.removeprefix(f"{kind}-").removesuffix("-finetuning")


def texts_of(task: Task, seed: int) -> list[networks.Texts]:
    """Return the parts to train and test on, ten times if there are folds."""
    splits = data.load(task.name, splits="official" if task.folds else "book")
    texts = {name: (list(part["text"]), np.array(part["label"])) for name, part in splits.items()}
    if task.folds:
        return [fold for fold, _ in networks.folds_of(*texts["full"])]
    if task.phrases:
        texts["train"] = networks.with_phrases(texts)
    if task.labels:
        strings, labels = texts["train"]
        rows = data.stratified(labels, task.labels, seed)
        texts["train"] = [strings[i] for i in rows], labels[rows]
        del texts["validation"]
    return [texts]


def fit(kind: str, task: Task, texts: networks.Texts, classes: int, seed: int) -> tuple:
    """Train one of the models; return its predictions on the test texts and its size."""
    if kind == "nbsvm":
        return nbsvm(*texts["train"], texts["test"][0], seed)
    if kind == "textcnn":
        predicted, model = networks.fit_and_predict(task.cnn, texts, classes, seed)
    else:
        predicted, model = on_pieces(kind, task, texts, classes, seed)
    return predicted, sum(p.numel() for p in model.parameters() if p.requires_grad)


def on_pieces(kind: str, task: Task, texts: networks.Texts, classes: int, seed: int) -> tuple:
    """Fine-tune the mini-ALBERT, or train a rival that sees the same pieces of words."""
    torch.manual_seed(seed)
    model, tokenizer, _ = hub.load("mini-albert", AlbertClassifier, classes=classes)
    plan, budget = dataclasses.replace(config(kind, task), seed=seed), task.budget
    optimizer, word_dropout = None, 0.0
    if kind == "vectors":
        cnn, vectors = task.on_vectors, word_vectors(tokenizer)
        model = TextCNN(len(vectors), classes, vectors=vectors, **cnn.options)
        budget, word_dropout = cnn.token_budget, cnn.word_dropout
    else:
        if kind == "scratch":
            model = AlbertClassifier(model.albert.config, classes)
        finetuning.set_dropout(model, DROPOUT)
        optimizer = finetuning.parameter_groups(model, plan.lr, decay=RATES[kind][1])
    batches = {
        split: data.batches(
            finetuning.encode(strings, tokenizer, LONGEST), labels,
            seed=seed, shuffle=split == "train",
            token_budget=budget if split == "train" else 16_000,
        )
        for split, (strings, labels) in texts.items()
    }  # fmt: skip
    training.fit_classifier(
        model, batches["train"], batches.get("validation"), plan,
        optimizer=optimizer, word_dropout=word_dropout,
    )  # fmt: skip
    return training.predict_classes(model, batches["test"]), model


def word_vectors(tokenizer: Any) -> Float[Tensor, "V E"]:
    """Return skip-gram vectors from the texts that the mini-ALBERT read, a row for each piece."""
    corpus = corpora.read(corpora.prepared(tokenizer.get_vocab_size()))
    vectors, pieces = corpora.word_vectors(corpus, **SKIP_GRAM), tokenizer.get_vocab()
    return vectors[[corpus.tokenizer.token_to_id(p) for p in sorted(pieces, key=pieces.get)]]


def config(kind: str, task: Task) -> TrainConfig:
    """Return how a model on pieces is trained."""
    if kind == "vectors":
        return task.on_vectors.config
    epochs = task.epochs if kind == "mini-albert" else task.scratch_epochs
    return TrainConfig(epochs, RATES[kind][0], schedule="linear", warmup=0.1)


def settings(kind: str, task: Task) -> dict[str, Any]:
    """Return what decides the result, for the record."""
    if kind == "textcnn":
        return task.cnn.settings()
    if kind == "vectors":
        return task.on_vectors.settings()
    if kind == "nbsvm":
        return {"ngrams": "words 1-2", **{k: v for k, v in vars(NBSVM()).items() if k != "seed"}}
    plan = config(kind, task)
    return {
        "epochs": plan.epochs, "lr": plan.lr, "lr of each depth below": RATES[kind][1],
        "schedule": plan.schedule, "warmup": plan.warmup, "dropout": DROPOUT,
        "token_budget": task.budget, "max_length": LONGEST, "phrases": task.phrases,
    }  # fmt: skip


def record(name: str) -> Recorder:
    """Measure one model on one task."""
    kind, data_set = parts_of(name)
    task = DATA[data_set]
    splits = data.load(task.name, splits="official" if task.folds else "book")
    classes = next(iter(splits.values())).features["label"].names
    protocol = "ten-fold" if task.folds else "the book's test split"
    recorder = Recorder(
        task=name, model=MODELS[kind], data=data.provenance(splits), classes=classes,
        protocol=f"{protocol}, {task.labels} labels" if task.labels else protocol,
        command=f"python -m benchmarks.finetune_albert {name}",
        hyperparameters=settings(kind, task),
        precision="float64" if kind == "nbsvm" else None,
    )  # fmt: skip
    for seed in recorder.left(SEEDS, HALF_DONE):
        with recorder.measure(seed) as run:
            truth, found = [], []
            for texts in texts_of(task, seed):
                predicted, recorder.parameters = fit(kind, task, texts, len(classes), seed)
                truth.append(texts["test"][1])
                found.append(predicted)
            run.score(np.concatenate(truth), np.concatenate(found), classes)
    return recorder


if __name__ == "__main__":
    name = chosen("benchmarks.finetune_albert", sys.argv[1:], TASKS)
    if name:
        finish(record(name))
