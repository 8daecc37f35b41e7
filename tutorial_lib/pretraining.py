"""Chapter 07: the objectives that an ALBERT is pre-trained on.

Three objectives, which a run may take one after the other:

- `causal`: predict the next token from those before it. It starts a model off fast.
- `masked`: predict words that were hidden, and tell whether two stretches of text were swapped.
- `replaced`: the same; then put words of its own in the hidden places, and tell all that differ.

Lan et al. 2020, "ALBERT"; Clark et al. 2020, "ELECTRA: Pre-training Text Encoders as
Discriminators Rather Than Generators".

Shapes: B rows of a batch, T tokens of a row, M hidden tokens of a row, H hidden, V vocabulary.
"""

import dataclasses
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from tutorial_lib.albert import AlbertConfig, AlbertPretraining, start_weights

if TYPE_CHECKING:
    import tokenizers

CLS, SEP, MASK, WORDS = 2, 3, 4, 5  # ids; those from WORDS on stand for text
NONE = -100  # a target that does not count, as in torch
OBJECTIVES = ("causal", "masked", "replaced")

Batch = dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of the run: its objective, its share of the steps, the tokens of a row."""

    objective: str
    share: float
    length: int = 128


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """What is learned, and in which order.

    Attributes:
        steps: planned updates; they set where phases end. A longer run stays in the last one.
        phases: one after the other.
        tokens: of one update, over all rows.
        hidden: share of a row's tokens that are to be predicted, in `masked` and `replaced`.
        longest: most words of one hidden stretch.
        predicted: share of a row's tokens whose successor is predicted, in `causal`.
        order_weight, detection_weight: of these losses beside the one for hidden words. ELECTRA
            weighs detection by 50, with a second network for the words; here one network does
            both, and so large a weight keeps it from learning words.
        seed: decides the order of the text and what is hidden.

    Raises:
        ValueError: an unknown objective, shares that do not add up to 1, rows that do not fit.
    """

    steps: int
    phases: tuple[Phase, ...] = (Phase("causal", 0.2), Phase("masked", 0.3), Phase("replaced", 0.5))
    tokens: int = 8192
    hidden: float = 0.15
    longest: int = 3
    predicted: float = 0.5
    order_weight: float = 1.0
    detection_weight: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        for phase in self.phases:
            if phase.objective not in OBJECTIVES:
                raise ValueError(f"objectives are {', '.join(OBJECTIVES)}; got {phase.objective!r}")
            if phase.length < 16 or self.tokens % phase.length:
                raise ValueError(
                    f"rows of {phase.length} tokens: need at least 16, and a divisor of the "
                    f"{self.tokens} tokens of an update"
                )
        if not self.phases or abs(sum(phase.share for phase in self.phases) - 1) > 1e-6:
            raise ValueError(f"the phases' shares must add up to 1; got {self.phases}")

    def place(self, step: int) -> tuple[int, int]:
        """Return the number of the phase that a step (from 0) belongs to, and its place there."""
        start = 0
        for number, phase in enumerate(self.phases[:-1]):
            end = start + round(phase.share * self.steps)
            if step < end:
                return number, step - start
            start = end
        return len(self.phases) - 1, step - start


def ngram_lengths(longest: int) -> Float[Tensor, "longest"]:
    """Return how likely a hidden stretch has 1, 2, …, `longest` words: in proportion to 1 / n.

    Source: Lan et al. 2020, section 4.1.

    Equation: eq-ngram-length
    """
    inverse = 1 / torch.arange(1, longest + 1)
    return inverse / inverse.sum()


def cut_into_ngrams(
    words: Int64[Tensor, "B T"], longest: int, random: torch.Generator
) -> Int64[Tensor, "B T"]:
    """Cut each row's words into neighbours of random number; return the number of each one's.

    Args:
        words: to which word of its row a token belongs, from 0.
    """
    draws = torch.multinomial(ngram_lengths(longest), words.numel(), True, generator=random)
    ends = (draws.view_as(words) + 1).cumsum(1)  # [B T]: the first word after each n-gram
    return torch.searchsorted(ends, words.contiguous(), right=True)


def choose_words(
    ids: Int64[Tensor, "B T"],
    starts: Bool[Tensor, "V"],
    share: float,
    longest: int,
    random: torch.Generator,
) -> Bool[Tensor, "B T"]:
    """Choose whole words to hide: n-grams in random order, each that still fits into the budget.

    Args:
        starts: whether an id begins a word.
        share: of a row's tokens; the budget is rounded down.

    Source: Lan et al. 2020, section 4.1; Joshi et al. 2020, "SpanBERT".
    """
    special = ids < WORDS
    ngram = cut_into_ngrams((starts[ids] | special).cumsum(1) - 1, longest, random)  # [B T]
    size = torch.zeros_like(ids).scatter_add(1, ngram, (~special).long())  # tokens of each n-gram
    order = torch.rand(ids.shape, generator=random).argsort(1)
    left = ids.new_full((len(ids),), int(share * ids.shape[1]))
    taken = torch.zeros_like(special)
    for place in order.split(1, 1):  # of each row the next n-gram, [B 1]
        next_size = size.gather(1, place)[:, 0]
        fits = next_size <= left
        left -= next_size * fits
        taken.scatter_(1, place, fits[:, None])
    return taken.gather(1, ngram) & ~special


def hide(
    ids: Int64[Tensor, "B T"], chosen: Bool[Tensor, "B T"], vocabulary: int, random: torch.Generator
) -> Int64[Tensor, "B T"]:
    """Put `[MASK]` in the place of 80 % of the chosen tokens, any word in that of 10 %.

    The rest stay, so that the model must have a view of every word that it sees.

    Source: Devlin et al. 2019, section 3.1.
    """
    draw = torch.rand(ids.shape, generator=random)
    other = torch.randint(WORDS, vocabulary, ids.shape, generator=random)
    masked = ids.masked_fill(chosen & (draw < 0.8), MASK)
    return torch.where(chosen & (draw >= 0.9), other, masked)


def masked_lm_loss(
    logits: Float[Tensor, "P V"], targets: Int64[Tensor, "B M"]
) -> Float[Tensor, ""]:
    """Return minus the log-probability of the hidden tokens: a mean for each row, then over rows.

    Args:
        logits: for all P = B M places of `targets`, row by row.
        targets: the tokens that stood there; `NONE` does not count.

    Source: Devlin et al. 2019, section 3.1.

    Equation: eq-masked-lm
    """
    losses = F.cross_entropy(logits.float(), targets.flatten(), reduction="none")  # 0 at NONE
    counts = (targets != NONE).sum(1).clamp(min=1)
    return (losses.view_as(targets).sum(1) / counts).mean()


def sentence_order_loss(
    logits: Float[Tensor, "B 2"], order: Int64[Tensor, "B"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the order of two stretches: 0 as in the source, 1 swapped.

    A row with `NONE` has no such pair; it counts as one without error.

    Source: Lan et al. 2020, section 3.1.

    Equation: eq-sentence-order
    """
    return F.cross_entropy(logits.float(), order, reduction="none").mean()


