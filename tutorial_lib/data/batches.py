"""Batches of about equal work: texts of like length together, fresh each epoch.

A batch is a rectangle, as long as its longest text; whatever a shorter text leaves empty is
padding, computed and thrown away. Texts of like length waste little, but sorting the whole
set would give every epoch the same batches. So each epoch shuffles all rows, sorts them only
within pools of some fifty batches (and four pools at least), cuts the result by a budget of
tokens, and shuffles the batches.
"""

import functools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

POOL_BATCHES = 50
LEAST_POOLS = 4
MOST = np.iinfo(np.int64).max


class Batches(DataLoader):
    """What `batches` returns: a DataLoader whose batches are cut anew for each epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the shuffling; the end of each full iteration moves to the next by itself."""
        self.batch_sampler.set_epoch(epoch)

    @property
    def padding_share(self) -> float:
        """Share of the coming epoch's positions that are padding, from 0 to 1."""
        lengths = self.batch_sampler.lengths
        cells = sum(len(rows) * lengths[rows].max() for rows in self.batch_sampler.plan())
        return float(1 - lengths.sum() / cells)


def batches(
    sequences: Iterable[Any],
    labels: Iterable[Any] | None = None,
    *,
    token_budget: int = 4096,
    shuffle: bool = True,
    seed: int = 0,
    pad_id: int = 0,
) -> Batches:
    """Cut sequences of token ids into batches of at most `token_budget` positions each.

    Iterating yields dicts of tensors: `ids` int64 [batch time], padded on the right with
    `pad_id`; `mask` bool [batch time], true at tokens; `labels` int64 [batch], where given;
    `rows` int64 [batch], the place of each sequence in the input. Every sequence comes once an
    epoch. Batches differ in rows, and their number may differ a little between epochs.

    Args:
        sequences: lists, arrays or tensors of ids, of any lengths; copied.
        labels: one class index a sequence.
        token_budget: most positions (rows times longest, padding counted) of one batch.
        shuffle: without it, the order is by length, shortest first, the same each epoch.
        seed: with the epoch's number, decides the shuffling.
        pad_id: the id that fills `ids` where `mask` is false.

    Raises:
        ValueError: no sequences, an empty one, one longer than the budget, ids that are
            negative or not integers, labels that do not match. The message names the row.
    """
    data = _Sequences(sequences, labels)
    if not len(data):
        raise ValueError("there are no sequences to cut into batches")
    longest = int(data.lengths.argmax())
    if data.lengths[longest] > token_budget:
        raise ValueError(
            f"sequence {longest} has {data.lengths[longest]} tokens, more than token_budget="
            f"{token_budget}; cut long texts or raise the budget"
        )

    sampler = _Sampler(data.lengths, token_budget, shuffle, seed)
    collate = functools.partial(_collate, labels=data.labels, pad_id=pad_id)
    return Batches(data, batch_sampler=sampler, collate_fn=collate)


class _Sequences(Dataset):
    """All ids in one tensor, and where each sequence ends."""

    def __init__(self, sequences: Iterable[Any], labels: Iterable[Any] | None) -> None:
        arrays = [_ids(row, sequence) for row, sequence in enumerate(sequences)]
        self.lengths = np.array([len(ids) for ids in arrays], dtype=np.int64)
        self.ends = self.lengths.cumsum()
        self.ids = torch.from_numpy(np.concatenate(arrays)) if arrays else torch.empty(0)
        self.labels = None if labels is None else _labels(labels, len(arrays))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> tuple[int, Tensor]:
        end = self.ends[row]
        return row, self.ids[end - self.lengths[row] : end]


