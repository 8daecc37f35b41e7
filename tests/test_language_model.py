"""Facts about the language model: it is a distribution over sentences, whatever the batch."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutorial_lib import data
from tutorial_lib.language_model import END, LanguageModel, fit_language_model
from tutorial_lib.text import pad
from tutorial_lib.training import TrainConfig
from tutorial_lib.vocabulary import UNK

V, Z = 12, 3


def made(condition=0, vocabulary=V, **options):
    torch.manual_seed(0)
    return LanguageModel(vocabulary, condition, embedding=6, hidden=8, **options).eval()


def by_steps(model, sentence, condition=None):
    """Add up the sentence's log-probability word by word."""
    state, total = model.start(1, condition), 0.0
    for read, target in zip([END, *sentence], [*sentence, END], strict=True):
        logits, state = model.step(torch.tensor([read]), state, condition)
        total = total + torch.log_softmax(logits[0], 0)[target]
    return total


@pytest.mark.equation("eq-sentence-likelihood")
@pytest.mark.parametrize("condition", [0, Z])
def test_likelihood_is_the_product_of_its_steps(condition):
    model, sentence = made(condition), [3, 7, UNK, 2, 11]
    code = torch.randn(1, condition) if condition else None
    ids, mask = pad([sentence])
    torch.testing.assert_close(model(ids, mask, code)[0], by_steps(model, sentence, code))


def test_probabilities_of_all_sentences_and_of_all_longer_ones_add_up_to_one():
    model, words, longest = made(vocabulary=4), range(UNK, 4), 3
    ended = [s for n in range(longest + 1) for s in itertools.product(words, repeat=n)]
    ids, mask = pad([list(sentence) for sentence in ended])
    with torch.no_grad():
        total = model(ids, mask).exp().sum()
        for sentence in itertools.product(words, repeat=longest + 1):
            state, begins = model.start(1), 1.0
            for read, target in itertools.pairwise([END, *sentence]):
                logits, state = model.step(torch.tensor([read]), state)
                begins = begins * logits[0].softmax(0)[target]
            total += begins
    assert total.item() == pytest.approx(1, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, V - 1), max_size=9), min_size=1, max_size=5))
def test_neighbours_and_padding_do_not_change_a_sentence(sentences):
    model = made(Z)
    codes = torch.randn(len(sentences), Z)
    ids, mask = pad([*sentences, [5] * 12])
    ids = ids.masked_fill(~mask, 4)  # whatever stands there
    together = model(ids, mask, torch.cat([codes, codes[:1]]))[:-1]
    alone = [model(*pad([s]), code[None])[0] for s, code in zip(sentences, codes, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-4)


def test_an_empty_sentence_has_the_probability_of_ending_at_once():
    model = made()
    ids, mask = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.bool)
    logits, _ = model.step(torch.tensor([END]), model.start(1))
    torch.testing.assert_close(model(ids, mask)[0], torch.log_softmax(logits[0], 0)[END])


def test_ten_thousand_words_are_no_trouble():
    ids = torch.randint(2, V, (1, 10_000))
    found = made()(ids, torch.ones_like(ids, dtype=torch.bool))
    assert found.isfinite().all()
    assert found.item() < -10_000  # no word is nearly certain for a model that has learned nothing


def test_with_all_words_hidden_only_their_number_is_read():
    model = made()
    ids, mask = pad([[3, 4, 5, 6]])
    model.embedding.weight.requires_grad_()
    torch.manual_seed(1)
    hidden = model(ids, mask, word_dropout=1.0)
    (gradient,) = torch.autograd.grad(hidden.sum(), model.embedding.weight)
    assert gradient[UNK].abs().sum() > 0
    assert not gradient[2:].any()
    assert model(ids, mask).item() != hidden.item()
    # What is hidden is read as unknown, and to be written as it was.
    state, total = model.start(1), 0.0
    for read, target in zip([END, UNK, UNK, UNK, UNK], [3, 4, 5, 6, END], strict=True):
        logits, state = model.step(torch.tensor([read]), state)
        total = total + logits[0].log_softmax(0)[target]
    torch.testing.assert_close(hidden[0], total)


