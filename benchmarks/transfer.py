"""Transfer on real data: what a source task is worth to a target with few labels.

    python -m benchmarks.transfer [--new] [TASK ...]     (all tasks when none is named)

A task is `transfer-SOURCE-TARGET-FAMILY`, such as `transfer-imdb-kitchen-lstm`: a family of models
learns the source, is carried to the target by each strategy, and is scored with 20 to 1,000 labels
(from goods to other goods, pairs that are there for the matrix of domains, with 100); beside it the
same model from scratch and NB-SVM on the same labels. Where the source has the target's classes,
its head stays (but for `features`, whose head is always fitted); `full, new head` shows what that
is worth.
`full, as from scratch` has the rate and passes of `from scratch`: the two differ in their start and
their words, so what lies between them is the source's doing and not the strategy's.
Needs the real data sets (TUTORIAL_DATA or the network).
Writes book/results/TASK.json as soon as a task is done; `--new` leaves out those that are there
with all their amounts of labels.

Labels are drawn from the book's training split of the target, by the seed. None are spent on
validation: the last step's weights are scored, on the book's validation and test texts together.
Rates and passes were set on the embedded reviews and not on these sets, but for one that
book/transfer.md names. Random weights make twice the passes of learned ones; `gradual` makes one
pass more for each depth below the head.

While it runs, its files must not change: a task that was stopped goes on only where it finds the
commit that it began with.
"""

import copy
import dataclasses
import functools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks import HALF_DONE, RESULTS, chosen, finish, with_ends
from benchmarks.families import FAMILIES, Family
from tutorial_lib import data, evaluation, results, transfer
from tutorial_lib import transfer_probes as tp
from tutorial_lib.baselines import nbsvm
from tutorial_lib.results import Recorder
from tutorial_lib.transfer_probes import Texts
from tutorial_lib.vocabulary import SPECIAL

SEEDS = range(3)
SETS = {
    "ag-news": "ag_news", "finance": "financial_phrasebank_50", "imdb": "imdb",
    "medical": "medical_abstracts", "books": "amazon_books",
    "electronics": "amazon_electronics", "kitchen": "amazon_kitchen",
}  # fmt: skip
DOMAINS = ("books", "electronics", "kitchen")
JOURNEYS = (
    ("ag-news", "medical"),
    *((source, target) for source in ("finance", "imdb") for target in DOMAINS),
)
MATRIX = tuple((source, target) for source in DOMAINS for target in DOMAINS if source != target)
AMOUNTS = (20, 50, 100, 200, 500, 1_000)
AT = 100  # labels, where differences get intervals
# What the others are compared with, and the metric that holds it.
REFERENCES = {
    "from scratch": f"from scratch, {AT} labels", "NB-SVM": f"NB-SVM, {AT} labels",
    "no source task": f"no source task, {AT} labels", "source only": "source only",
}  # fmt: skip
MOST = 10_000  # training texts of a source


@dataclasses.dataclass(frozen=True)
class Domain:
    """A data set as source and as target: what may be learned from, and what is scored on."""

    learn: Texts
    score: Texts
    classes: list[str]
    provenance: Any

    @staticmethod
    @functools.cache
    def read(name: str) -> "Domain":
        """Load; the scored texts are the book's validation and test splits."""
        splits = data.load(SETS[name])
        return Domain(
            tp.read(splits, "train"), tp.read(splits, "validation", "test"),
            splits["train"].features["label"].names, data.provenance(splits),
        )  # fmt: skip

    @property
    def texts(self) -> Texts:
        """What is learned from it as a source."""
        return Texts(self.learn.strings[:MOST], self.learn.labels[:MOST])

    def places(self, classes: list[str]) -> list[int] | None:
        """Return where these classes stand among its own, by name; None if one is missing."""
        if not set(classes) <= set(self.classes):
            return None
        return [self.classes.index(name) for name in classes]

    def of_classes(self, places: list[int]) -> Texts:
        """Return what is learned from it, of some classes only, numbered in their order."""
        texts = self.texts.take(np.flatnonzero(np.isin(self.texts.labels, places)))
        return Texts(texts.strings, np.array([places.index(y) for y in texts.labels]))


