"""Chapter 02: from text to numbers.

A text becomes tokens, a vocabulary numbers them, and the numbers become counts or vectors.

Shapes: N texts, B batch, T time (tokens), V vocabulary, E embedding. Sparse matrices are SciPy's.
"""

import collections
import html
import itertools
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

if TYPE_CHECKING:
    import scipy.sparse
    import tokenizers

PAD, UNK = 0, 1  # the first two ids of every vocabulary
SPECIAL = ("<pad>", "<unk>")

# A word, with its apostrophe ("don't", "film's"), or one punctuation mark.
TOKEN = r"\w+(?:'\w+)?|[^\w\s]"
HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
CHUNK, SHARED = 128, 64  # tokens of text and negatives in one step of skip-gram
_WORD = re.compile(TOKEN)
_CHARACTER = re.compile(rf"[{HAN}]|[^\W{HAN}]+(?:'[^\W{HAN}]+)?|[^\w\s]")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_ENTITY = re.compile(r"&#?\w+;")
# Curly quotes become straight ones; soft hyphens and zero-width marks vanish.
_CHARACTERS = str.maketrans("‘’“”", "''\"\"", "\u00ad\u200b\ufeff")


def normalize(text: str) -> str:
    """Return the text with one spelling for what looks the same; case and words stay.

    Compatible characters are unified (Unicode NFKC: full-width letters, ligatures), quotes are
    straight, HTML tags become blanks and HTML entities characters, each run of white space one
    blank.

    Raises:
        TypeError: not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"a text is a str; got {type(text).__name__}")
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_CHARACTERS)
    return " ".join(text.split())


def words(text: str) -> list[str]:
    """Return words and punctuation marks, normalised and in lower case."""
    return _WORD.findall(normalize(text).lower())


def characters(text: str) -> list[str]:
    """Return each Chinese character alone, Latin words and numbers whole, each mark alone."""
    return _CHARACTER.findall(normalize(text).lower())


def chinese_words(text: str) -> list[str]:
    """Return the words into which jieba, a dictionary with a model for new words, cuts Chinese."""
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)
    return [word for word in jieba.cut(normalize(text).lower()) if not word.isspace()]


class Vocabulary:
    """Which token has which id: `<pad>` 0, `<unk>` 1, then the others, the most frequent first.

    Made by `build` or `load`, so that there is none without tokens.

    Attributes:
        tokens: the token of each id.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tuple(tokens)
        if self.tokens[:2] != SPECIAL or len(self.tokens) == 2:
            raise ValueError(
                f"a vocabulary holds {SPECIAL} and then tokens of training texts; got "
                f"{list(self.tokens[:3])}. Make one with Vocabulary.build or Vocabulary.load"
            )
        self._ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self._ids) < len(self.tokens):
            raise ValueError("a token stands twice in the vocabulary")

    @classmethod
    def build(
        cls,
        tokenized: Iterable[Sequence[str]],
        min_count: int = 1,
        max_size: int | None = None,
    ) -> "Vocabulary":
        """Number the tokens of the training texts, such as `map(words, texts)`.

        Ordered by count, and by spelling where counts are equal: the same texts in any order
        give the same ids.

        Args:
            tokenized: a sequence of tokens for each text; read once.
            min_count: how often a token must occur.
            max_size: most entries, `<pad>` and `<unk>` among them.

        Raises:
            TypeError: a text that is not cut into tokens yet.
            ValueError: no token is left.
        """
        counts = collections.Counter()
        for tokens in tokenized:
            if isinstance(tokens, str):
                raise TypeError("build reads lists of tokens, not texts: map(words, texts)")
            counts.update(tokens)
        kept = [t for t, n in counts.items() if n >= min_count and t not in SPECIAL]
        kept.sort(key=lambda token: (-counts[token], token))
        kept = kept[: None if max_size is None else max(0, max_size - 2)]
        if not kept:
            raise ValueError(
                f"no token is left of {len(counts)} with min_count={min_count} and "
                f"max_size={max_size}. If it is of 0: was an iterator given that had already run?"
            )
        return cls((*SPECIAL, *kept))

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Return the id of each token, `UNK` for one that is not in the vocabulary."""
        if isinstance(tokens, str):
            raise TypeError("encode reads a list of tokens, not a text")
        return [self._ids.get(token, UNK) for token in tokens]

    def decode(self, ids: Iterable[Any]) -> list[str]:
        """Return the token of each id.

        Raises:
            ValueError: an id outside 0 … V - 1.
        """
        ids = [int(i) for i in ids]
        if ids and not 0 <= min(ids) <= max(ids) < len(self):
            raise ValueError(f"ids run from 0 to {len(self) - 1}; got {min(ids)} … {max(ids)}")
        return [self.tokens[i] for i in ids]

    def save(self, path: str | os.PathLike) -> None:
        """Write it as JSON; the file at `path` is always the old one or the new one, whole."""
        path = Path(path)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            part.write_text(json.dumps({"tokens": self.tokens}, indent=0), encoding="utf-8")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Vocabulary":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged or holds something else.
        """
        try:
            tokens = json.loads(Path(path).read_text(encoding="utf-8"))["tokens"]
            if not all(isinstance(token, str) for token in tokens):
                raise TypeError("a token is not a string")
            return cls(tokens)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged or holds no vocabulary: {error}") from error

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids


