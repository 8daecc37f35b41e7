"""The texts that the mini-ALBERT reads, without a word of what the book scores models on.

    python -m benchmarks.pretraining_corpus     (writes the corpus, prints the check)

Needs the real data sets (TUTORIAL_DATA). Training texts only; mr, sst2 and its phrases stay out,
because mr is scored by ten folds, so that each of its sentences is a test text, and sst2 holds
the same sentences; medical_abstracts stays out because only its test set can be had.

Then the check: no 8 words in a row may also stand in a validation or test text, nor a whole such
text of 4 to 7 words; one of fewer words may not be a document. A sentence that touches such words
is left out and its document cut there, so that no new neighbours arise; a document of which such
sentences are more than a tenth is left out whole. Dropping every document with one such run would
cost most long reviews: "one of the worst movies i have ever" stands in very many.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt64
from torch import Tensor

from tutorial_lib import data, text
from tutorial_lib.data.loading import cache_root
from tutorial_lib.pretraining import CLS, SEP, WORDS, word_starts

if TYPE_CHECKING:
    import tokenizers

NGRAM = 8
MOST_SHARED = 0.1  # share of a document's words in left-out sentences, above which all of it goes
LEAST_WORDS = 4  # of what a cut leaves of a document, and of a run that is looked for within one
TRAINING = (
    "imdb", "ag_news", "amazon_books", "amazon_electronics", "amazon_kitchen", "sms_spam",
    "financial_phrasebank_50", "trec6",
)  # fmt: skip
UNSCORED = {"newsgroups20": "train", "polarity_v2": "all"}  # sets that no chapter scores on
HELD_OUT = (*TRAINING, "sst2")
WHOLLY_HELD_OUT = ("mr", "medical_abstracts")
SPECIAL = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
TOKENIZER_TEXTS = 20_000  # read to train the tokenizer
RECORD = "overlap.json"
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n|(?<= \.)\s*\n")
_CLITIC = re.compile(r"\s+(?=n't\b|'\w)")  # "does n't", as some sets have it, is "doesn't"
_WORD = re.compile(r"\w+")


def documents() -> Iterator[tuple[str, str]]:
    """Yield the name of the set and each training text, before the check."""
    for name in TRAINING:
        for string in data.load(name)["train"]["text"]:
            yield name, string
    for name, split in UNSCORED.items():
        for string in _parquet(name, split):
            yield name, body(string) if name == "newsgroups20" else string


def held_out() -> Iterator[tuple[str, str]]:
    """Yield the name of the set and each text that models are scored or chosen on."""
    for name in HELD_OUT:
        splits = data.load(name)
        for split in ("validation", "test"):
            for string in splits[split]["text"]:
                yield name, string
    for name in WHOLLY_HELD_OUT:
        for rows in data.load(name, splits="official").values():
            for string in rows["text"]:
                yield name, string


def body(message: str) -> str:
    """Return a news message without its headers, quotations and signature."""
    lines = message.partition("\n\n")[2].partition("\n--")[0].split("\n")
    quoted = re.compile(r"^\s*[>|:}]|^In article|writes:\s*$|wrote:\s*$")
    return "\n".join(line for line in lines if not quoted.search(line))


def sentences(document: str) -> list[str]:
    """Cut a document into sentences, normalised."""
    cut = (text.normalize(part) for part in _SENTENCE.split(document.replace("<br />", " ")))
    return [sentence for sentence in cut if sentence]


def words(string: str) -> list[str]:
    """Return what counts as words in the check: lower case, no punctuation, no apostrophes."""
    while (plain := text.normalize(string)) != string:  # entities may hold tags, and so on
        string = plain
    return _WORD.findall(_CLITIC.sub("", plain.lower()).replace("'", ""))


class Hasher:
    """Turns runs of words into 64-bit numbers, alike for equal runs."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, word: str) -> int:
        """Return a number for a word, the same on every machine."""
        if word not in self.numbers:
            digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
            self.numbers[word] = int.from_bytes(digest, "little")
        return self.numbers[word]

    def ngrams(self, tokens: list[str], size: int) -> UInt64[np.ndarray, "runs"]:
        """Return a number for each run of so many words; runs of other sizes have others."""
        numbers = np.array([self.number(token) for token in tokens], np.uint64)
        runs = np.full(max(0, len(numbers) - size + 1), size, np.uint64)
        for k in range(size):  # a polynomial modulo 2 ** 64
            runs = runs * MULTIPLIER + numbers[k : len(runs) + k]
            runs ^= runs >> np.uint64(29)
        return runs


