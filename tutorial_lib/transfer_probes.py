"""Chapter 09: the experiment around `transfer`: texts of domains, few labels, answers.

A text is a string; `Texts` are some of them with their classes. What a network reads of it is
made by a `Read`: word numbers by a vocabulary (`words`), or a tokenizer's (`pieces`).
"""

import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import nn

from tutorial_lib import baselines, data, evaluation, finetuning, text, training, transfer
from tutorial_lib.cnn import TextCNN
from tutorial_lib.data.batches import Batches
from tutorial_lib.evaluation import Interval
from tutorial_lib.training import TrainConfig
from tutorial_lib.vocabulary import Vocabulary

if TYPE_CHECKING:
    import datasets
    import tokenizers

LONGEST = 128  # words or pieces that a network reads of a text
BUDGET = 1_200  # tokens of a training batch
FEWEST, MOST = 4, 30  # passes over the texts, however many they are
Read = Callable[[Sequence[str]], list[np.ndarray]]


class Texts(NamedTuple):
    """Texts and their classes."""

    strings: list[str]
    labels: Int64[np.ndarray, "N"]

    def few(self, size: int, seed: int = 0) -> "Texts":
        """Return so many of them, drawn by the seed, each class in proportion.

        Raises:
            ValueError: as for `data.stratified`.
        """
        return self.take(data.stratified(self.labels, size, seed))

    def take(self, rows: Int64[np.ndarray, "K"]) -> "Texts":
        """Return those with these numbers, in this order."""
        return Texts([self.strings[row] for row in rows], self.labels[rows])

    def halves(self) -> tuple["Texts", "Texts"]:
        """Return the first half of them and the second."""
        middle = len(self.labels) // 2
        return (
            Texts(self.strings[:middle], self.labels[:middle]),
            Texts(self.strings[middle:], self.labels[middle:]),
        )

    def __add__(self, other: "Texts") -> "Texts":
        return Texts(self.strings + other.strings, np.concatenate([self.labels, other.labels]))


def read(splits: "datasets.DatasetDict", *names: str, most: int | None = None) -> Texts:
    """Return the texts of these splits, one split after the other.

    Args:
        most: texts of each split, its first ones; all if None.
    """
    strings, labels = [], []
    for name in names:
        rows = splits[name][:most]
        strings += rows["text"]
        labels += rows["label"]
    return Texts(strings, np.array(labels))


def ends(string: str) -> list[str]:
    """Return a text's words; of a long text a quarter from its beginning, the rest from its end."""
    return text.cut_middle(text.words(string), LONGEST)


def vocabulary(*parts: Texts, max_size: int | None = None) -> Vocabulary:
    """Return the words that occur twice in what networks read of these texts."""
    tokens = (ends(string) for part in parts for string in part.strings)
    return Vocabulary.build(tokens, 2, max_size)


def words(vocabulary: Vocabulary) -> Read:
    """Return what turns texts into word numbers."""
    return functools.partial(text.encode, tokenize=ends, vocabulary=vocabulary)


def pieces(tokenizer: "tokenizers.Tokenizer") -> Read:
    """Return what turns texts into a pre-trained encoder's pieces of words."""
    return functools.partial(finetuning.encode, tokenizer=tokenizer, max_length=LONGEST)


def batches(texts: Texts, encode: Read, seed: int | None = None) -> Batches:
    """Return batches for training, shuffled by the seed, or in order for scoring."""
    return data.batches(
        encode(texts.strings), texts.labels, shuffle=seed is not None, seed=seed or 0,
        token_budget=8_000 if seed is None else BUDGET,
    )  # fmt: skip


def network(words: int, classes: int = 2, seed: int = 0) -> TextCNN:
    """Return the chapter's network for so many words, with the random weights of this seed."""
    torch.manual_seed(seed)
    return TextCNN(words, classes, embedding=100)


