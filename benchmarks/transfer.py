"""Transfer on real data: what a source task is worth to a target with few labels.

    python -m benchmarks.transfer [--new] [TASK ...]     (all tasks when none is named)

A task is `transfer-SOURCE-TARGET-FAMILY`, such as `transfer-imdb-kitchen-lstm`: a family of models
learns the source, is carried to the target by each strategy, and is scored with 20 to 1,000 labels
(100 only, for the pairs that are there for the matrix of domains); beside it the same model from
scratch and NB-SVM on the same labels. `transfer-ranks` varies the rank of LoRA. Needs the real
data sets (TUTORIAL_DATA or the network). Writes book/results/TASK.json as soon as a task is done;
`--new` leaves out those that are there.

Labels are drawn from the book's training split of the target, by the seed. None are spent on
validation: the last step's weights are scored, on the book's validation and test texts together.
All settings were chosen on amazon_electronics, by the training split alone.
"""

import copy
import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import RESULTS, chosen, finish
from tutorial_lib import data, evaluation, finetuning, hub, lora, text, training, transfer
from tutorial_lib.albert import AlbertClassifier
from tutorial_lib.attention import TransformerClassifier
from tutorial_lib.baselines import NBSVM, bag_of_words
from tutorial_lib.cnn import TextCNN
from tutorial_lib.data.batches import Batches
from tutorial_lib.results import Recorder
from tutorial_lib.rnn import RecurrentClassifier
from tutorial_lib.semi_supervised import stratified
from tutorial_lib.training import TrainConfig

SEEDS = range(3)
SETS = {
    "ag-news": "ag_news", "finance": "financial_phrasebank_50", "imdb": "imdb",
    "medical": "medical_abstracts", "books": "amazon_books",
    "electronics": "amazon_electronics", "kitchen": "amazon_kitchen",
}  # fmt: skip
DOMAINS = ("books", "electronics", "kitchen")
JOURNEYS = (("ag-news", "medical"), ("finance", "kitchen"), ("imdb", "kitchen"))
MATRIX = (
    *((source, target) for source in ("finance", "imdb") for target in DOMAINS[:2]),
    *((source, target) for source in DOMAINS for target in DOMAINS if source != target),
)
PASSES = {20: 30, 50: 25, 100: 20, 200: 12, 500: 8, 1_000: 5}  # over so many labelled texts
AT = 100  # labels, where differences get intervals
MOST = 10_000  # training texts of a source
BUDGET = 1_200  # tokens of a training batch
LENGTH = 128  # tokens of a text that networks read: the first quarter and the last three
RANKS = (1, 2, 4, 8, 16, 32)
RANK = 8


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of model, and how fast it learns.

    Attributes:
        title: name for people.
        build: makes one for so many words and classes; None for the mini-ALBERT.
        epochs: over the source.
        lr: on the source, and on the target from scratch.
        tuned: on the target after the source.
        decay: of the rate from depth to depth, after the source.
        low_rank: whether it has attention for LoRA to adapt; with what rate.
    """

    title: str
    build: Callable[[int, int], nn.Module] | None
    epochs: int
    lr: float
    tuned: float
    decay: float
    low_rank: float = 0.0

    @property
    def strategies(self) -> list[str]:
        """The strategies that it is carried over by."""
        return [s for s in transfer.STRATEGIES if s != "lora" or self.low_rank]


FAMILIES = {
    "textcnn": Family(
        "TextCNN", lambda v, c: TextCNN(v, c, embedding=100, filters=100), 4, 1e-3, 1e-3, 0.6
    ),
    "lstm": Family(
        "LSTM",
        lambda v, c: RecurrentClassifier(v, c, cell="lstm", hidden=64, pooling="max"),
        4, 2e-3, 1e-3, 0.6,
    ),
    "transformer": Family(
        "Transformer",
        lambda v, c: TransformerClassifier(v, c, pooling="max", dropout=0.2),
        4, 1e-3, 5e-4, 0.6, 2e-3,
    ),
    "mini-albert": Family("mini-ALBERT", None, 2, 5e-4, 1e-3, 0.6, 2e-3),
}  # fmt: skip
Labelled = tuple[list[str], np.ndarray]  # texts and their classes


@dataclasses.dataclass(frozen=True)
class Domain:
    """A data set as source and as target: what may be learned from, and what is scored on."""

    learn: Labelled
    score: Labelled
    classes: list[str]
    provenance: Any

    @staticmethod
    @functools.cache
    def read(name: str) -> "Domain":
        """Load; the scored texts are the book's validation and test splits."""
        splits = data.load(SETS[name])

        def part(*names: str) -> Labelled:
            texts = [text.normalize(t) for n in names for t in splits[n]["text"]]
            return texts, np.array([y for n in names for y in splits[n]["label"]])

        classes = splits["train"].features["label"].names
        return Domain(part("train"), part("validation", "test"), classes, data.provenance(splits))