class Check:
    """What must not be read, and what was found of it."""

    def __init__(self, forbidden: Iterable[tuple[str, str]]) -> None:
        self.hasher, runs, self.compared = Hasher(), [], {}
        for name, string in forbidden:
            tokens = words(string)
            found = self.hasher.ngrams(tokens, min(NGRAM, max(1, len(tokens))))
            self.compared[name] = self.compared.get(name, 0) + len(found)
            runs.append(found)
        self.forbidden = np.unique(np.concatenate(runs))
        self.sources: dict[str, dict[str, int]] = {}

    def shared(self, tokens: list[str]) -> np.ndarray:
        """Return for each word whether it belongs to a run that is also held out."""
        covered = np.zeros(len(tokens), bool)
        for size in range(min(LEAST_WORDS, max(1, len(tokens))), NGRAM + 1):
            runs = self.hasher.ngrams(tokens, size)
            places = np.searchsorted(self.forbidden, runs).clip(max=len(self.forbidden) - 1)
            hits = np.flatnonzero(self.forbidden[places] == runs)
            for k in range(size):
                covered[hits + k] = True
        return covered

    def pieces(self, name: str, document: str) -> list[str]:
        """Return what may be read of a document, and count it."""
        count = self.sources.setdefault(name, dict.fromkeys(COUNTS, 0))
        parts = sentences(document)
        tokens = [words(part) for part in parts]
        lengths = np.array([len(t) for t in tokens], int)
        count["documents"] += 1
        count["words"] += int(lengths.sum())
        covered = self.shared([word for t in tokens for word in t])
        ends = lengths.cumsum()
        left_out = [covered[end - n : end].any() for end, n in zip(ends, lengths, strict=True)]
        lost = int(lengths[left_out].sum()) if parts else 0
        if lost > MOST_SHARED * lengths.sum():
            count["documents left out"] += 1
            count["words left out"] += int(lengths.sum())
            return []
        count["documents cut"] += lost > 0
        count["words left out"] += lost
        pieces: list[list[int]] = [[]]
        for place, out in enumerate(left_out):
            if out:
                pieces.append([])
            else:
                pieces[-1].append(place)
        return [
            " ".join(parts[place] for place in piece)
            for piece in pieces
            if sum(lengths[piece]) >= LEAST_WORDS
        ]

    def record(self) -> dict[str, Any]:
        """Return the check in words and numbers, for the file beside the model."""
        total = {key: sum(count[key] for count in self.sources.values()) for key in COUNTS}
        return {
            "rule": " ".join(" ".join(__doc__.split("\n\n")[2:]).split()),
            "held-out texts": self.compared | {"different runs": len(self.forbidden)},
            "read": self.sources | {"total": total},
        }


COUNTS = ("documents", "words", "documents left out", "documents cut", "words left out")


def checked() -> tuple[list[str], dict[str, Any]]:
    """Return all that may be read, in a fixed random order, each text once, and the record.

    Raises:
        AssertionError: something that is held out is still there.
    """
    check = Check(held_out())
    found = dict.fromkeys(
        piece for name, string in documents() for piece in check.pieces(name, string)
    )
    texts = sorted(found, key=lambda piece: hashlib.sha256(piece.encode()).digest())
    for piece in texts:
        if check.shared(words(piece)).any():
            raise AssertionError(f"this text shares {NGRAM} words with a held-out one: {piece}")
    record = check.record()
    record["kept"] = {"texts": len(texts), "words": sum(len(words(piece)) for piece in texts)}
    return texts, record


def train_tokenizer(texts: Iterable[str], size: int) -> "tokenizers.Tokenizer":
    """Return a tokenizer of ALBERT's kind: pieces of words, lower case, no accents.

    Its parts and the ids of its special tokens are those of the published ones, so that
    `transformers.AlbertTokenizer` gives the same ids. No piece holds both letters and marks.

    Source: Kudo 2018, "Subword Regularization" (the unigram language model).
    """
    from tokenizers import (
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )  # fmt: skip

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
        ]
    )
    published = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*published, pre_tokenizers.Punctuation()])
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(published)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    return tokenizer


class Corpus(NamedTuple):
    """What a run reads.

    Attributes:
        folder: where it lies.
        tokens, held_out: ids, `[SEP]` after each text; the second only to measure losses on.
        starts: see `word_starts`.
        tokenizer: that made the ids.
        record: of the check.
    """

    folder: Path
    tokens: np.ndarray
    held_out: np.ndarray
    starts: Tensor
    tokenizer: "tokenizers.Tokenizer"
    record: dict[str, Any]


