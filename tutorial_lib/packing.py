"""Chapter 07: how text becomes batches for pre-training: rows without padding, words hidden.

Shapes: B rows of a batch, W tokens of text in a row, T = W + 2 tokens of a row, V vocabulary.
"""

import functools

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from torch.nn import functional as F

from tutorial_lib.pretraining import CLS, NONE, SEP, Batch, PretrainConfig, choose_words, hide


class PackedText:
    """One long row of tokens, `[SEP]` after each document, cut into rows without padding.

    Where a row lies within a document, its two halves are a pair for the order of sentences; the
    cut may stand before any word near the middle, so that where it stands gives nothing away, and
    rows that begin or end within a word, which would, are no pairs. Like a row that reaches into
    the next document they are read as they are.

    Every batch is a function of the configuration and its place in the run alone. So it is the
    same on each of several processes and in a run that was taken up again.

    Args:
        tokens: ids; a memory-mapped file serves.
        starts: whether an id begins a word.

    Raises:
        ValueError: fewer tokens than a row has.
    """

    def __init__(
        self, tokens: np.ndarray, starts: Bool[Tensor, "V"], config: PretrainConfig
    ) -> None:
        longest = max(phase.length for phase in config.phases)
        if len(tokens) < 2 * longest:
            raise ValueError(f"{len(tokens)} tokens are too few for rows of {longest}")
        self.tokens, self.starts, self.config = tokens, starts, config
        self._order = functools.lru_cache(1)(self._shuffled)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step: `ids`, `positions`, `targets`, and what else is needed.

        Of `masked` rows also `types` and `order`; of `replaced` ones `originals` and `draws` too.
        """
        number, place = self.config.place(step)
        phase = self.config.phases[number]
        windows = self._windows(number, place)  # [B T-2]
        random = torch.Generator().manual_seed(
            int(np.random.SeedSequence([self.config.seed, 1, step]).generate_state(1)[0])
        )
        if phase.objective == "causal":
            return self._causal(windows, random)
        ids, types, order = self._pairs(windows, random)
        batch = self._hidden(ids, random) | {"types": types, "order": order}
        if phase.objective == "replaced":
            draws = torch.rand(batch["targets"].shape, generator=random)
            batch |= {"originals": ids, "draws": draws}
        return batch

    def _windows(self, number: int, place: int) -> Tensor:
        """Return the rows' texts: each once an epoch, in random order, cut elsewhere each time."""
        length = self.config.phases[number].length
        rows, width = self.config.tokens // length, length - 2
        there = (len(self.tokens) - width) // width  # rows of an epoch
        windows = []
        for index in range(place * rows, (place + 1) * rows):
            shift, order = self._order(number, index // there, there, width)
            start = shift + width * order[index % there]
            windows.append(self.tokens[start : start + width].astype(np.int64))
        return torch.from_numpy(np.stack(windows))

    def _shuffled(self, number: int, epoch: int, rows: int, width: int) -> tuple[int, np.ndarray]:
        random = np.random.default_rng([self.config.seed, 0, number, epoch])
        return int(random.integers(width)), random.permutation(rows)

    def _causal(self, windows: Tensor, random: torch.Generator) -> Batch:
        ids = _framed(windows)
        known = ids.shape[1] - 1
        count = max(1, int(self.config.predicted * known))
        some = torch.rand(len(ids), known, generator=random).argsort(1)[:, :count]
        return {"ids": ids, "positions": some, "targets": ids.gather(1, some + 1)}

    def _pairs(self, windows: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows, [CLS] A [SEP] B [SEP] where there are pairs, their types and orders."""
        ids = _framed(windows)
        types, order = torch.zeros_like(ids), torch.full((len(ids),), NONE)
        length = windows.shape[1]
        middle = slice(length // 4, length - length // 4)
        cuts = torch.rand(windows.shape, generator=random) * self.starts[windows]
        cuts = length // 4 + cuts[:, middle].argmax(1)  # [B]
        swaps = torch.rand(len(ids), generator=random) < 0.5
        whole = self.starts[windows[:, 0]] & self.starts[windows[:, -1]]  # the last is left out
        within = (windows != SEP).all(1) & whole
        for row in within.nonzero()[:, 0].tolist():
            first, second = windows[row, : cuts[row]], windows[row, cuts[row] : -1]
            if swaps[row]:
                first, second = second, first
            ids[row, 1 : 1 + len(first)] = first
            ids[row, 1 + len(first)] = SEP
            ids[row, 2 + len(first) : -1] = second
            types[row, 2 + len(first) :] = 1
            order[row] = swaps[row].long()
        return ids, types, order

    def _hidden(self, ids: Tensor, random: torch.Generator) -> Batch:
        config = self.config
        chosen = choose_words(ids, self.starts, config.hidden, config.longest, random)
        most = int(config.hidden * ids.shape[1])
        positions = (
            chosen.int().sort(dim=1, descending=True, stable=True).indices[:, :most]
        )  # [B M]
        targets = ids.gather(1, positions).masked_fill(~chosen.gather(1, positions), NONE)
        inputs = hide(ids, chosen, len(self.starts), random)
        return {"ids": inputs, "positions": positions, "targets": targets}


def _framed(windows: Int64[Tensor, "B W"]) -> Int64[Tensor, "B T"]:
    """Return the rows as one stretch of text each: [CLS] … [SEP]."""
    return F.pad(F.pad(windows, (1, 0), value=CLS), (0, 1), value=SEP)
