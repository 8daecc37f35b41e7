"""Chapter 08, third part: writing sentences with a language model.

All three ways start before the first word and go on until `END` or a longest length. None writes
the unknown word. Read from `tutorial_lib.vae`.

Shapes: B sentences to write, V vocabulary, Z size of the condition, K beams.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tutorial_lib.language_model import END, LanguageModel
from tutorial_lib.softmax import log_softmax, softmax
from tutorial_lib.training.predict import evaluating
from tutorial_lib.vocabulary import UNK


def greedy(
    model: LanguageModel,
    condition: Float[Tensor, "B Z"] | None = None,
    *,
    sentences: int = 1,
    longest: int = 40,
) -> list[list[int]]:
    """Return sentences, each word the most probable one after those before it.

    Args:
        condition: one row a sentence to write; None for a model without conditions.
        sentences: how many, where there is no condition; they are all the same.
        longest: words at most.

    Raises:
        ValueError: a length below 1 or a condition that does not fit.
    """
    return sample(model, condition, sentences=sentences, longest=longest, temperature=0.0)


def sample(
    model: LanguageModel,
    condition: Float[Tensor, "B Z"] | None = None,
    *,
    sentences: int = 1,
    longest: int = 40,
    temperature: float = 1.0,
) -> list[list[int]]:
    """Return sentences, each word drawn from the model's distribution at a temperature.

    Args:
        condition, sentences, longest: as for `greedy`.
        temperature: 1 draws from the model as it is; towards 0 from the most probable words
            only, and 0 takes the most probable one; infinity draws all words alike.

    Raises:
        ValueError: a temperature below 0, a length below 1, a condition that does not fit.

    Equation: eq-sample-word
    """
    rows = _rows(condition, sentences, longest)
    if not temperature >= 0:
        raise ValueError(f"a temperature is 0 or more; got {temperature}")
    word = torch.full((rows,), END, device=model.output.weight.device)
    written, going = [], torch.ones_like(word, dtype=torch.bool)
    with evaluating(model):
        state = model.start(rows, condition)
        while len(written) < longest and going.any():
            logits, state = model.step(word, state, condition)
            logits[:, UNK] = logits.amin(1)  # finite, but never the likeliest
            if temperature < torch.finfo(logits.dtype).tiny:
                logits[:, UNK] = -torch.inf
                word = logits.argmax(1)
            else:
                probs = softmax(logits, temperature)
                probs[:, UNK] = 0
                word = torch.multinomial(probs, 1)[:, 0]
            going = going & (word != END)
            written.append(word)
    return [_until_end(row) for row in torch.stack(written, 1).tolist()]


def beam_search(
    model: LanguageModel,
    condition: Float[Tensor, "B Z"] | None = None,
    *,
    beams: int = 5,
    sentences: int = 1,
    longest: int = 40,
) -> list[list[int]]:
    """Return, for each condition, the most probable sentence that a search of K beams finds.

    After each word, of all continuations of the K best beginnings the K best are kept. With one
    beam it is `greedy`; with as many as there are sentences it finds the best one of all.
    A beginning that reaches the longest length counts as if it ended there.

    Args:
        beams: beginnings that are kept, K.
        condition, sentences, longest: as for `greedy`.

    Raises:
        ValueError: fewer beams or words than one, or a condition that does not fit.

    Source: Lowerre 1976 for speech; Sutskever et al. 2014, section 3.2, for such models.

    Equation: eq-beam
    """
    rows = _rows(condition, sentences, longest)
    if beams < 1:
        raise ValueError(f"a search needs at least 1 beam; got {beams}")
    with evaluating(model):
        return [
            _search(model, None if condition is None else condition[row : row + 1], beams, longest)
            for row in range(rows)
        ]


def _search(model: LanguageModel, condition: Tensor | None, beams: int, longest: int) -> list[int]:
    """Search for one sentence."""
    device = model.output.weight.device
    words = torch.full((1, 1), END, device=device)  # [K t]: END, then the words so far
    scores = torch.zeros(1, device=device)  # [K]
    state = model.start(1, condition)
    best, best_score = [], -torch.inf
    for _ in range(longest):
        told = None if condition is None else condition.expand(len(words), -1)
        logits, state = model.step(words[:, -1], state, told)
        logits[:, UNK] = -torch.inf
        total = scores[:, None] + log_softmax(logits)  # [K V]
        scores, places = total.flatten().topk(min(beams, total.numel()))
        parents, word = places // total.shape[1], places % total.shape[1]
        ended = word == END
        if ended.any() and scores[ended][0] > best_score:  # topk sorts: the first is the best
            best_score = scores[ended][0].item()
            best = words[parents[ended][0], 1:].tolist()
        open_ = ~ended & (scores > best_score)  # a score only falls: others cannot win any more
        if not open_.any():
            return best
        parents, scores = parents[open_], scores[open_]
        words = torch.cat([words[parents], word[open_][:, None]], 1)
        state = tuple(part[:, parents] for part in state)
    return words[0, 1:].tolist()  # still open, and better than any that ended


def _until_end(ids: list[int]) -> list[int]:
    return ids[: ids.index(END)] if END in ids else ids


def _rows(condition: Tensor | None, sentences: int, longest: int) -> int:
    """Return how many sentences are to be written."""
    rows = sentences if condition is None else len(condition)
    if min(rows, longest) < 1:
        raise ValueError(f"write 1 sentence or more of 1 word or more; got {rows} of {longest}")
    if condition is not None and not condition.isfinite().all():
        raise ValueError("the condition is not finite")
    return rows