def encode(
    texts: Iterable[str],
    tokenize: Callable[[str], list[str]],
    vocabulary: Vocabulary,
    max_length: int | None = None,
) -> list[np.ndarray]:
    """Return the ids of each text, int32; only one text's tokens are in memory at a time.

    A text without tokens becomes one `UNK`: a model cannot read nothing.

    Args:
        max_length: keep this many tokens from the beginning.

    Raises:
        ValueError: `max_length` below 1.
    """
    if isinstance(texts, str):
        raise TypeError("encode reads a list of texts; for one text give a list of one")
    if max_length is not None and max_length < 1:
        raise ValueError(f"max_length must be at least 1; got {max_length}")
    return [
        np.array(vocabulary.encode(tokenize(text)[:max_length]) or [UNK], dtype=np.int32)
        for text in texts
    ]


def pad(sequences: Sequence[Any]) -> tuple[Int64[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Return ids filled up on the right with `PAD`, and a mask that is true at tokens.

    Raises:
        ValueError: no sequences.
    """
    if not len(sequences):
        raise ValueError("there is no sequence to pad")
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    mask = torch.arange(max(1, int(lengths.max()))) < lengths[:, None]  # [B T]
    ids = torch.full(mask.shape, PAD)
    ids[mask] = torch.tensor([int(i) for sequence in sequences for i in sequence])
    return ids, mask


def drop_words(
    ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"], share: float
) -> Int64[Tensor, "B T"]:
    """Return the ids with a random share of the tokens replaced by `UNK` (word dropout).

    Source: Iyyer et al. 2015, "Deep Unordered Composition", section 3.2 (there words are left
    out; here they are marked, so that lengths stay).

    Raises:
        ValueError: a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of words to drop lies between 0 and 1; got {share}")
    dropped = (torch.rand(ids.shape, device=ids.device) < share) & mask  # [B T]
    return ids.masked_fill(dropped, UNK)


def bag_of_words(sequences: Sequence[Any], size: int) -> "scipy.sparse.csr_matrix":
    """Count each of `size` ids in each sequence, [N, V].

    Equation: eq-bag-of-words
    """
    from scipy.sparse import csr_matrix

    lengths = [len(sequence) for sequence in sequences]
    ids = np.fromiter(itertools.chain.from_iterable(sequences), np.int64, sum(lengths))
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return csr_matrix((np.ones(len(ids)), (rows, ids)), (len(lengths), size))  # adds up repeats


def inverse_document_frequency(counts: "scipy.sparse.csr_matrix") -> Float[np.ndarray, "V"]:
    """Return the weight of each entry, larger for one that fewer of the texts hold.

    Source: Spärck Jones 1972; smoothed as in scikit-learn.

    Equation: eq-idf
    """
    n, size = counts.shape
    texts_with = np.bincount(counts.tocoo().col, minlength=size)  # in how many texts, [V]
    return np.log((1 + n) / (1 + texts_with)) + 1


def tf_idf(
    counts: "scipy.sparse.csr_matrix", idf: Float[np.ndarray, "V"]
) -> "scipy.sparse.csr_matrix":
    """Return counts times weights, each row scaled to length 1; a row of zeros stays, [N, V].

    Args:
        idf: of the training texts, also where `counts` are of others.

    Equation: eq-tf-idf
    """
    from scipy.sparse import diags

    weighted = (counts @ diags(idf)).tocsr()
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1))[:, 0])  # [N]
    return (diags(1 / np.where(length == 0, 1, length)) @ weighted).tocsr()


