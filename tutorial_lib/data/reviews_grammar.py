"""The grammar behind the embedded corpus `reviews`: one sign in, one review out.

A review is written from templates such as `the {asp} {is} [not] {adj}`. A name in braces is a
slot, filled from the lexicon of the language (`lexicon/reviews_en.json`, `reviews_zh.json`);
square brackets mark the words that decide the label and do not reach the text. Each phenomenon
is one function that takes the sign the reader must find (+1, -1) and chooses the polarity of
the words so that the sentence means that sign. The truth is therefore known by construction.

Only `random.Random.random` is drawn from: it is the one method whose stream Python promises
never to change.
"""

import functools
import json
import random
import re
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, NamedTuple, no_type_check

LANGUAGES = ("en", "zh")
DOMAINS = ("film", "books", "kitchen", "electronics", "hotel")
_SLOT = re.compile(r"\{(\w+)\}")
# a(n): "an" before a vowel that is heard as one
_ARTICLE = re.compile(r"\ba\(n\)(?= \[?(?!use|eu|one\b|unique|unif|univ)([aeiou]|hon|hour|heir))?")
_SHORTEST = 15  # words, or Chinese characters
_FACT = ""  # a place in a review where a neutral sentence goes


class Step(NamedTuple):
    """One step of a derivation: the rule that was used, its template, and what came of it."""

    rule: str
    template: str
    text: str


@functools.cache
def lexicon(language: str) -> dict[str, Any]:
    """Return the words and templates of a language."""
    path = resources.files(__package__) / "lexicon" / f"reviews_{language}.json"
    return json.loads(path.read_text(encoding="utf-8"))


@no_type_check  # called a hundred times a review: checking annotations in tests takes minutes
class Dice:
    """Random choices that are the same on every machine and Python."""

    def __init__(self, seed: str):
        self.random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def pick(self, options: Sequence[Any]) -> Any:
        return options[int(self.random() * len(options))]

    def skewed(self, options: Sequence[Any]) -> Any:
        """Pick the first options more often than the last, as language does."""
        mark = self.random()
        return options[int(mark * mark * mark * len(options))]

    def weighted(self, weights: dict[str, float]) -> str:
        options = [option for option, weight in weights.items() if weight > 0]
        mark = self.random() * sum(weights.values())
        for option in options[:-1]:
            mark -= weights[option]
            if mark < 0:
                return option
        return options[-1]

    def shuffled(self, items: Sequence[Any]) -> list[Any]:
        order = sorted((self.random(), i) for i in range(len(items)))
        return [items[i] for _, i in order]