def passes(size: int) -> int:
    """Return how often to go over so many texts: some 3,000 are read, within limits."""
    return int(np.clip(3_000 // size, FEWEST, MOST))


def learn(
    model: nn.Module,
    texts: Texts,
    encode: Read,
    strategy: str = "full",
    *,
    lr: float,
    decay: float = 1.0,
    epochs: int | None = None,
    seed: int = 0,
    **more: Any,
) -> nn.Module:
    """Train a model on texts by a strategy of `transfer.adapt`; return it.

    Args:
        epochs: over the texts; `passes` if None.
        seed: of the order of the texts, of dropout and of what begins at random.
        more: for `transfer.adapt`.
    """
    torch.manual_seed(seed)
    config = TrainConfig(
        epochs or passes(len(texts.labels)), lr, schedule="slanted", warmup=0.1, seed=seed
    )
    transfer.adapt(model, strategy, batches(texts, encode, seed), config, decay=decay, **more)
    return model


def answers(model: nn.Module, texts: Texts, encode: Read) -> Int64[np.ndarray, "N"]:
    """Return the class that a model gives each text."""
    return training.predict_classes(model, batches(texts, encode))


def share(says: Int64[np.ndarray, "N"], texts: Texts) -> Interval:
    """Return the share of right answers, with its 95 % interval over the texts."""
    return evaluation.bootstrap(texts.labels, says, _classes(texts, says))


def shares(says: Mapping[str, Int64[np.ndarray, "N"]], texts: Texts) -> dict[str, Interval]:
    """Return `share` of each of some answers."""
    return {name: share(one, texts) for name, one in says.items()}


def right(model: nn.Module, texts: Texts, encode: Read) -> Interval:
    """Return the share of these texts that a model gets right."""
    return share(answers(model, texts, encode), texts)


def lead(a: Int64[np.ndarray, "N"], b: Int64[np.ndarray, "N"], texts: Texts) -> Interval:
    """Return how many more of the answers a are right than of b, with the paired interval."""
    return evaluation.paired_bootstrap(texts.labels, a, b, _classes(texts, a, b))


class Cost(NamedTuple):
    """What a model that was carried over gains, or loses, beside one from scratch.

    Attributes:
        whole: accuracy minus that of the model from scratch; the sum of the other two.
        source: minus that of random weights with the same strategy.
        strategy: of random weights with this strategy, minus that of the model from scratch.
    """

    whole: Interval
    source: Interval
    strategy: Interval

    def __str__(self) -> str:
        return f"{self.whole}\n  source   {self.source}\n  strategy {self.strategy}"


def cost(
    carried: Int64[np.ndarray, "N"],
    random: Int64[np.ndarray, "N"],
    scratch: Int64[np.ndarray, "N"],
    texts: Texts,
) -> Cost:
    """Tell what the source does to a model from what the strategy does to it.

    Args:
        carried: answers of a model that has learned the source and then, by a strategy, the target.
        random: of the same network without the source, by the same strategy.
        scratch: of one without the source and without the strategy.

    Source: Wang et al. 2019, "Characterizing and Avoiding Negative Transfer", section 3.1: the
    source is judged with all else the same.
    """
    pairs = ((carried, scratch), (carried, random), (random, scratch))
    return Cost(*(lead(a, b, texts) for a, b in pairs))


def nbsvm(texts: Texts, asked: Texts, seed: int = 0) -> Int64[np.ndarray, "N"]:
    """Return the classes that NB-SVM, trained on texts, gives others; it reads all of each."""
    return baselines.nbsvm(*texts, asked.strings, seed)[0]


def cross_validated(texts: Texts, seed: int = 0) -> Int64[np.ndarray, "N"]:
    """Return the class that NB-SVM gives each text, trained on the other four fifths of them.

    Raises:
        ValueError: no class has five texts.
    """
    from sklearn.model_selection import StratifiedKFold

    found = np.empty_like(texts.labels)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    for rest, fold in folds.split(texts.strings, texts.labels):
        found[fold] = nbsvm(texts.take(rest), texts.take(fold), seed)
    return found


class Matrix(NamedTuple):
    """What each domain, in rows, is worth to each other, in columns.

    Attributes:
        untrained: accuracy on the target of the source's model, only its words moved; on the
            diagonal, of a domain's model on the domain itself.
        tuned: the same after fine-tuning with few labels; NaN on the diagonal.
        distance: proxy A-distance; NaN on the diagonal.
    """

    untrained: Float[np.ndarray, "D D"]
    tuned: Float[np.ndarray, "D D"]
    distance: Float[np.ndarray, "D D"]


def matrix(
    learned: Mapping[str, Texts],
    scored: Mapping[str, Texts],
    make: Callable[[int], nn.Module],
    labels: int,
    *,
    lr: float = 2e-3,
    decay: float = 0.6,
    epochs: int | None = None,
    compared: int = 1_000,
) -> Matrix:
    """Carry a model of words from each domain to each other.

    Args:
        learned, scored: texts of each domain, all with the same classes.
        make: a model for so many words.
        labels: of the target.
        lr: on the source; half of it on the target, lower below by `decay`.
        epochs: over the labels of the target; `passes` if None.
        compared: texts of a domain for the distance.
    """
    found = np.full((3, len(learned), len(learned)), np.nan)
    for i, (source, texts) in enumerate(learned.items()):
        own = vocabulary(texts)
        torch.manual_seed(0)
        first = learn(make(len(own)), texts, words(own), lr=lr)
        for j, (target, others) in enumerate(learned.items()):
            # On the diagonal nothing moves: two copies of a text would make rare words common.
            both = own if source == target else vocabulary(texts, others)
            model = copy.deepcopy(first)
            transfer.move_words(model, own, both)
            encode = words(both)

            def right(model: nn.Module, target: str = target, encode: Read = encode) -> float:
                says = answers(model, scored[target], encode)
                return float((says == scored[target].labels).mean())

            found[0, i, j] = right(model)
            if source != target:
                learn(model, others.few(labels), encode, lr=lr / 2, decay=decay, epochs=epochs)
                found[1, i, j] = right(model)
            if i < j:
                pair = texts.strings[:compared], others.strings[:compared]
                found[2, i, j] = found[2, j, i] = transfer.domain_distance(*pair)
    return Matrix(*found)


def strategies(
    model: nn.Module,
    texts: Texts,
    scored: Texts,
    encode: Read,
    names: Iterable[str],
    *,
    lr: float,
    low_rank_lr: float | None = None,
    decay: float = 0.6,
    keep: Sequence[int] | None = None,
    seed: int = 0,
    **more: Any,
) -> tuple[dict[str, nn.Module], dict[str, Int64[np.ndarray, "N"]]]:
    """Carry copies of a model to a target, by each strategy; return them and their answers.

    Args:
        model: what the source has taught, its words moved; it stays as it is.
        texts, scored: of the target: to learn from, and to be asked.
        lr: of the head.
        low_rank_lr: of head and factors in `lora`, which have further to go; twice `lr` if None.
        keep: the classes of the source's head that begin the target's; a new head if None.
        seed: of everything that is random.
        more: for `learn`.
    """
    models, says = {}, {}
    classes = _classes(texts, scored.labels)
    for name in names:
        start = copy.deepcopy(model)
        torch.manual_seed(seed)
        if keep is None:
            transfer.new_head(start, classes)
        else:
            transfer.keep_classes(start, keep)
        rate = (low_rank_lr or 2 * lr) if name == "lora" else lr
        models[name] = learn(start, texts, encode, name, lr=rate, decay=decay, seed=seed, **more)
        says[name] = answers(start, scored, encode)
    return models, says


def _classes(texts: Texts, *labels: Int64[np.ndarray, "N"]) -> int:
    return int(max(some.max() for some in (texts.labels, *labels))) + 1
