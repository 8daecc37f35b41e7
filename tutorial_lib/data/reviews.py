"""The embedded corpus `reviews`: product and film reviews whose truth is known.

The reviews come from a small grammar (`reviews_grammar`), so nothing has to be downloaded, and
three things are known that no real corpus tells: the best possible accuracy (`1 - noise`,
because a text means one thing only and the noise is drawn without looking at it), the
phenomena in each text, and the words that decide its label.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .provenance import attach
from .reviews_grammar import DOMAINS, LANGUAGES, PHENOMENA, Dice, Step, Writer, write_review

if TYPE_CHECKING:
    import datasets

CLASSES = ("negative", "positive")
SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}
# How often each phenomenon is the main one of a review.
MIX = {
    "plain": 0.42,
    "negation": 0.16,
    "contrast": 0.10,
    "intensity": 0.07,
    "mixed": 0.04,
    "comparison": 0.07,
    "hypothetical": 0.07,
    "long_range": 0.07,
}


@dataclasses.dataclass(frozen=True)
class Review:
    """One review with everything that is known about it.

    Attributes:
        text: what the reader sees.
        label: what the text means: 0 negative, 1 positive.
        domain: one of `DOMAINS`.
        language: one of `LANGUAGES`.
        phenomena: the main phenomenon first; `negation` too where it occurs in another.
        evidence: the [start, end) character positions of the words that decide the label.
        derivation: the rules that wrote the text, in the order in which they were used.
    """

    text: str
    label: int
    domain: str
    language: str
    phenomena: list[str]
    evidence: list[list[int]]
    derivation: list[Step]


def sample(
    seed: int = 0,
    *,
    language: str = "en",
    domain: str = "film",
    phenomenon: str = "plain",
    label: int = 1,
) -> Review:
    """Return one review with its full derivation, to look at the grammar at work.

    Raises:
        ValueError: an unknown language, domain, phenomenon or label.
    """
    _one_of("language", language, LANGUAGES)
    _one_of("domain", domain, DOMAINS)
    _one_of("phenomenon", phenomenon, PHENOMENA)
    _one_of("label", label, (0, 1))
    dice = Dice(f"review {seed} {language} {domain} {phenomenon} {label}")
    return _review(dice, language, domain, phenomenon, label)


def dataset(
    n: int = 10_000,
    *,
    seed: int = 0,
    domains: Sequence[str] = DOMAINS,
    language: str = "en",
    noise: float = 0.05,
    balance: float = 0.5,
    phenomena: Mapping[str, float | int] = MIX,
) -> "datasets.DatasetDict":
    """Return `n` different reviews in the splits train, validation and test (80/10/10).

    The same arguments give the same rows on every machine. In each split the share of positive
    reviews is `balance` and the share of wrong labels is `noise`, both exact to one row; so no
    model can expect more than `ceiling(split)`, which is `1 - noise`.

    Args:
        n: rows in all, at least 10.
        seed: another seed, another corpus.
        domains: one or more of `DOMAINS`, drawn with equal chances.
        language: `en` or `zh`.
        noise: share of labels that are flipped, at least 0 and below 0.5.
        balance: share of positive reviews before the noise, between 0 and 1.
        phenomena: how often each is the main one; the weights need not sum to 1.

    Returns:
        Columns `text`, `label`, `clean_label` (before the noise), `domain`, `language`,
        `phenomena` and `evidence`, as in `Review`.

    Raises:
        ValueError: an argument is out of range or unknown; the message lists what is allowed.
    """
    _check(n, domains, language, noise, balance, phenomena)
    dice = Dice(f"reviews {seed} {language}")
    held_out = {name: int(n * share) for name, share in SPLITS.items() if name != "train"}
    sizes = {"train": n - sum(held_out.values()), **held_out}
    weights = dict(phenomena)
    seen: set[str] = set()
    rows = {}
    for split, size in sizes.items():
        rows[split] = []
        for label in _exact(dice, balance, size):
            review = None
            while review is None or review.text in seen:
                chosen = dice.pick(domains), dice.weighted(weights), label
                review = _review(dice, language, *chosen)
            seen.add(review.text)
            rows[split].append(review)
    flips = {split: _exact(dice, noise, size) for split, size in sizes.items()}
    title = f"reviews from a grammar, {language}, {', '.join(domains)}, {noise:.0%} label noise"
    return attach(_tables(rows, flips), name="reviews", title=title, source="embedded")


def ceiling(split: "datasets.Dataset") -> float:
    """Return the best accuracy to expect on this split: the share of labels that are not noise.

    Whoever understands every text predicts `clean_label` and is right this often.
    """
    pairs = zip(split["label"], split["clean_label"], strict=True)
    return sum(label == clean for label, clean in pairs) / len(split)


def _review(dice: Dice, language: str, domain: str, phenomenon: str, label: int) -> Review:
    writer = Writer(language, domain, dice)
    text, evidence = write_review(writer, phenomenon, 1 if label else -1)
    phenomena = [phenomenon]
    if writer.negated and phenomenon != "negation":
        phenomena.append("negation")
    return Review(text, label, domain, language, phenomena, evidence, writer.steps)


def _exact(dice: Dice, share: float, size: int) -> list[int]:
    """Return `size` zeros and ones in random order, `share` of them ones."""
    ones = round(share * size)
    return dice.shuffled([1] * ones + [0] * (size - ones))


def _tables(rows: dict[str, list[Review]], flips: dict[str, list[int]]) -> "datasets.DatasetDict":
    import datasets

    text, classes = datasets.Value("string"), datasets.ClassLabel(names=list(CLASSES))
    features = datasets.Features(
        text=text,
        label=classes,
        clean_label=classes,
        domain=text,
        language=text,
        phenomena=datasets.Sequence(text),
        evidence=datasets.Sequence(datasets.Sequence(datasets.Value("int32"))),
    )

    def table(split: str) -> datasets.Dataset:
        columns = {name: [getattr(r, name, None) for r in rows[split]] for name in features}
        columns["clean_label"] = columns["label"]
        pairs = zip(columns["label"], flips[split], strict=True)
        columns["label"] = [label ^ flip for label, flip in pairs]
        return datasets.Dataset.from_dict(
            columns, features=features, split=datasets.NamedSplit(split)
        )

    return datasets.DatasetDict({split: table(split) for split in rows})


def _check(n, domains, language, noise, balance, phenomena) -> None:
    if n < 10:
        raise ValueError(f"n is {n}; three splits need at least 10 reviews")
    if isinstance(domains, str) or not domains:
        raise ValueError(f"domains is {domains!r}; give a list of {', '.join(DOMAINS)}")
    for domain in domains:
        _one_of("domain", domain, DOMAINS)
    _one_of("language", language, LANGUAGES)
    if not 0 <= noise < 0.5:
        raise ValueError(f"noise is {noise}; it must be at least 0 and below 0.5")
    if not 0 < balance < 1:
        raise ValueError(f"balance is {balance}; it must lie between 0 and 1")
    for phenomenon, weight in phenomena.items():
        _one_of("phenomenon", phenomenon, PHENOMENA)
        if not weight >= 0:
            raise ValueError(f"the weight of {phenomenon} is {weight}; it must not be negative")
    if not sum(phenomena.values()) > 0:
        raise ValueError(f"no phenomenon has a weight; choose from {', '.join(PHENOMENA)}")


def _one_of(what: str, value: object, allowed) -> None:
    if value not in allowed:
        raise ValueError(f"unknown {what} {value!r}; choose from {', '.join(map(str, allowed))}")
