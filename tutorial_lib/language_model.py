"""Chapter 08, second part: a recurrent language model, alone or told what to say.

It gives each sentence a probability, word by word, and so it can write. With a condition (the code
of a variational autoencoder, a class) it is the decoder; without one it is the plain language
model that every text VAE must be compared with. Read from `tutorial_lib.vae`.

Shapes: B batch, T words, V vocabulary, E embedding, H hidden, Z size of the condition. A sentence
is its words without any marker; the model itself adds the end, which is `END` in its output.
"""

import dataclasses
from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from tutorial_lib import training
from tutorial_lib.embedding import WordVectors, check_sizes
from tutorial_lib.text import drop_words
from tutorial_lib.training import History, TrainConfig
from tutorial_lib.vocabulary import PAD

END = PAD  # no word has this id, so the output's place for it is free to say "the sentence ends"
State = tuple[Float[Tensor, "1 B H"], Float[Tensor, "1 B H"]]


class LanguageModel(nn.Module):
    """An LSTM that predicts each word from those before it and from the condition.

    The condition sets the first state and is read again beside every word.

    Args:
        vocabulary_size: number of ids; `END` is one of them.
        condition: numbers that it is told, Z; 0 for a plain language model.
        embedding: size of a word vector, E.
        hidden: size of the state, H.
        dropout: share of word vectors' elements, and of the states', set to 0 in training.

    Source: Bowman et al. 2016, "Generating Sentences from a Continuous Space", section 3; the
    condition at every word as He et al. 2019.

    Raises:
        ValueError: sizes that cannot be.
    """

    def __init__(
        self,
        vocabulary_size: int,
        condition: int = 0,
        *,
        embedding: int = 128,
        hidden: int = 256,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        check_sizes(vocabulary_size, embedding, hidden)
        if condition < 0:
            raise ValueError(f"the condition has 0 or more numbers; got {condition}")
        self.embedding = WordVectors(torch.randn(vocabulary_size, embedding))
        self.begin = nn.Linear(condition, 2 * hidden) if condition else None
        self.layer = nn.LSTM(embedding + condition, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, vocabulary_size)
        self.condition = condition

    def forward(
        self,
        ids: Int64[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
        condition: Float[Tensor, "B Z"] | None = None,
        word_dropout: float = 0.0,
    ) -> Float[Tensor, "B"]:
        """Return log p(x | condition) of each sentence in nats, its end included.

        Args:
            mask: true at words, padding on the right; a sentence may have no words.
            word_dropout: share of the words that the model reads (not of those that it must
                predict) replaced by the unknown word.

        Raises:
            ValueError: ids and mask of different shapes, an empty batch, padding before a word,
                `END` as a word, an id outside the vocabulary, a condition that does not fit.

        Equation: eq-sentence-likelihood
        """
        if ids.shape != mask.shape:
            raise ValueError(f"ids and mask are both [B, T]; got {[*ids.shape]}, {[*mask.shape]}")
        if (mask[:, 1:] & ~mask[:, :-1]).any():
            raise ValueError("padding stands on the right; here a word follows padding")
        if ((ids == END) & mask).any():
            raise ValueError(f"id {END} ends a sentence and is no word, but the mask is true there")
        x = self.embedding(drop_words(ids, mask, word_dropout), mask)  # [B T E]
        x = F.pad(x, (0, 0, 1, 0))  # the first word is predicted from zeros, [B T+1 E]
        states, _ = self._read(x, condition, self.start(len(ids), condition))
        targets = F.pad(ids.masked_fill(~mask, END), (0, 1), value=END)  # [B T+1]
        there = F.pad(mask, (1, 0), value=True)  # the words, then one end
        logits = full(self.output(self.dropout(states[there])))  # [n V]: nothing at padding
        nats = F.cross_entropy(logits, targets[there], reduction="none")  # [n]
        return -nats.new_zeros(there.shape).masked_scatter(there, nats).sum(1)

    def start(self, batch: int, condition: Float[Tensor, "B Z"] | None = None) -> State:
        """Return the state before the first word.

        Raises:
            ValueError: a condition of another shape than [B, Z], or none where one is needed.
        """
        shape = [batch, 0] if condition is None else [*condition.shape]
        if shape != [batch, self.condition]:
            raise ValueError(f"the condition is [{batch}, {self.condition}]; got {shape}")
        if self.begin is None:
            zeros = self.output.weight.new_zeros(1, batch, self.layer.hidden_size)
            return zeros, zeros
        h, c = self.begin(condition).tanh()[None].chunk(2, -1)
        return h.contiguous(), c.contiguous()

    def step(
        self,
        word: Int64[Tensor, "B"],
        state: State,
        condition: Float[Tensor, "B Z"] | None = None,
    ) -> tuple[Float[Tensor, "B V"], State]:
        """Read one word of each sentence; return the logits of the next one and the new state.

        Args:
            word: `END` before the first word.
            condition: as for `start`.
        """
        states, state = self._read(self.embedding(word[:, None]), condition, state)
        return full(self.output(states[:, 0])), state

    def _read(
        self, x: Float[Tensor, "B T E"], condition: Tensor | None, state: State
    ) -> tuple[Float[Tensor, "B T H"], State]:
        x = self.dropout(x)
        if condition is not None:
            x = torch.cat([x, condition[:, None].expand(-1, x.shape[1], -1)], -1)
        return self.layer(x, state)


def fit_language_model(
    model: LanguageModel,
    batches: Iterable[dict[str, Tensor]],
    validation: Iterable[dict[str, Tensor]],
    config: TrainConfig | None = None,
    *,
    progress: bool = True,
) -> History:
    """Train a model without a condition; keep the epoch that is best on validation sentences.

    Args:
        batches, validation: of `ids` and `mask`, as `data.batches` makes them.
        config: as for `training.train`; `monitor` is always `min loss`.

    Returns:
        The history; `loss` is minus the mean log-likelihood in nats a sentence.
    """

    def score(model: LanguageModel, batch: dict[str, Tensor]) -> Float[Tensor, "B"]:
        return model(batch["ids"], batch["mask"])

    return training.train(
        model, lambda model, batch: -score(model, batch).mean(), batches,
        validate=lambda m: {"loss": -training.predict(m, score, validation).mean().item()},
        config=dataclasses.replace(config or TrainConfig(), monitor="min loss"),
        progress=progress,
    )  # fmt: skip


def full(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return half precision as float32, and what is more precise as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
