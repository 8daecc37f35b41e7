"""Objectives and batches of pre-training, against closed forms and counts."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tutorial_lib import pretraining
from tutorial_lib.albert import AlbertConfig
from tutorial_lib.packing import PackedText
from tutorial_lib.pretraining import CLS, MASK, NONE, SEP, WORDS, Phase, PretrainConfig

VOCABULARY = 50
STARTS = torch.arange(VOCABULARY) % 3 > 0  # ids 6, 9, 12, … go on with a word
SMALL = AlbertConfig(
    vocab_size=VOCABULARY, embedding_size=16, hidden_size=32, num_hidden_layers=2,
    num_attention_heads=2, intermediate_size=64, max_position_embeddings=64,
    classifier_dropout_prob=0.0, initializer_range=0.2,
)  # fmt: skip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def some_ids(rows=200, time=120):
    return torch.randint(WORDS, VOCABULARY, (rows, time), generator=generator(1))


def config(objective="masked", length=32, tokens=256, **more):
    return PretrainConfig(10, (Phase(objective, 1.0, length),), tokens=tokens, **more)


def stream(size=5000, documents=True):
    """Numbers that count up, so that a token tells its place in its neighbourhood."""
    tokens = WORDS + np.arange(size) % (VOCABULARY - WORDS)
    if documents:
        tokens[100::311] = SEP
    return tokens.astype(np.uint16)


@pytest.mark.equation("eq-ngram-length")
def test_lengths_of_ngrams_are_in_proportion_to_their_inverse():
    # Lan et al. 2020, section 4.1, for at most three words: 1 / (1 + 1/2 + 1/3) = 6/11.
    expected = torch.tensor([6 / 11, 3 / 11, 2 / 11])
    torch.testing.assert_close(pretraining.ngram_lengths(3), expected)
    assert pretraining.ngram_lengths(1).tolist() == [1.0]


def test_words_are_cut_into_neighbours_of_these_lengths():
    words = torch.arange(3000).expand(20, -1)
    ngrams = pretraining.cut_into_ngrams(words, 3, generator())
    steps = ngrams.diff(dim=1)
    assert ngrams[:, 0].eq(0).all() and steps.min() == 0 and steps.max() == 1
    lengths = torch.cat([row.bincount()[:-1] for row in ngrams])  # the last one may be cut short
    shares = lengths.bincount(minlength=4) / len(lengths)
    torch.testing.assert_close(shares, torch.tensor([0, 6, 3, 2]) / 11, atol=0.01, rtol=0)


def test_whole_words_are_hidden_up_to_the_budget():
    ids = some_ids()
    ids[:, 0], ids[:, 60], ids[:, -1] = CLS, SEP, SEP
    chosen = pretraining.choose_words(ids, STARTS, 0.15, 3, generator())
    assert not chosen[ids < WORDS].any()
    goes_on = ~(STARTS[ids] | (ids < WORDS))
    after_special = F.pad(ids[:, :-1] < WORDS, (1, 0), value=True)
    same_word = goes_on & ~after_special
    assert (chosen[:, 1:] == chosen[:, :-1])[same_word[:, 1:]].all()
    counts = chosen.sum(1)
    assert counts.max() == 18 and counts.min() >= 16  # 15 % of 120, but for a last piece
    assert counts.float().mean() > 17.8
    # Each place is as likely as another.
    assert chosen[:, 1:60].float().mean() == pytest.approx(
        chosen[:, 61:-1].float().mean().item(), rel=0.1
    )


def test_of_the_chosen_80_percent_are_masked_10_random_10_kept():
    ids = some_ids(400, 200)
    chosen = torch.rand(ids.shape, generator=generator(2)) < 0.5
    hidden = pretraining.hide(ids, chosen, VOCABULARY, generator())
    assert hidden[~chosen].equal(ids[~chosen])
    assert (hidden[chosen] == MASK).float().mean() == pytest.approx(0.8, abs=0.01)
    # One random word in 45 is the word itself.
    kept = (hidden[chosen] == ids[chosen]).float().mean()
    assert kept == pytest.approx(0.1 + 0.1 / 45, abs=0.01)
    assert hidden[hidden != MASK].min() >= WORDS


@pytest.mark.equation("eq-masked-lm")
def test_masked_lm_loss():
    targets = torch.tensor([[7, 8, NONE], [9, NONE, NONE]])
    logits = torch.randn(6, VOCABULARY, generator=generator())
    log_p = logits.log_softmax(1)
    expected = -((log_p[0, 7] + log_p[1, 8]) / 2 + log_p[3, 9]) / 2
    torch.testing.assert_close(pretraining.masked_lm_loss(logits, targets), expected)
    flat = pretraining.masked_lm_loss(torch.zeros(6, VOCABULARY), targets)
    assert flat.item() == pytest.approx(math.log(VOCABULARY))
    assert pretraining.masked_lm_loss(logits[:3], torch.full((1, 3), NONE)) == 0


@pytest.mark.equation("eq-masked-lm")
def test_with_as_many_words_in_each_row_it_is_what_transformers_computes():
    from transformers import AlbertConfig as Theirs
    from transformers import AlbertForMaskedLM

    torch.manual_seed(0)
    sizes = {"embedding_size": 16, "hidden_size": 32, "intermediate_size": 64}
    heads = {"num_attention_heads": 2, "num_hidden_layers": 1}
    model = AlbertForMaskedLM(Theirs(vocab_size=VOCABULARY, **sizes, **heads)).eval()
    ids, labels = some_ids(4, 8), torch.full((4, 8), NONE)
    labels[:, 2:5] = ids[:, 2:5]
    with torch.no_grad():
        out = model(ids, labels=labels)
    ours = pretraining.masked_lm_loss(out.logits.flatten(0, 1), labels)
    torch.testing.assert_close(ours, out.loss)


@pytest.mark.equation("eq-sentence-order")
def test_sentence_order_loss():
    logits = torch.tensor([[2.0, -1.0], [0.0, 0.0], [5.0, 1.0]])
    loss = pretraining.sentence_order_loss(logits, torch.tensor([1, 0, NONE]))
    assert loss.item() == pytest.approx((math.log1p(math.exp(3)) + math.log(2)) / 3)


def test_replaced_token_loss():
    logits = torch.tensor([[2.0, -3.0, 100.0], [0.0, 7.0, 7.0]])
    replaced = torch.tensor([[True, False, False], [False, False, False]])
    counts = torch.tensor([[True, True, False], [True, False, False]])
    loss = pretraining.replaced_token_loss(logits, replaced, counts)
    first = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-3))) / 2
    assert loss.item() == pytest.approx((first + math.log(2)) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_samples_follow_the_models_distribution(dtype):
    logits = torch.randn(VOCABULARY, generator=generator()).to(dtype)
    draws = (torch.arange(10_000) + 0.5) / 10_000  # evenly spread: counts are exact but for 1
    found = pretraining.sample(logits.expand(len(draws), -1), draws)
    expected = logits[WORDS:].double().softmax(0) * len(draws)
    counts = found.bincount(minlength=VOCABULARY)
    assert counts[:WORDS].sum() == 0
    assert (counts[WORDS:] - expected).abs().max() <= 1.5


def test_phases_follow_one_another_and_the_last_stays():
    phases = (Phase("causal", 0.2), Phase("masked", 0.5), Phase("replaced", 0.3))
    plan = PretrainConfig(100, phases)
    assert [plan.place(step) for step in (0, 19, 20, 69, 70, 500)] == [
        (0, 0), (0, 19), (1, 0), (1, 49), (2, 0), (2, 430),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ((Phase("guess", 1.0),), "objectives are causal"),
        ((Phase("masked", 0.5),), "add up to 1"),
        ((Phase("masked", 1.0, 100),), "divisor"),
        ((), "add up to 1"),
    ],
)
def test_phases_that_cannot_be(phases, message):
    with pytest.raises(ValueError, match=message):
        PretrainConfig(10, phases)


def test_a_text_shorter_than_two_rows():
    with pytest.raises(ValueError, match="too few"):
        PackedText(stream(40), STARTS, config())


@pytest.mark.parametrize("objective", pretraining.OBJECTIVES)
def test_a_batch_depends_on_its_place_alone(objective):
    one, two = (PackedText(stream(), STARTS, config(objective)) for _ in range(2))
    for step in range(5):
        one.batch(step)
    for name, tensor in two.batch(3).items():
        assert tensor.equal(one.batch(3)[name]), name
        if name not in ("types", "order"):  # few rows: they may be alike by chance
            assert not tensor.equal(one.batch(4)[name]), name
    other = PackedText(stream(), STARTS, config(objective, seed=1))
    assert not other.batch(3)["ids"].equal(one.batch(3)["ids"])


def test_an_epoch_reads_every_row_once_and_the_next_cuts_elsewhere():
    text = PackedText(np.arange(30_000).astype(np.uint16), STARTS.repeat(700), config("causal"))
    rows = (30_000 - 30) // 30  # of 30 tokens and two special ones
    firsts = torch.cat([text.batch(step)["ids"][:, 1] for step in range(2 * rows // 8 + 1)])
    first, second = firsts[:rows], firsts[rows : 2 * rows]
    assert len(first.unique()) == len(second.unique()) == rows
    assert len((first % 30).unique()) == len((second % 30).unique()) == 1
    assert first[0] % 30 != second[0] % 30
    assert (first.diff() < 0).any()


def test_causal_batches_predict_what_comes_next():
    batch = PackedText(stream(), STARTS, config("causal", predicted=0.5)).batch(0)
    assert batch["positions"].shape == (8, 15)  # half of the 31 tokens that have a successor
    assert (batch["ids"][:, 0] == CLS).all() and (batch["ids"][:, -1] == SEP).all()
    successors = batch["ids"].gather(1, batch["positions"] + 1)
    assert batch["targets"].equal(successors)
    assert all(len(row.unique()) == 15 for row in batch["positions"])


def test_pairs_are_two_neighbouring_stretches_swapped_half_of_the_time():
    text = PackedText(stream(), STARTS, config("replaced"))
    batches = [text.batch(step) for step in range(120)]
    ids, types, order = (
        torch.cat([b[name] for b in batches]) for name in ("originals", "types", "order")
    )
    swapped = 0
    for row, kinds, which in zip(ids, types, order.tolist(), strict=True):
        inner = (row[1:-1] == SEP).nonzero()[:, 0]
        if which == NONE:
            # It holds the end of a document, or its own ends would tell the order.
            broken = not (STARTS[row[1]] and STARTS[row[-2]])
            assert (len(inner) == 1 or broken) and kinds.sum() == 0
            continue
        assert len(inner) == 1 and kinds.tolist() == sorted(kinds.tolist())
        middle = int(inner[0]) + 1
        assert kinds[middle] == 0 and kinds[middle + 1] == 1
        first, second = row[1:middle], row[middle + 1 : -1]
        if which == 1:
            first, second = second, first
            swapped += 1
        assert STARTS[second[0]] and STARTS[first[0]], "cut within a word"
        joined = torch.cat([first, second]) - WORDS
        assert (joined.diff() % (VOCABULARY - WORDS) == 1).all()
        assert min(len(first), len(second)) >= 7
    pairs = int((order != NONE).sum())
    assert pairs > 250 and swapped / pairs == pytest.approx(0.5, abs=0.1)


def test_neither_the_cut_nor_the_end_of_a_row_tells_the_order():
    text = PackedText(stream(), STARTS, config("replaced"))
    batches = [text.batch(step) for step in range(120)]
    ids, order = (torch.cat([b[name] for b in batches]) for name in ("originals", "order"))
    first = (ids[:, 1:-1] == SEP).int().argmax(1).double()  # tokens before the cut
    assert first[order == 0].std() > 3
    assert first[order == 0].mean().item() == pytest.approx(first[order == 1].mean(), abs=1.5)
    follows = WORDS + (ids[order == 0, -2] - WORDS + 1) % (VOCABULARY - WORDS)
    assert STARTS[follows].all()  # no row with a pair ends within a word


def test_hidden_words_can_be_put_back():
    batch = PackedText(stream(), STARTS, config("replaced")).batch(0)
    counts = batch["targets"] != NONE
    assert batch["positions"].shape == (8, 4) and counts.any(1).all()
    restored = batch["ids"].scatter(
        1, batch["positions"],
        torch.where(counts, batch["targets"], batch["ids"].gather(1, batch["positions"])),
    )  # fmt: skip
    assert restored.equal(batch["originals"])


def test_losses_are_those_of_the_batch_and_means_over_its_rows():
    torch.manual_seed(0)
    model = pretraining.Pretrainer(SMALL)
    names = {
        "causal": {"words"}, "masked": {"words", "order"},
        "replaced": {"words", "order", "detection"},
    }  # fmt: skip
    for objective, expected in names.items():
        batch = PackedText(stream(), STARTS, config(objective)).batch(0)
        losses, _ = model(batch)
        assert set(losses) == expected
        halves = [{k: v[part] for k, v in batch.items()} for part in (slice(4), slice(4, 8))]
        for name, loss in losses.items():
            mean = (model(halves[0])[0][name] + model(halves[1])[0][name]) / 2
            torch.testing.assert_close(loss, mean, msg=name)


def test_causal_rows_do_not_see_what_comes_next():
    torch.manual_seed(0)
    model = pretraining.Pretrainer(SMALL)
    batch = PackedText(stream(), STARTS, config("causal")).batch(0)
    batch["positions"] = batch["positions"] * 0 + torch.arange(15)
    before = model(batch)[1]["words"]
    batch["ids"][:, 15:] = WORDS
    torch.testing.assert_close(model(batch)[1]["words"], before)


def test_only_hidden_words_are_replaced_and_a_right_guess_is_none():
    torch.manual_seed(0)
    model = pretraining.Pretrainer(SMALL)
    batch = PackedText(stream(), STARTS, config("replaced")).batch(0)
    replaced = model(batch)[1]["replaced"]
    hidden = torch.zeros_like(replaced).scatter(1, batch["positions"], batch["targets"] != NONE)
    assert replaced.any() and not replaced[~hidden].any()
    certain = torch.full((batch["targets"].numel(), VOCABULARY), -50.0)
    certain.scatter_(1, batch["targets"].clamp(min=0).flatten()[:, None], 50.0)
    guessed, replaced = model._replace(batch, certain)
    assert guessed.equal(batch["originals"]) and not replaced.any()


def test_the_detector_reads_the_models_own_words_and_is_asked_about_every_word():
    torch.manual_seed(0)
    model = pretraining.Pretrainer(SMALL)
    text = PackedText(stream(), STARTS, config("replaced"))
    batch = next(b for b in map(text.batch, range(99)) if b["types"].any())  # one with a pair
    losses, logits = model(batch)
    guessed, replaced = model._replace(batch, logits["words"])
    states = model.model.albert(guessed, None, batch["types"]).states
    expected, words = model.detector(states)[..., 0], batch["originals"] >= WORDS
    torch.testing.assert_close(logits["detection"], expected)
    each = F.binary_cross_entropy_with_logits(expected, replaced.float(), reduction="none")
    rows = [row[counts].mean() for row, counts in zip(each, words, strict=True)]
    torch.testing.assert_close(losses["detection"], torch.stack(rows).mean())


def test_the_total_is_weighted():
    losses = {
        "words": torch.tensor(1.0),
        "order": torch.tensor(2.0),
        "detection": torch.tensor(3.0),
    }
    plan = config(order_weight=0.5, detection_weight=10.0)
    assert pretraining.weighted(losses, plan).item() == 32.0


@pytest.mark.parametrize("objective", ["masked", "replaced"])
def test_a_text_that_counts_up_is_learned(objective):
    """Each word follows from its neighbours: the losses fall far below those of guessing."""
    torch.manual_seed(0)
    model = pretraining.Pretrainer(SMALL)
    starts = torch.ones(VOCABULARY, dtype=torch.bool)
    phases = (Phase("causal", 0.4, 16), Phase(objective, 0.6, 16))
    plan = PretrainConfig(150, phases, tokens=512, longest=1, detection_weight=5.0)
    text = PackedText(stream(documents=False), starts, plan)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    words = []
    for step in range(250):
        losses, _ = model(text.batch(step))
        words.append(losses["words"].item())
        optimizer.zero_grad()
        pretraining.weighted(losses, plan).backward()
        optimizer.step()
    guess = math.log(VOCABULARY - WORDS)
    assert words[0] > guess and words[59] < 0.8 * guess  # at the end of the causal phase
    found = {name: loss.item() for name, loss in model(text.batch(300))[0].items()}
    assert found["words"] < 0.8 * guess
    assert found["order"] < 0.5 * math.log(2)