def write(folder: Path, texts: list[str], record: dict[str, Any], vocabulary: int) -> None:
    """Write a corpus; one in a hundred texts, and one at least, is held out.

    Raises:
        ValueError: the texts do not give so large a vocabulary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(texts[:TOKENIZER_TEXTS], vocabulary)
    if tokenizer.get_vocab_size() != vocabulary:
        raise ValueError(
            f"the texts give a vocabulary of {tokenizer.get_vocab_size()}, not {vocabulary}"
        )
    for vectors in folder.glob("skip-gram-*"):  # of another corpus that was here
        vectors.unlink()
    cut = max(1, len(texts) // 100)
    counts = {}
    for name, part in (("held_out", texts[:cut]), ("tokens", texts[cut:])):
        with open(folder / f"{name}.bin", "wb") as file:
            for start in range(0, len(part), 1000):
                encodings = tokenizer.encode_batch(
                    part[start : start + 1000], add_special_tokens=False
                )
                for encoding in encodings:
                    np.array([*encoding.ids, SEP], np.uint16).tofile(file)
            counts[name] = file.tell() // 2
    tokenizer.save(str(folder / "tokenizer.json"))
    facts = json.dumps(record | {"tokens": counts}, indent=2)
    (folder / RECORD).write_text(facts + "\n", encoding="utf-8")  # last: now all is there


def read(folder: Path) -> Corpus:
    """Return a corpus that `write` wrote; its tokens stay on the disk until they are used."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens, held_out = (
        np.memmap(folder / f"{name}.bin", np.uint16, "r") for name in ("tokens", "held_out")
    )
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return Corpus(folder, tokens, held_out, word_starts(tokenizer), tokenizer, record)


def renumbered(corpus: Corpus, tokenizer: "tokenizers.Tokenizer") -> Corpus:
    """Return a corpus with the ids that another tokenizer gives the same pieces.

    Training a tokenizer on the same texts gives the same pieces, but on another machine the
    rarest ones may change places.

    Raises:
        ValueError: the pieces are not the same.
    """
    theirs, ours = tokenizer.get_vocab(), corpus.tokenizer.get_vocab()
    if set(theirs) != set(ours):
        raise ValueError(f"the tokenizers differ in {len(set(theirs) ^ set(ours))} pieces")
    ids = np.empty(len(ours), np.uint16)
    for piece, number in ours.items():
        ids[number] = theirs[piece]
    return corpus._replace(
        tokens=ids[corpus.tokens], held_out=ids[corpus.held_out], tokenizer=tokenizer,
        starts=word_starts(tokenizer),
    )  # fmt: skip


def word_vectors(corpus: Corpus, dim: int, epochs: int) -> Float[Tensor, "V E"]:
    """Return the skip-gram vectors of all pieces (chapter 02), kept in the corpus's folder.

    Their standard deviation is 0.25. The vectors of `[CLS]`, `[SEP]` and `[MASK]`, which are no
    text, are zeros.
    """
    path = corpus.folder / f"skip-gram-{dim}-{epochs}.npy"
    if not path.exists():
        ids = corpus.tokens.astype(np.int64)
        texts = [part[part >= WORDS] for part in np.split(ids, np.flatnonzero(ids == SEP))]
        size = corpus.tokenizer.get_vocab_size()
        vectors = text.train_skip_gram([t for t in texts if len(t)], size, dim, epochs=epochs)
        vectors[:WORDS] = 0
        part = path.with_suffix(".part.npy")
        np.save(part, (vectors * (0.25 / vectors[WORDS:].std())).numpy())
        part.rename(path)
    return torch.from_numpy(np.load(path))


def prepared(vocabulary: int) -> Path:
    """Return the folder of the real corpus in the cache; it is written there first if need be.

    Its name holds a hash of this file: another rule makes another corpus.
    """
    rule = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    folder = cache_root() / "pretraining" / f"unigram-{vocabulary}-{rule}"
    if not (folder / RECORD).exists():
        write(folder, *checked(), vocabulary)
    return folder


def _parquet(name: str, split: str) -> list[str]:
    from pyarrow import parquet

    if "TUTORIAL_DATA" not in os.environ:
        raise SystemExit(f"{name} is read from the folder that TUTORIAL_DATA names; set it")
    path = Path(os.environ["TUTORIAL_DATA"]) / name / f"{split}.parquet"
    return parquet.read_table(path, columns=["text"]).column("text").to_pylist()


if __name__ == "__main__":
    print((prepared(8000) / RECORD).read_text(encoding="utf-8"))