class Source:
    """A model that has learned the source task, with all that is needed to carry it over.

    Attributes:
        right: its accuracy on texts of the source that it did not learn from.
        unchanged: its answers on the target where it has the target's classes, else None; as it
            was trained, so a word that it does not know is unknown.
        model, encode: to be carried over, with the words of both.
        known: the share of the target's words that it had before.
        batches: the texts of `right`, for `encode`.
        keep: where the target's classes stand among its own, if they do.
    """

    def __init__(self, family: Family, source: Domain, target: Domain, seed: int) -> None:
        torch.manual_seed(seed)
        encode, own = family.reader(source.texts)
        self.model = family.start(len(own) if own else 0, len(source.classes))
        options = {"lr": family.lr} if own else {"lr": family.tuned, "decay": family.decay}
        epochs = family.source_passes(len(source.texts.labels))
        tp.learn(self.model, source.texts, encode, epochs=epochs, seed=seed, **options)
        some = Texts(source.score.strings[:2_000], source.score.labels[:2_000])
        self.right = float((tp.answers(self.model, some, encode) == some.labels).mean())
        self.keep, self.unchanged = source.places(target.classes), None
        if self.keep is not None:
            kept = transfer.keep_classes(copy.deepcopy(self.model), self.keep)
            self.unchanged = tp.answers(kept, target.score, encode)
        self.encode, self.known = encode, {}
        if own:  # from here on it reads the words of both
            self.encode, both = family.reader(source.texts, target.learn)
            transfer.move_words(self.model, own, both)
            words = tp.vocabulary(target.learn).tokens[len(SPECIAL) :]
            self.known = {"words known": sum(word in own for word in words) / len(words)}
        self.batches = tp.batches(some, self.encode)


def alone(
    family: Family, target: Domain, texts: Texts, seed: int, *, pretrained: bool
) -> np.ndarray:
    """Return the answers of a model that has learned the target's texts without a source task."""
    torch.manual_seed(seed)
    encode, words = family.reader(target.learn)
    model = family.start(len(words) if words else 0, len(target.classes), pretrained=pretrained)
    if pretrained:
        tp.learn(model, texts, encode, lr=family.tuned, decay=family.decay, seed=seed)
    else:  # nothing to keep, and further to go
        twice = 2 * tp.passes(len(texts.labels))
        tp.learn(model, texts, encode, lr=family.lr, epochs=twice, seed=seed)
    return tp.answers(model, target.score, encode)


def networks(
    family: Family, target: Domain, learned: Source, texts: Texts, seed: int, run: Any
) -> dict[str, np.ndarray]:
    """Return the answers of every way to learn these texts; note what became of the source."""
    found = {"from scratch": alone(family, target, texts, seed, pretrained=False)}
    if family.is_albert:
        found["no source task"] = alone(family, target, texts, seed, pretrained=True)
    arguments = learned.model, texts, target.score, learned.encode
    options = {"lr": family.tuned, "decay": family.decay, "seed": seed}
    models, says = tp.strategies(*arguments, family.strategies, keep=learned.keep, **options)
    if learned.keep is not None:
        found["full, new head"] = tp.strategies(*arguments, ["full"], **options)[1]["full"]
    options = {"lr": family.lr, "decay": 1.0, "epochs": 2 * tp.passes(len(texts.labels))}
    found["full, as from scratch"] = tp.strategies(
        *arguments, ["full"], keep=learned.keep, seed=seed, **options
    )[1]["full"]
    if len(texts.labels) == AT:
        for name, model in models.items():
            lost = transfer.forgetting(learned.model, model, learned.batches)
            run.metrics[f"forgotten of the source, {name}"] = lost
    return found | says


def journey(task: str, names: tuple[str, str], kind: str, amounts: Sequence[int]) -> Recorder:
    """Measure one family on one pair of domains."""
    source, target = (Domain.read(name) for name in names)
    family = None if kind == "nbsvm" else FAMILIES[kind]
    title = f"{family.title if family else 'NB-SVM'}: {' to '.join(names)}"
    record = recorder(task, title, names, family, amounts)
    truth, classes, same = target.score.labels, len(target.classes), source.places(target.classes)
    for seed in record.left(SEEDS, HALF_DONE):
        with record.measure(seed) as run:
            learned = Source(family, source, target, seed) if family else None
            run.metrics = described(source, target, learned, seed)
            unchanged = source_only(source, target, learned, seed)
            if unchanged is not None:
                run.metrics["source only"] = float((unchanged == truth).mean())
            for amount in amounts:
                texts = target.learn.few(amount, seed)
                found = {"NB-SVM": tp.nbsvm(texts, target.score, seed)}
                if learned:
                    found |= networks(family, target, learned, texts, seed, run)
                elif same:
                    given = source.of_classes(same)
                    found["source and target together"] = tp.nbsvm(
                        given + texts, target.score, seed
                    )
                    run.metrics |= told(given, texts, seed)
                for name, predicted in found.items():
                    run.metrics[f"{name}, {amount} labels"] = float((predicted == truth).mean())
                    if classes > 2:  # of unequal size
                        matrix = evaluation.confusion_matrix(truth, predicted, classes)
                        run.metrics[f"{name}, {amount} labels, macro F1"] = float(
                            evaluation.macro_f1(matrix)
                        )
                if amount == AT:
                    if unchanged is not None:
                        found["source only"] = unchanged
                    run.metrics |= gaps(found, truth, classes)
            if learned:
                model = transfer.new_head(learned.model, classes)
                record.parameters = sum(p.numel() for p in model.parameters())
            else:
                record.parameters = nbsvm(*texts, target.score.strings)[1]
    return record