def keep_probability(
    counts: Int64[np.ndarray, "V"], threshold: float = 1e-4
) -> Float[np.ndarray, "V"]:
    """Return with which probability an occurrence of each word is kept for training.

    Source: Mikolov et al. 2013, "Distributed Representations of Words and Phrases", section 2.3.

    Equation: eq-subsampling
    """
    share = counts / counts.sum()
    return np.minimum(1, np.sqrt(threshold / np.maximum(share, np.finfo(float).tiny)))


def noise(counts: Int64[np.ndarray, "V"]) -> Float[np.ndarray, "V"]:
    """Return the distribution from which negatives are drawn.

    Source: Mikolov et al. 2013, section 2.2.

    Equation: eq-noise
    """
    flattened = counts**0.75
    return flattened / flattened.sum()


class SkipGram:
    """Two vectors a word, one as the centre of a window, one as a context in it.

    `loss` and `gradients` take a piece of text at once. The word at position i predicts the one
    at j with weight `near[i, j]`; the same random words, the negatives, serve all centres.

    Attributes:
        centre, context: the vectors, [V, E].

    Source: Mikolov et al. 2013, section 2.2. Shared negatives: Ji et al. 2016, "Parallelizing
    Word2Vec in Shared and Distributed Memory", section 3.
    """

    def __init__(self, size: int, dim: int, negatives: int = 5, seed: int = 0) -> None:
        random = torch.Generator().manual_seed(seed)
        self.centre = (torch.rand(size, dim, generator=random) - 0.5) / dim
        self.context = torch.zeros(size, dim)
        self.negatives = negatives

    def scores(
        self,
        ids: Int64[Tensor, "T"],
        near: Float[Tensor, "T T"],
        drawn: Int64[Tensor, "S"],
    ) -> tuple[Float[Tensor, "T M"], Float[Tensor, "T M"], Float[Tensor, "T M"]]:
        """Return scores, targets and weights of each centre with all words, M = T + S.

        The first T columns are the words of the text itself, the others the negatives: their
        weights sum to `negatives` times those of the contexts.
        """
        z = self.centre[ids] @ self.context[torch.cat([ids, drawn])].T  # [T M]
        share = self.negatives * near.sum(1, keepdim=True) / len(drawn)  # [T 1]
        weights = torch.cat([near, share.expand(-1, len(drawn))], 1)
        targets = (torch.arange(z.shape[1]) < len(ids)).float().expand_as(z)
        return z, targets, weights

    def loss(
        self, ids: Int64[Tensor, "T"], near: Float[Tensor, "T T"], drawn: Int64[Tensor, "S"]
    ) -> Float[Tensor, ""]:
        """Return the sum of the losses of all pairs, in nats.

        Equation: eq-negative-sampling
        """
        z, targets, weights = self.scores(ids, near, drawn)
        right = torch.where(targets == 1, z, -z)
        return -(weights * torch.nn.functional.logsigmoid(right)).sum()

    def gradients(
        self, ids: Int64[Tensor, "T"], near: Float[Tensor, "T T"], drawn: Int64[Tensor, "S"]
    ) -> tuple[Float[Tensor, "T E"], Float[Tensor, "M E"]]:
        """Return the gradient of `loss` by the centre vectors of `ids`, and by the context
        vectors of `ids` and `drawn`.

        Equation: eq-skip-gram-gradient
        """
        z, targets, weights = self.scores(ids, near, drawn)
        error = weights * (torch.sigmoid(z) - targets)  # [T M]
        by_centre = error @ self.context[torch.cat([ids, drawn])]  # [T E]
        return by_centre, error.T @ self.centre[ids]

    def step(
        self,
        ids: Int64[Tensor, "T"],
        near: Float[Tensor, "T T"],
        drawn: Int64[Tensor, "S"],
        lr: float,
    ) -> None:
        """Take one step of gradient descent in the rows of these words."""
        by_centre, by_context = self.gradients(ids, near, drawn)
        self.centre.index_add_(0, ids, by_centre, alpha=-lr)
        self.context.index_add_(0, torch.cat([ids, drawn]), by_context, alpha=-lr)


