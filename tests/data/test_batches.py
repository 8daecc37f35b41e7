"""Batches: every row once, the budget kept, little padding, a fresh order each epoch."""

import gc
import re
import tracemalloc

import numpy as np
import pytest
import torch

from tutorial_lib.data.batches import batches


def ragged(count=700, longest=60, seed=0):
    """Sequences whose first id is their row, so that a batch can be traced back."""
    numbers = np.random.default_rng(seed)
    lengths = numbers.integers(1, longest + 1, count)
    return [[row, *numbers.integers(1, 99, n - 1).tolist()] for row, n in enumerate(lengths)]


HUGE = np.array([3, 2**63], np.uint64)


def orders(data):
    return [batch["rows"].tolist() for batch in data]


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_sequence_comes_once_intact_and_within_the_budget(shuffle):
    sequences = ragged()
    labels = [len(s) % 3 for s in sequences]
    data = batches(sequences, labels, token_budget=256, shuffle=shuffle, pad_id=7)
    for _ in range(2):
        expected = len(data)
        seen, number = [], 0
        for batch in data:
            ids, mask, rows = batch["ids"], batch["mask"], batch["rows"].tolist()
            assert ids.dtype == batch["labels"].dtype == batch["rows"].dtype == torch.int64
            assert mask.dtype == torch.bool and ids.shape == mask.shape
            assert ids.numel() <= 256
            assert (ids[~mask] == 7).all() and mask.any(dim=0).all()
            for place, row in enumerate(rows):
                assert ids[place][mask[place]].tolist() == sequences[row]
                assert mask[place].tolist() == sorted(mask[place].tolist(), reverse=True)
                assert batch["labels"][place] == labels[row]
            seen += rows
            number += 1
        assert sorted(seen) == list(range(len(sequences)))
        assert number == expected


def test_padding_share_is_what_the_batches_hold_and_far_below_naive_batches():
    sequences = ragged(4000)
    data = batches(sequences, token_budget=512)
    share = data.padding_share
    counted = [(int((~b["mask"]).sum()), b["mask"].numel()) for b in data]
    padding, cells = map(sum, zip(*counted, strict=True))
    assert share == pytest.approx(padding / cells, abs=1e-12)
    # Uniform lengths 1…60 in random batches of ten waste about 1 - 30.5 / 55.5 = 45 %.
    assert share < 0.10


def test_sorted_order_without_shuffling():
    sequences = ragged(300)
    data = batches(sequences, token_budget=300, shuffle=False)
    first = orders(data)
    flat = [row for rows in first for row in rows]
    assert flat == sorted(range(300), key=lambda row: len(sequences[row]))  # stable
    assert orders(data) == first


def test_each_epoch_is_shuffled_afresh_and_reproducibly():
    sequences = ragged()
    data = batches(sequences, token_budget=256, seed=3)
    first, second = orders(data), orders(data)  # the epoch moves on by itself
    assert first != second
    data.set_epoch(0)
    assert orders(data) == first
    again = batches(sequences, token_budget=256, seed=3)
    again.set_epoch(1)
    assert orders(again) == orders(data) == second
    # Nor is the next seed the next epoch: runs of seeds in a row would share their shufflings.
    other = batches(sequences, token_budget=256, seed=4)
    assert orders(other) not in (first, second, orders(data))


def test_shuffling_changes_company_and_place():
    """Neither the same batches in another order nor batches in order of length."""
    sequences = ragged(2000)
    data = batches(sequences, token_budget=256)
    first, second = orders(data), orders(data)
    assert not {frozenset(rows) for rows in first} & {
        frozenset(rows) for rows in second if len(rows) > 1
    }
    lengths = [float(np.mean([len(sequences[row]) for row in rows])) for rows in first]
    ranks = np.argsort(np.argsort(lengths))
    assert abs(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1]) < 0.3


def test_equal_lengths_fill_every_batch():
    sizes = [len(rows) for rows in orders(batches([[1] * 10] * 1000, token_budget=100))]
    assert sizes == [10] * 100


