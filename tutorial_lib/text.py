"""Chapter 02: from text to numbers.

A text becomes tokens, a vocabulary numbers them, and the numbers become counts or vectors.

Shapes: N texts, B batch, T time (tokens), V vocabulary, E embedding. Sparse matrices are SciPy's.
"""

import functools
import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from tutorial_lib.vocabulary import PAD, SPECIAL, UNK, Vocabulary
from tutorial_lib.word2vec import SkipGram, nearest, train_skip_gram

if TYPE_CHECKING:
    import scipy.sparse
    import tokenizers

__all__ = [
    "PAD",
    "TOKEN",
    "UNK",
    "SkipGram",
    "Vocabulary",
    "bag_of_words",
    "characters",
    "chinese_words",
    "drop_words",
    "encode",
    "inverse_document_frequency",
    "nearest",
    "normalize",
    "pad",
    "tf_idf",
    "train_skip_gram",
    "train_subword",
    "words",
]

# A word, with its apostrophe ("don't", "film's"), or one punctuation mark.
TOKEN = r"\w+(?:'\w+)?|[^\w\s]"
HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(TOKEN)
_CHARACTER = re.compile(rf"[{HAN}]|[^\W{HAN}]+(?:'[^\W{HAN}]+)?|[^\w\s]")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_ENTITY = re.compile(r"&#?\w{1,32};")
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
    return [word for word in _jieba().cut(normalize(text).lower()) if not word.isspace()]


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


def cut_middle(tokens: list[Any], most: int, head: float = 0.25) -> list[Any]:
    """Return a text's tokens, or, of one that is longer, the first and the last.

    Args:
        most: tokens to keep, at least 1.
        head: share of them that come from the beginning.

    Source: Sun et al. 2019, section 5.3.1 (128 of 510 tokens from the beginning).
    """
    first = round(head * most)
    return tokens if len(tokens) <= most else tokens[:first] + tokens[len(tokens) - most + first :]


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
    ids[mask] = torch.tensor([int(i) for row in sequences for i in row], dtype=torch.int64)
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
    ids = np.concatenate([np.zeros(0, np.int64), *sequences]).astype(np.int64)
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


def train_subword(
    texts: Iterable[str], kind: Literal["wordpiece", "unigram"], size: int
) -> "tokenizers.Tokenizer":
    """Return a tokenizer with about `size` pieces of words; `<pad>` is 0 and `<unk>` is 1.

    `.encode(text).ids` and `.encode(text).tokens` give a text's pieces. Keep it with the model:
    another training on the same texts may number some pieces differently.

    Raises:
        ValueError: another kind.

    Source: Schuster and Nakajima 2012 (WordPiece; here the commonest pair is joined, there the
    one that makes the texts most likely); Kudo 2018 (Unigram).
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


@functools.cache
def _jieba() -> Any:
    """Return jieba without its log lines and what newer Pythons have to say about its source."""
    import logging
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba
    jieba.setLogLevel(logging.WARNING)
    # Else it would trust a cache in the temporary folder, which all users of the machine share.
    jieba.dt.FREQ, jieba.dt.total = jieba.dt.gen_pfdict(jieba.dt.get_dict_file())
    jieba.dt.initialized = True
    return jieba
