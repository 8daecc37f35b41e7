"""Which token has which id: the vocabulary that chapter 02 builds and every model reads."""

import collections
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tutorial_lib import atomic

PAD, UNK = 0, 1  # the first two ids of every vocabulary
SPECIAL = ("<pad>", "<unk>")


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
                f"cannot build a vocabulary: no token is left of {len(counts)} with "
                f"min_count={min_count} and max_size={max_size}. If it is of 0: was an iterator "
                "given that had already run?"
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
        atomic.write(path, json.dumps({"tokens": self.tokens}, indent=0))

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