class _Sampler(Sampler[list[int]]):
    """Yields the rows of each batch; a pure function of lengths, seed and epoch."""

    def __init__(self, lengths: np.ndarray, budget: int, shuffle: bool, seed: int) -> None:
        self.lengths, self.budget, self.shuffle, self.seed = lengths, budget, shuffle, seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self._plan: list[np.ndarray] | None = None

    def plan(self) -> list[np.ndarray]:
        """Return the rows of each batch of this epoch; only one epoch's plan is kept."""
        if self._plan is None:
            self._plan = self._shuffled() if self.shuffle else self._cut(self._by_length())
        return self._plan

    def __len__(self) -> int:
        return len(self.plan())

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self.plan():
            yield rows.tolist()
        self.set_epoch(self.epoch + 1)

    def _by_length(self) -> Int[np.ndarray, " rows"]:
        return np.argsort(self.lengths, kind="stable")

    def _shuffled(self) -> list[np.ndarray]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(len(self.lengths))
        pool = math.ceil(POOL_BATCHES * self.budget / self.lengths.mean())
        pool = min(pool, math.ceil(len(order) / LEAST_POOLS))
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        pools = [rows[np.argsort(self.lengths[rows], kind="stable")] for rows in pools]
        # Every second pool runs from long to short: where two pools meet lengths are alike,
        # so a batch may span the seam and none is left nearly empty.
        pools[1::2] = [rows[::-1] for rows in pools[1::2]]
        plan = self._cut(np.concatenate(pools))
        return [plan[i] for i in random.permutation(len(plan))]

    def _cut(self, order: Int[np.ndarray, " rows"]) -> list[np.ndarray]:
        starts, longest = [0], 0
        for place, length in enumerate(self.lengths[order].tolist()):
            longest = max(longest, length)
            if (place - starts[-1] + 1) * longest > self.budget:
                starts.append(place)
                longest = length
        return np.split(order, starts[1:])


def _collate(
    rows: list[tuple[int, Tensor]], labels: Int64[Tensor, " rows"] | None, pad_id: int
) -> dict[str, Tensor]:
    sequences = [ids for _, ids in rows]
    lengths = torch.tensor([len(ids) for ids in sequences])
    ids = pad_sequence(sequences, batch_first=True, padding_value=pad_id)  # [batch time]
    batch = {
        "ids": ids,
        "mask": torch.arange(ids.shape[1]) < lengths[:, None],  # [batch time]
        "rows": torch.tensor([row for row, _ in rows]),
    }
    if labels is not None:
        batch["labels"] = labels[batch["rows"]]
    return batch


def _ids(row: int, sequence: Any) -> Int64[np.ndarray, " time"]:
    if isinstance(sequence, str):
        raise ValueError(f"sequence {row} is text; turn it into token ids first")
    ids = np.asarray(sequence)
    if ids.ndim != 1:
        raise ValueError(f"sequence {row} has {ids.ndim} axes; give one list of ids a text")
    if not len(ids):
        raise ValueError(f"sequence {row} is empty: a row of padding alone; drop or mark it")
    if ids.dtype.kind not in "iu":
        raise ValueError(f"sequence {row} holds {ids.dtype}, not integer token ids")
    if ids.min() < 0:
        raise ValueError(f"sequence {row} holds a negative token id, {ids.min()}")
    if ids.max() > MOST:
        raise ValueError(f"sequence {row} holds a token id beyond int64, {ids.max()}")
    return ids.astype(np.int64, copy=False)


def _labels(labels: Iterable[Any], count: int) -> Int64[Tensor, " rows"]:
    array = np.asarray(labels if hasattr(labels, "__array__") else list(labels))
    if array.shape != (count,):
        raise ValueError(f"{count} sequences need {count} labels; got shape {array.shape}")
    if count and array.dtype.kind not in "iu":
        raise ValueError(f"labels hold {array.dtype}, not integer class indices")
    if count and array.min() < 0:
        row = int(array.argmin())
        raise ValueError(f"label {array[row]} of row {row} is negative; classes count from 0")
    if count and array.max() > MOST:
        row = int(array.argmax())
        raise ValueError(f"label {array[row]} of row {row} is beyond int64")
    return torch.from_numpy(array.astype(np.int64))