@pytest.mark.parametrize("seed", range(5))
def test_lengths_mix_within_pools_only_and_not_where_two_meet(seed):
    """404 rows make the least number of pools, four, each with one change of length."""
    sequences = [[1] * (19 + row % 2) for row in range(404)]  # ten rows of either fill a batch
    data = batches(sequences, token_budget=200, seed=seed)
    assert sum(len({len(sequences[row]) for row in rows}) == 2 for rows in orders(data)) <= 4


def test_pools_stay_small_however_many_rows_there_are():
    """Of P sorted draws from a range R, neighbours lie R / (P + 1) apart: P is 50 batches."""
    lengths = np.random.default_rng(0).integers(300, 401, 4000)
    sequences = [np.ones(n, np.int64) for n in lengths]
    pairs = [lengths[rows] for rows in orders(batches(sequences, token_budget=800))]
    apart = np.mean([np.ptp(pair) for pair in pairs])  # two rows fill each batch
    assert apart == pytest.approx(100 / (50 * 800 / 350 + 1), rel=0.25)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, lambda ids: np.array(ids, "int32")])
def test_lists_arrays_and_tensors_are_alike(kind):
    sequences = ragged(40)
    plain = list(batches(sequences, [0] * 40, seed=1))
    other = list(batches([kind(ids) for ids in sequences], kind([0] * 40), seed=1))
    for a, b in zip(plain, other, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a) and a.keys() == b.keys()


def test_input_is_copied():
    ids = np.array([1, 2, 3])
    data = batches([ids])
    ids[:] = 9
    assert next(iter(data))["ids"].tolist() == [[1, 2, 3]]


def test_memory_does_not_grow_with_epochs():
    data = batches(ragged(), token_budget=256)

    def held_after(epochs):
        for _ in range(epochs):
            orders(data)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = held_after(3)
        after = held_after(20)
    finally:
        tracemalloc.stop()
    assert after - before < 50_000  # one epoch's plan alone holds 700 row numbers: 5.6 kB


@pytest.mark.parametrize(
    ("sequences", "labels", "message"),
    [
        ([], None, "no sequences"),
        ([[1], [], [2]], None, "sequence 1 is empty"),
        ([[1], [2] * 17], None, "sequence 1 has 17 tokens, more than token_budget=16"),
        ([[1], [2.5]], None, "sequence 1 holds float64"),
        ([[1], ["a"]], None, "sequence 1 holds <U1"),
        ([[1], "text"], None, "sequence 1 is text"),
        ([[1], [True]], None, "sequence 1 holds bool"),
        ([[1], [[2, 3]]], None, "sequence 1 has 2 axes"),
        ([[1], [3, -2]], None, "sequence 1 holds a negative token id, -2"),
        ([[1], [2]], [0], "2 sequences need 2 labels; got shape (1,)"),
        ([[1], HUGE], None, "sequence 1 holds a token id beyond int64, 9223372036854775808"),
        ([[1], [2]], HUGE, "label 9223372036854775808 of row 1 is beyond int64"),
        ([[1], [2]], [0, -1], "label -1 of row 1 is negative"),
        ([[1], [2]], [0.0, 1.0], "labels hold float64"),
        ([[1], [2]], [[0, 1], [1, 0]], "2 sequences need 2 labels; got shape (2, 2)"),
    ],
)
def test_bad_input_is_named(sequences, labels, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        batches(sequences, labels, token_budget=16)


def test_accelerate_prepares_them():
    """Each process of several is tested in tests/training/test_processes.py."""
    # Older releases insist on even batches; training.train does without `prepare`.
    accelerate = pytest.importorskip("accelerate", minversion="1.14")
    sequences = ragged(200)
    plain = batches(sequences, token_budget=128)
    prepared = accelerate.Accelerator(cpu=True).prepare(batches(sequences, token_budget=128))
    epochs = [orders(prepared), orders(prepared)]
    assert epochs == [orders(plain), orders(plain)]
    prepared.set_epoch(0)
    assert orders(prepared) == epochs[0]