@no_type_check
class Writer:
    """Writes the sentences of one review; remembers what it used and how."""

    def __init__(self, language: str, domain: str, dice: Dice):
        self.lexicon = lexicon(language)
        self.domain = self.lexicon[domain]
        self.facts = self.lexicon["facts"]["common"] + self.lexicon["facts"][domain]
        self.dice = dice
        self.steps: list[Step] = []
        self.negated = False
        self._used: set[str] = set()
        self._aspects = dice.shuffled(self.domain["aspects"])
        self._words = {
            **self.lexicon["words"],
            "item": [dice.pick(self.domain["item"])],
            "rival": [dice.pick(self.domain["rival"])],
        }

    def fresh(self, options: Sequence[str], how: Callable | None = None) -> str:
        """Pick an option that this review has not used yet, where there is one."""
        for _ in range(8):
            option = (how or self.dice.skewed)(options)
            if option not in self._used:
                break
        self._used.add(option)
        return option

    def fill(self, template: str, slots: dict[str, Any]) -> str:
        """Replace each `{slot}`: by `slots` where it is there, else from the lexicon."""

        def value(match: re.Match) -> str:
            slot = slots.get(match[1])
            if slot is None:
                options = self._words[match[1]]
                return self.fill(self.fresh(options, self.dice.pick), {})
            return slot() if callable(slot) else slot

        return _SLOT.sub(value, template)

    def write(self, rule: str, templates: Sequence[str], slots: dict[str, Any]) -> str:
        """Fill one of the templates and note the step."""
        template = self.fresh(templates, self.dice.pick if rule == "fact" else None)
        text = _ARTICLE.sub(lambda m: "an" if m[1] else "a", self.fill(template, slots))
        self.steps.append(Step(rule, template, unmarked(text)))
        return text

    def fact(self) -> str:
        """Return a sentence that says nothing about quality."""
        return self.write("fact", self.facts, {})

    def opinion(self, sign: int) -> dict[str, Any]:
        """Return the slots of an opinion whose words have this polarity, about a new aspect."""
        aspect = self._aspects.pop()
        names, plurals = aspect["names"], aspect.get("plurals", [])
        name = self.dice.pick(names + plurals)
        number = self.lexicon["numbers"]["plural" if name in plurals else "singular"]
        side, opposite = ("positive", "negative") if sign > 0 else ("negative", "positive")
        general, against = self.lexicon["general"][side], self.lexicon["general"][opposite]

        def word(options: list[str], change: Callable[[str], str] = str) -> Callable[[], str]:
            return lambda: f"[{change(self.fresh(options))}]"

        def adjective() -> str:
            of_aspect = self.dice.chance(0.7)
            return f"[{self.fresh(aspect[side] if of_aspect else general['adjectives'])}]"

        return {
            **{key: form[0] for key, form in number.items()},
            "asp": name,
            "adj": adjective,
            "gadj": word(general["adjectives"]),
            "noun": word(general["nouns"]),
            "thing": word(self.domain[side]["things"]),
            "verb": word(general["verbs"]),
            "verbs": word(general["verbs"], third_person),
            "averb": word(general["verbs"], str if name in plurals else third_person),
            "feel": word(general["feelings"], lambda pair: pair.partition("/")[0]),
            "felt": word(general["feelings"], lambda pair: pair.rpartition("/")[2]),
            "other": lambda: self.fresh(aspect[opposite]),
            "gother": lambda: self.fresh(against["adjectives"]),
        }

    def clause(self, sign: int, form: str = "plain") -> str:
        """Return a clause that means `sign`, in a form of `clauses` in the lexicon."""
        self.negated |= not form.startswith("plain")
        polarity = -sign if form.startswith("negated") else sign
        return self.write(form, self.lexicon["clauses"][form], self.opinion(polarity))


def unmarked(text: str) -> str:
    """Return the text without the brackets that mark evidence."""
    return text.replace("[", "").replace("]", "")


def third_person(verb: str) -> str:
    """Return the third person singular of an English verb: satisfy, satisfies."""
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "sh", "ch", "x", "z")) else "s")


def _any_form(writer: Writer) -> str:
    """Mostly plain; now and then a negation inside another phenomenon."""
    return writer.dice.weighted({"plain": 0.85, "negated": 0.1, "double": 0.05})


def plain(writer: Writer, sign: int) -> list[str]:
    forms = [writer.dice.pick(("plain", "plain", "plain_alone")), "plain", "plain"]
    return [writer.clause(sign, form) for form in forms[: writer.dice.pick((1, 2, 2, 3))]]


def negation(writer: Writer, sign: int) -> list[str]:
    weights = {"negated": 0.6, "negated_alone": 0.15, "double": 0.25}
    return [writer.clause(sign, writer.dice.weighted(weights))] + _support(writer, sign)


def contrast(writer: Writer, sign: int) -> list[str]:
    """The main clause counts; the conceded one, introduced by although, granted …, does not."""
    slots = {
        "no": unmarked(writer.clause(-sign, _any_form(writer))),
        "yes": writer.clause(sign, _any_form(writer)),
    }
    return [writer.write("contrast", writer.lexicon["contrast"], slots)] + _support(writer, sign)


def intensity(writer: Writer, sign: int) -> list[str]:
    """Of two opposite opinions the stronger one counts, wherever it stands."""
    slots, second = writer.opinion(sign), writer.opinion(sign)
    between = writer.lexicon["between"]
    slots |= {
        # a general word, so that nothing is both "a shade dim" and "utterly bright"
        "high": f"[{writer.fill('{strong}', {})}]{between}{slots['gadj']()}",
        "low": f"{writer.fill('{weak}', {})}{between}{slots['other']()}",
        "low2": f"{writer.fill('{weak}', {})}{between}{second['other']()}",
        "asp2": second["asp"],
        "is2": second.get("is", ""),
    }
    return [writer.write("intensity", writer.lexicon["intensity"], slots)] + _support(writer, sign)