def train_skip_gram(
    sequences: Sequence[Any],
    vocabulary: Vocabulary | int,
    dim: int = 100,
    *,
    window: int = 5,
    negatives: int = 5,
    threshold: float = 1e-4,
    epochs: int = 5,
    lr: float = 0.05,
    seed: int = 0,
    report: Callable[[float], Any] | None = None,
) -> Float[Tensor, "V E"]:
    """Return word vectors learned from sequences of ids, one row for each id.

    `PAD` is a row of zeros and `UNK` the mean of the others; in training both are left out of
    the text. A word that the sequences do not hold keeps its small random start.

    Args:
        vocabulary: gives the number of rows.
        window: a word at distance d from the centre has the weight (window + 1 - d) / window,
            what word2vec's window of random size comes to on average.
        negatives, threshold: see `SkipGram` and `keep_probability`.
        lr: at the beginning; it falls to 0 in equal steps.
        report: called after each epoch with the mean loss of a pair and its negatives, in nats.

    Raises:
        ValueError: no sequence holds a word, or an id does not fit the vocabulary.
    """
    size = vocabulary if isinstance(vocabulary, int) else len(vocabulary)
    ids = np.concatenate([np.asarray(s, np.int64) for s in sequences] or [np.zeros(0, np.int64)])
    text = np.repeat(np.arange(len(sequences)), [len(s) for s in sequences])
    ids, text = ids[ids > UNK], text[ids > UNK]
    if not len(ids) or ids.max() >= size:
        raise ValueError(f"need words with ids 2 … {size - 1}; got {len(ids)} of them")
    counts = np.bincount(ids, minlength=size)
    model, random = SkipGram(size, dim, negatives, seed), np.random.default_rng(seed)
    keep, chances = keep_probability(counts, threshold), noise(counts).cumsum()
    for epoch in range(epochs):
        kept = random.random(len(ids)) < keep[ids]
        order = np.argsort(random.permutation(len(sequences))[text[kept]], kind="stable")
        chunks = zip(_chunks(ids[kept][order]), _chunks(text[kept][order]), strict=True)
        total = pairs = 0.0
        for k, (chunk, of) in enumerate(chunks):
            near = _near(of, window)
            drawn = torch.from_numpy(np.searchsorted(chances, random.random(SHARED) * chances[-1]))
            rate = lr * (1 - (epoch + k * CHUNK / kept.sum()) / epochs)
            if report and k % 50 == 0:
                total, pairs = total + model.loss(chunk, near, drawn).item(), pairs + near.sum()
            model.step(chunk, near, drawn, rate)
        if report:
            report(float(total / pairs))
    model.centre[PAD] = 0
    model.centre[UNK] = model.centre[2:].mean(0)
    return model.centre


def nearest(
    vectors: Float[Tensor, "V E"], vocabulary: Vocabulary, word: str, k: int = 10
) -> list[tuple[str, float]]:
    """Return the k tokens whose vectors point most nearly the same way, with their cosines.

    Raises:
        ValueError: the word is not in the vocabulary, or the rows are not its.

    Equation: eq-cosine
    """
    if word not in vocabulary:
        raise ValueError(f"{word!r} is not in the vocabulary")
    if len(vectors) != len(vocabulary):
        raise ValueError(f"{len(vectors)} vectors for a vocabulary of {len(vocabulary)}")
    (row,) = vocabulary.encode([word])
    length = vectors.norm(dim=1).clamp(min=torch.finfo(vectors.dtype).tiny)  # [V]
    cosine = vectors @ vectors[row] / (length * length[row])
    cosine[[PAD, UNK, row]] = -torch.inf
    values, rows = cosine.topk(min(k, len(vectors) - 3))
    return list(zip(vocabulary.decode(rows), values.tolist(), strict=True))


def train_subword(
    texts: Iterable[str], kind: Literal["wordpiece", "unigram"], size: int
) -> "tokenizers.Tokenizer":
    """Return a tokenizer with about `size` pieces of words; `<pad>` is 0 and `<unk>` is 1.

    `.encode(text).ids` and `.encode(text).tokens` give a text's pieces.

    Source: Schuster and Nakajima 2012 (WordPiece); Kudo 2018 (Unigram).
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    common = {"vocab_size": size, "special_tokens": list(SPECIAL), "show_progress": False}
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL[UNK]))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(**common)
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(unk_token=SPECIAL[UNK], **common)
    else:
        raise ValueError(f"kind is wordpiece or unigram; got {kind!r}")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _chunks(values: Int64[np.ndarray, "N"]) -> tuple[Tensor, ...]:
    return torch.from_numpy(values).split(CHUNK)


def _near(text: Int64[Tensor, "T"], window: int) -> Float[Tensor, "T T"]:
    """Return how much each position counts as context of each other one of the same text."""
    place = torch.arange(len(text))
    distance = (place[:, None] - place).abs()  # [T T]
    weight = (window + 1 - distance).clamp(min=0) / window
    return weight * ((distance > 0) & (text[:, None] == text))