def told(source: Texts, texts: Texts, seed: int) -> dict[str, float]:
    """Return what few labels themselves tell of NB-SVM on them, and of the source alone."""
    says = {
        "NB-SVM, cross-validated": tp.cross_validated(texts, seed),
        "source only": tp.nbsvm(source, texts, seed),
    }
    return {
        f"told by {len(texts.labels)} labels: {name}": float((answers == texts.labels).mean())
        for name, answers in says.items()
    }


def described(
    source: Domain, target: Domain, learned: Source | None, seed: int
) -> dict[str, float]:
    """Return what is known of a pair before a label of the target is."""
    if learned:
        return {"source accuracy": learned.right, **learned.known}
    pair = source.learn.strings, target.learn.strings
    return {"distance": transfer.domain_distance(*pair, seed=seed)}


def source_only(
    source: Domain, target: Domain, learned: Source | None, seed: int
) -> np.ndarray | None:
    """Return what the source's model says of the target; None where its classes are others."""
    if learned:
        return learned.unchanged
    same = source.places(target.classes)
    return tp.nbsvm(source.of_classes(same), target.score, seed) if same else None


def gaps(found: dict[str, np.ndarray], truth: np.ndarray, classes: int) -> dict[str, float]:
    """Return how far each way is from each reference that there is, with its 95 % interval."""
    metrics, order = {}, list(REFERENCES)
    for place, other in enumerate(order):
        for name in found:
            if other in found and name not in (*order[: place + 1], *order[:2]):
                gap = evaluation.paired_bootstrap(truth, found[name], found[other], classes)
                metrics |= with_ends(f"{AT} labels: {name} minus {other}", gap)
    return metrics


def recorder(
    task: str,
    model: str,
    names: tuple[str, str],
    family: Family | None,
    amounts: Sequence[int],
    *,
    module: str = "benchmarks.transfer",
    **more: Any,
) -> Recorder:
    """Return a recorder of a task from one domain to another.

    Args:
        more: settings that differ from those of the grid.
    """
    source, target = (Domain.read(name) for name in names)
    given, same = source.texts, source.places(target.classes)
    if not family:  # a bag of words can only learn the target's classes from a source
        given = source.of_classes(same or [])
    settings: dict[str, Any] = {
        "source": SETS[names[0]], "source_sha256": source.provenance.sha256,
        "source_texts": len(given.labels), "labels": list(amounts),
    }  # fmt: skip
    if family:
        settings |= {
            **family.sizes,
            "lr": family.lr,
            "tuned": family.tuned,
            "decay": family.decay,
            "schedule": "slanted",
            "warmup": 0.1,
            "length": tp.LONGEST,
            "token_budget": tp.BUDGET,
            "passes": [tp.passes(n) for n in amounts],
            "passes_from_scratch": "twice as many",
            "source_passes": family.source_passes(len(source.texts.labels)),
        }
        if family.low_rank:
            settings |= {"rank": 8, "alpha": 8.0, "low_rank_lr": 2 * family.tuned}
    return Recorder(
        task=task, model=model, data=target.provenance, hyperparameters=settings | more,
        protocol="the book's validation and test texts, by labels",
        command=f"python -m {module} {task}",
        precision=None if family else "float64",
    )  # fmt: skip


TASKS: dict[str, functools.partial[Recorder]] = {
    f"transfer-{'-'.join(names)}-{kind}": functools.partial(
        journey, names=names, kind=kind, amounts=AMOUNTS if names in JOURNEYS else [AT]
    )
    for names in (*JOURNEYS, *MATRIX)
    for kind in ("nbsvm", *FAMILIES)
}


def is_recorded(task: str) -> bool:
    """Tell whether a task has been run with all its amounts of labels."""
    path, amounts = RESULTS / f"{task}.json", TASKS[task].keywords["amounts"]
    return path.exists() and results.read(path).hyperparameters["labels"] == list(amounts)


if __name__ == "__main__":
    named = [name for name in sys.argv[1:] if name != "--new"]
    if "--new" in sys.argv:
        named = [n for n in named or TASKS if n not in TASKS or not is_recorded(n)]
        if not named:
            raise SystemExit("all of them are recorded")
    task = chosen("benchmarks.transfer", named, TASKS)
    if task:
        finish(TASKS[task](task))