def mixed(writer: Writer, sign: int) -> list[str]:
    """Several aspects, opposite opinions; the reviewer says which aspect matters."""
    rules, clauses = writer.lexicon["mixed"], writer.lexicon["clauses"]["plain"]
    of_aspect = [t for t in clauses if "{asp}" in t and "{adj}" in t]
    slots = writer.opinion(sign)
    signs = (-sign,) if writer.dice.chance(0.6) else (-sign, sign)
    others = [unmarked(writer.write("plain", of_aspect, writer.opinion(s))) for s in signs]
    if writer.dice.chance(0.8):
        return writer.dice.shuffled([writer.write("mixed", rules["inline"], slots), *others])
    opinions = writer.dice.shuffled([writer.write("plain", of_aspect, slots), *others])
    named = {**slots, "asp": f"[{slots['asp']}]"}
    stated = writer.write("mixed", rules["stated"], named)
    return [stated, *opinions] if writer.dice.chance(0.5) else [*opinions, stated]


def comparison(writer: Writer, sign: int) -> list[str]:
    """What is said of another product does not count; `less … than` turns the opinion round."""
    return _either_way(writer, sign, "comparison") + _support(writer, sign)


def hypothetical(writer: Writer, sign: int) -> list[str]:
    """An expectation counts as it is where it came true, and the other way round where not."""
    return _either_way(writer, sign, "hypothetical") + _support(writer, sign)


def long_range(writer: Writer, sign: int) -> list[str]:
    """A first sentence says whether to believe the opinion that comes several sentences on."""
    turned = writer.dice.chance(0.5)
    cues = writer.lexicon["long_range"]["flipped" if turned else "kept"]
    cue = writer.write("long_range", cues, {})
    told = -sign if turned else sign
    opinions = [writer.clause(told) for _ in range(writer.dice.pick((1, 2, 2)))]
    return [cue, *[_FACT] * writer.dice.pick((2, 2, 3, 4)), *opinions]


PHENOMENA = {
    f.__name__: f
    for f in (
        plain,
        negation,
        contrast,
        intensity,
        mixed,
        comparison,
        hypothetical,
        long_range,
    )
}


def _either_way(writer: Writer, sign: int, rule: str) -> list[str]:
    turned = writer.dice.chance(0.5)
    templates = writer.lexicon[rule]["flipped" if turned else "kept"]
    return [writer.write(rule, templates, writer.opinion(-sign if turned else sign))]


def _support(writer: Writer, sign: int) -> list[str]:
    """A plain opinion of the same sign, now and then."""
    return [writer.clause(sign)] if writer.dice.chance(0.6) else []


def write_review(writer: Writer, phenomenon: str, sign: int) -> tuple[str, list[list[int]]]:
    """Return the text of a review that means `sign`, and the spans that decide so."""
    sentences = PHENOMENA[phenomenon](writer, sign)
    before = 0 if phenomenon == "long_range" else writer.dice.pick((0, 0, 1, 1, 2, 3))
    sentences = [_FACT] * before + sentences + [_FACT] * writer.dice.pick((0, 0, 1, 1, 2))
    ended = [_ended(writer, s or writer.fact(), s == _FACT) for s in sentences]
    while sum(len(re.findall(r"[\u4e00-\u9fff]|[\w'-]+", s)) for s in ended) < _SHORTEST:
        ended.append(_ended(writer, writer.fact(), True))
    return evidence(writer.lexicon["between"].join(ended))


def _ended(writer: Writer, sentence: str, is_fact: bool) -> str:
    """Return the sentence with its capital and full stop."""
    stop, bang, ends = writer.lexicon["stops"]
    sentence = re.sub(r"^\[?\w", lambda m: m[0].upper(), sentence)
    if sentence.endswith(tuple(ends)):
        return sentence
    return sentence + (bang if not is_fact and writer.dice.chance(0.1) else stop)


def evidence(marked: str) -> tuple[str, list[list[int]]]:
    """Return the text without its marks, and the [start, end) of each marked stretch."""
    spans, text = [], ""
    for piece in re.split(r"(\[[^\]]*\])", marked):
        if piece.startswith("["):
            spans.append([len(text), len(text) + len(piece) - 2])
        text += unmarked(piece)
    return text, spans