def replaced_token_loss(
    logits: Float[Tensor, "B T"], replaced: Bool[Tensor, "B T"], counts: Bool[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """Return the binary cross-entropy of "this token was replaced", over the tokens that count.

    Source: Clark et al. 2020, section 2.
    """
    losses = F.binary_cross_entropy_with_logits(
        logits.float(), replaced.float(), counts.float(), reduction="none"
    )  # [B T]
    return (losses.sum(1) / counts.sum(1).clamp(min=1)).mean()


@torch.no_grad()
def sample(logits: Float[Tensor, "P V"], draws: Float[Tensor, "P"]) -> Int64[Tensor, "P"]:
    """Draw a word for each place from the model's own distribution.

    Args:
        draws: uniform numbers in [0, 1): they decide, so that a run can be repeated.
    """
    reached = logits[:, WORDS:].float().softmax(-1).cumsum(-1)  # [P V-5]
    found = torch.searchsorted(reached, draws[:, None] * reached[:, -1:], right=True)
    return found[:, 0].clamp(max=reached.shape[1] - 1) + WORDS


def weighted(losses: dict[str, Tensor], config: PretrainConfig) -> Float[Tensor, ""]:
    """Return the weighted sum of a batch's losses, like them a mean over its rows."""
    weights = {"order": config.order_weight, "detection": config.detection_weight}
    return sum(weights.get(name, 1.0) * value for name, value in losses.items())


def word_starts(tokenizer: "tokenizers.Tokenizer") -> Bool[Tensor, "V"]:
    """Return for each id whether a word begins with it, or a mark, which is a word of its own.

    Args:
        tokenizer: of ALBERT's kind: a piece that begins a word begins with U+2581.
    """
    pieces = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    return torch.tensor([p.startswith("\u2581") or not any(map(str.isalnum, p)) for p in pieces])


class Pretrainer(nn.Module):
    """ALBERT with the heads of all objectives. What a batch holds decides which losses it has."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.model = AlbertPretraining(config)
        h = config.hidden_size
        self.detector = nn.Sequential(nn.Linear(h, h), nn.GELU(), nn.Linear(h, 1))
        start_weights(self.detector, config.initializer_range)

    def forward(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the losses by name, and the logits that they were computed from.

        Args:
            batch: as `packing.PackedText.batch` makes it.
        """
        ids, positions, targets = batch["ids"], batch["positions"], batch["targets"]
        rows = torch.arange(len(ids), device=ids.device)[:, None]
        places = (positions + ids.shape[1] * rows).flatten()  # [P]: in the flattened [B T]
        causal = "order" not in batch
        words, order = self.model(ids, None, batch.get("types"), positions=places, causal=causal)
        losses, logits = {"words": masked_lm_loss(words, targets)}, {"words": words}
        if not causal:
            losses["order"] = sentence_order_loss(order, batch["order"])
            logits["order"] = order
        if "draws" in batch:
            truth = batch["originals"]
            guessed, replaced = self._replace(batch, words)
            states = self.model.albert(guessed, None, batch["types"]).states  # [B T H]
            logits["detection"], logits["replaced"] = self.detector(states)[..., 0], replaced
            losses["detection"] = replaced_token_loss(logits["detection"], replaced, truth >= WORDS)
        return losses, logits

    def _replace(self, batch: Batch, words: Tensor) -> tuple[Tensor, Tensor]:
        """Return the text with the model's own words in the hidden places, and what differs."""
        truth, positions = batch["originals"], batch["positions"]
        guesses = sample(words, batch["draws"].flatten()).view_as(positions)  # [B M]
        guesses = torch.where(batch["targets"] == NONE, truth.gather(1, positions), guesses)
        guessed = truth.scatter(1, positions, guesses)
        return guessed, guessed != truth  # a word that was guessed right is no replacement