def test_dropout_hides_what_is_read_and_the_state():
    model = made(dropout=1.0).train()
    guess = model.output.bias.log_softmax(0)
    torch.testing.assert_close(model(*pad([[3, 7]]))[0], guess[[3, 7, END]].sum())
    after = [model.step(torch.tensor([word]), model.start(1))[0] for word in (3, 7)]
    torch.testing.assert_close(*after)


def test_a_fit_notes_the_loss_of_a_sentence_and_is_judged_by_others():
    model = made(dropout=0.0)
    one, held = (data.batches([np.array(s)] * 4, token_budget=64) for s in ([2, 3], [9, 9, 9]))
    before = -model(*pad([[2, 3]])).item()
    history = fit_language_model(model, one, held, TrainConfig(1, precision="no"), progress=False)
    assert history.loss == pytest.approx([before])
    assert history.validation["loss"] == pytest.approx([-model.cpu()(*pad([[9, 9, 9]])).item()])


def test_the_condition_sets_the_first_state():
    model, code = made(Z), torch.randn(2, Z)
    h, c = model.start(2, code)
    expected = torch.tanh(code @ model.begin.weight.T + model.begin.bias)
    torch.testing.assert_close(torch.cat([h[0], c[0]], 1), expected)


def test_the_condition_matters_at_every_word():
    model, ids = made(Z), torch.randint(2, V, (1, 30))
    code = torch.randn(1, Z)
    state = model.start(1, code)
    for word in ids[0]:
        _, state = model.step(word[None], state, code)
    same, other = (model.step(ids[0, :1], state, c)[0] for c in (code, -code))
    assert (same - other).abs().max() > 1e-3  # the last step reads it afresh


@pytest.mark.parametrize(
    ("condition", "given_", "message"),
    [(Z, None, r"is \[1, 3\]; got \[1, 0\]"), (0, torch.ones(1, 2), r"is \[1, 0\]; got \[1, 2\]"),
     (Z, torch.ones(1, 2), r"is \[1, 3\]; got \[1, 2\]")],
)  # fmt: skip
def test_a_condition_that_does_not_fit_is_refused(condition, given_, message):
    model = made(condition)
    with pytest.raises(ValueError, match=message):
        model(*pad([[2, 3]]), given_)
    with pytest.raises(ValueError, match=message):
        model.start(1, given_)


def test_bad_batches_are_refused():
    model = made()
    ids, mask = pad([[2, 3], [4]])
    with pytest.raises(ValueError, match="padding stands on the right"):
        model(ids, mask.flip(1))
    with pytest.raises(ValueError, match="ids run from 0"):
        model(ids + V, mask)
    with pytest.raises(ValueError, match="id 0 ends a sentence"):
        model(torch.tensor([[2, 0, 3]]), torch.ones(1, 3) > 0)
    with pytest.raises(ValueError, match="0 or more numbers"):
        LanguageModel(V, -1)
    with pytest.raises(ValueError, match="at least 1"):
        LanguageModel(V, hidden=0)


def test_training_finds_the_entropy_of_what_it_reads():
    # Four sentences, each as often: no model says them in less than log 4 nats.
    sentences = [np.array(s) for s in ([2, 3], [2, 4, 5], [6], [7, 7, 7])] * 16
    batches = data.batches(sentences, token_budget=64)
    torch.manual_seed(0)
    model = LanguageModel(V, embedding=6, hidden=16, dropout=0.0)
    history = fit_language_model(
        model, batches, batches, TrainConfig(60, 2e-2, precision="no"), progress=False
    )
    best = history.validation["loss"][history.best_epoch]
    assert math.log(4) - 1e-4 < best < math.log(4) + 0.05