class Reader:
    """Turns texts into batches: words by a vocabulary, or pieces by the mini-ALBERT's tokenizer."""

    def __init__(self, vocabulary: text.Vocabulary | None) -> None:
        self.vocabulary = vocabulary
        if vocabulary is None:
            self.tokenizer = hub.load("mini-albert", AlbertClassifier, classes=2).tokenizer

    def batches(self, texts: Labelled, seed: int | None = None) -> Batches:
        """Return batches for training by a seed, or for scoring."""
        strings, labels = texts
        learn = seed is not None
        return data.batches(
            self.encode(strings), labels, shuffle=learn, seed=seed or 0,
            token_budget=BUDGET if learn else 8_000,
        )  # fmt: skip

    def encode(self, strings: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of each text."""
        if self.vocabulary is None:
            return finetuning.encode(strings, self.tokenizer, LENGTH)
        return text.encode(strings, ends, self.vocabulary)


def ends(string: str) -> list[str]:
    """Return a text's words, of a long one the first and the last."""
    words, first = text.words(string), LENGTH // 4
    return words if len(words) <= LENGTH else words[:first] + words[first - LENGTH :]


def vocabulary(*parts: list[str]) -> text.Vocabulary:
    """Return the words that occur twice."""
    return text.Vocabulary.build((ends(t) for part in parts for t in part), min_count=2)


def start(family: Family, reader: Reader, classes: int, *, pretrained: bool = True) -> nn.Module:
    """Return a model that has seen no task."""
    if family.build:
        return family.build(len(reader.vocabulary), classes)
    model = hub.load("mini-albert", AlbertClassifier, classes=classes).model
    if not pretrained:
        model = AlbertClassifier(model.albert.config, classes)
    return finetuning.set_dropout(model, 0.1)


class Source:
    """A model that has learned the source task, with all that is needed to carry it over."""

    def __init__(self, family: Family, source: Domain, target: Domain, seed: int) -> None:
        torch.manual_seed(seed)
        strings, labels = (part[:MOST] for part in source.learn)
        before = Reader(vocabulary(strings) if family.build else None)
        model = start(family, before, len(source.classes))
        config = TrainConfig(family.epochs, family.lr, schedule="slanted", warmup=0.1, seed=seed)
        training.fit_classifier(
            model, before.batches((strings, labels), seed), None, config, progress=False
        )
        self.reader, self.overlap = before, None
        if family.build:  # from here on it reads the words of both
            self.reader = Reader(vocabulary(strings, target.learn[0]))
            self.overlap = transfer.move_words(model, before.vocabulary, self.reader.vocabulary)
        self.model, self.head = model.eval(), model.output
        self.texts = source.score[0][:2_000], source.score[1][:2_000]
        self.right = self.still_right(model)

    def carried(self, classes: int) -> nn.Module:
        """Return a copy with a new head."""
        return transfer.new_head(copy.deepcopy(self.model), classes)

    def still_right(self, model: nn.Module) -> float:
        """Return the accuracy on the source of a model that began as this one, with its head."""
        with transfer.another_head(model, self.head):
            found = training.predict_classes(model, self.reader.batches(self.texts))
        return float((found == self.texts[1]).mean())

    def unchanged(self, source: Domain, target: Domain) -> np.ndarray | None:
        """Return its answers on the target where the classes have the same names, else None."""
        if not set(target.classes) <= set(source.classes):
            return None
        columns = [source.classes.index(name) for name in target.classes]
        return training.predict(
            self.model,
            lambda m, b: m(b["ids"], b["mask"])[:, columns].argmax(1),
            self.reader.batches(target.score),
        ).numpy()


def carry(source: Source, family: Family, strategy: str, texts: Labelled, seed: int, **more) -> Any:
    """Return the source's model after it has learned the target's texts by a strategy."""
    torch.manual_seed(seed)
    model = source.carried(len(np.unique(texts[1])))
    lr = family.low_rank if strategy == "lora" else family.tuned
    transfer.adapt(
        model, strategy, source.reader.batches(texts, seed), config(texts, lr, seed),
        decay=family.decay, **more,
    )  # fmt: skip
    return model


def alone(family: Family, target: Domain, texts: Labelled, seed: int, *, pretrained: bool) -> Any:
    """Return a model that has learned the target's texts without a source task, and its reader."""
    torch.manual_seed(seed)
    reader = Reader(vocabulary(target.learn[0]) if family.build else None)
    model = start(family, reader, len(target.classes), pretrained=pretrained)
    lr, decay, times = (family.tuned, family.decay, 1) if pretrained else (family.lr, 1.0, 2)
    transfer.adapt(
        model, "full", reader.batches(texts, seed), config(texts, lr, seed, times), decay=decay
    )
    return model, reader


def config(texts: Labelled, lr: float, seed: int, times: int = 1) -> TrainConfig:
    epochs = times * PASSES[len(texts[1])]
    return TrainConfig(epochs, lr, schedule="slanted", warmup=0.1, seed=seed)


def networks(family: Family, source: Domain, target: Domain, amount: int, learned: Source,
             texts: Labelled, seed: int, run: Any) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the answers of every way to learn so many labels; note what became of the source."""
    found = {}

    def answer(name: str, model: nn.Module, reader: Reader) -> None:
        found[name] = training.predict_classes(model, reader.batches(target.score))

    answer("from scratch", *alone(family, target, texts, seed, pretrained=False))
    if not family.build:
        answer("no source task", *alone(family, target, texts, seed, pretrained=True))
    for strategy in family.strategies:
        model = carry(learned, family, strategy, texts, seed)
        answer(strategy, model, learned.reader)
        if amount == AT:
            run.metrics[f"source accuracy after {strategy}"] = learned.still_right(model)
    return found


def nbsvm(learn: Labelled, strings: list[str], classes: int, seed: int) -> np.ndarray:
    """Return NB-SVM's classes of texts; it reads all of each."""
    words = bag_of_words()
    model = NBSVM(seed=seed).fit(words.fit_transform(learn[0]), learn[1])
    return model.predict(words.transform(strings))


def linear(source: Domain, target: Domain, texts: Labelled, seed: int) -> dict[str, np.ndarray]:
    """Return the answers of NB-SVM that learns from the source's texts too."""
    if source.classes != target.classes:
        return {}
    strings, labels = (part[:MOST] for part in source.learn)
    both = strings + texts[0], np.concatenate([labels, texts[1]])
    return {"source and target together": nbsvm(both, target.score[0], len(target.classes), seed)}


def journey(task: str, names: tuple[str, str], kind: str, amounts: Sequence[int]) -> Recorder:
    """Measure one family on one pair of domains."""
    source, target = (Domain.read(name) for name in names)
    family = FAMILIES.get(kind)
    record = recorder(task, f"{family.title if family else 'NB-SVM'}: {' to '.join(names)}", names,
                      family, list(amounts))  # fmt: skip
    truth, classes = target.score[1], len(target.classes)
    for seed in SEEDS:
        with record.measure(seed) as run:
            learned = Source(family, source, target, seed) if family else None
            run.metrics = described(source, target, learned, seed)
            for amount in amounts:
                rows = stratified(target.learn[1], amount, seed)
                texts = [target.learn[0][i] for i in rows], target.learn[1][rows]
                found = {"NB-SVM": nbsvm(texts, target.score[0], classes, seed)}
                if family:
                    found |= networks(family, source, target, amount, learned, texts, seed, run)
                else:
                    found |= linear(source, target, texts, seed)
                for name, predicted in found.items():
                    run.metrics[f"{name}, {amount} labels"] = float((predicted == truth).mean())
                if amount == AT:
                    run.metrics |= gaps(found, truth, classes)
    record.parameters = sum(p.numel() for p in learned.model.parameters()) if learned else 1
    return record


def described(
    source: Domain, target: Domain, learned: Source | None, seed: int
) -> dict[str, float]:
    """Return what is known of a pair before a label of the target is."""
    truth, classes = target.score[1], len(target.classes)
    if learned is None:
        pair = source.learn[0], target.learn[0]
        metrics = {"distance": transfer.domain_distance(*pair, seed=seed)}
        same = source.classes == target.classes
        texts = source.learn[0][:MOST], source.learn[1][:MOST]
        found = nbsvm(texts, target.score[0], classes, seed) if same else None
    else:
        metrics, found = {"source accuracy": learned.right}, learned.unchanged(source, target)
        if overlap := learned.overlap:
            metrics["words known"] = overlap.shared / (overlap.shared + overlap.new)
    if found is not None:
        metrics["source only"] = float((found == truth).mean())
    return metrics


def gaps(found: dict[str, np.ndarray], truth: np.ndarray, classes: int) -> dict[str, float]:
    """Return how far each way is from both baselines, with its 95 % interval."""
    metrics = {}
    for other in ("from scratch", "NB-SVM"):
        for name in found:
            if other in found and name not in ("from scratch", "NB-SVM"):
                gap = evaluation.paired_bootstrap(truth, found[name], found[other], classes)
                for end, value in zip(("", ", low", ", high"), gap, strict=True):
                    metrics[f"{AT} labels: {name} minus {other}{end}"] = value
    return metrics


def ranks(task: str) -> Recorder:
    """Measure LoRA by its rank, on the mini-ALBERT from imdb to kitchen with 500 labels."""
    names, amount = ("imdb", "kitchen"), 500
    source, target = (Domain.read(name) for name in names)
    family = FAMILIES["mini-albert"]
    record = recorder(task, "mini-ALBERT, LoRA by rank", names, family, [amount])
    truth = target.score[1]
    for seed in SEEDS:
        with record.measure(seed) as run:
            learned = Source(family, source, target, seed)
            rows = stratified(target.learn[1], amount, seed)
            texts = [target.learn[0][i] for i in rows], target.learn[1][rows]
            ways = {f"rank {rank}": {"strategy": "lora", "rank": rank} for rank in RANKS}
            for name, way in {**ways, "full": {"strategy": "full"}}.items():
                model = carry(learned, family, texts=texts, seed=seed, **way)
                found = training.predict_classes(model, learned.reader.batches(target.score))
                run.metrics[f"{name}, accuracy"] = float((found == truth).mean())
                model = learned.carried(len(target.classes))
                if "rank" in way:
                    lora.add(model, way["rank"])
                trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
                run.metrics[f"{name}, trained parameters"] = trained
    record.parameters = sum(p.numel() for p in learned.model.parameters())
    return record


def recorder(task: str, model: str, names: tuple[str, str], family: Family | None,
             amounts: list[int]) -> Recorder:  # fmt: skip
    source, target = (Domain.read(name) for name in names)
    settings: dict[str, Any] = {
        "source": SETS[names[0]], "source_sha256": source.provenance.sha256,
        "source_texts": min(MOST, len(source.learn[0])), "labels": amounts,
    }  # fmt: skip
    if family:
        rates = {k: v for k, v in dataclasses.asdict(family).items() if k not in ("title", "build")}
        settings |= {
            **rates, "schedule": "slanted", "warmup": 0.1, "length": LENGTH, "rank": RANK,
            "token_budget": BUDGET, "passes": [PASSES[n] for n in amounts],
        }  # fmt: skip
    return Recorder(
        task=task, model=model, data=target.provenance, hyperparameters=settings,
        protocol="the book's validation and test texts, by labels",
        command=f"python -m benchmarks.transfer {task}",
        precision=None if family else "float64",
    )  # fmt: skip


TASKS: dict[str, Callable[[str], Recorder]] = {
    f"transfer-{'-'.join(names)}-{kind}": functools.partial(
        journey, names=names, kind=kind, amounts=list(PASSES) if names in JOURNEYS else [AT]
    )
    for names in (*JOURNEYS, *MATRIX)
    for kind in ("nbsvm", *FAMILIES)
}
TASKS["transfer-ranks"] = ranks

if __name__ == "__main__":
    named = [name for name in sys.argv[1:] if name != "--new"]
    if "--new" in sys.argv:
        named = [n for n in named or TASKS if not (RESULTS / f"{n}.json").exists()]
        if not named:
            raise SystemExit("all of them are recorded")
    task = chosen("benchmarks.transfer", named, TASKS)
    if task:
        finish(TASKS[task](task))
