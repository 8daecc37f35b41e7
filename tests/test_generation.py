"""Facts about writing: greedy, sampled and searched sentences."""

import itertools
import math

import pytest
import torch

from tutorial_lib import generation
from tutorial_lib.language_model import END, LanguageModel
from tutorial_lib.vocabulary import UNK

V, Z = 9, 3


def made(condition=0, vocabulary=V, scale=2.0):
    torch.manual_seed(0)
    model = LanguageModel(vocabulary, condition, embedding=6, hidden=8).eval()
    with torch.no_grad():
        model.output.weight.mul_(scale * 3)  # far from uniform, so that choices differ
    return model


def test_greedy_takes_the_most_probable_word_each_time():
    model, codes = made(Z), torch.randn(4, Z)
    for code, found in zip(codes, generation.greedy(model, codes, longest=10), strict=True):
        written = []
        while len(written) < 10:
            state = model.start(1, code[None])
            for word in [END, *written]:
                logits, state = model.step(torch.tensor([word]), state, code[None])
            order = logits[0].argsort(descending=True).tolist()
            best = next(i for i in order if i != UNK)
            if best == END:
                break
            written.append(best)
        assert found == written


def test_decoding_from_one_code_gives_one_sentence():
    model, codes = made(Z), torch.randn(3, Z)
    for write in (generation.greedy, generation.beam_search):
        assert write(model, codes) == write(model, codes)
        alone = [write(model, code[None])[0] for code in codes]
        assert write(model, codes) == alone


@pytest.mark.equation("eq-sample-word")
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_first_words_are_drawn_as_often_as_they_are_probable(temperature):
    model = made()
    found = generation.sample(model, sentences=20_000, longest=1, temperature=temperature)
    counts = torch.zeros(V)
    for sentence in found:
        counts[sentence[0] if sentence else END] += 1
    logits, _ = model.step(torch.tensor([END]), model.start(1))
    logits[:, UNK] = -torch.inf
    expected = (logits[0] / temperature).softmax(0)
    error = (expected * (1 - expected) / 20_000).sqrt()
    assert ((counts / 20_000 - expected).abs() <= 4.5 * error + 1e-9).all()


def test_temperature_zero_is_greedy_and_infinity_is_uniform():
    model = made()
    assert generation.sample(model, temperature=0.0) == generation.greedy(model)
    assert (
        generation.sample(model, sentences=50, temperature=1e-30) == generation.greedy(model) * 50
    )
    for temperature in (1e30, float("inf")):
        found = generation.sample(model, sentences=8_000, longest=1, temperature=temperature)
        words = torch.tensor([s[0] if s else END for s in found]).bincount(minlength=V)
        assert words[UNK] == 0
        assert (words[torch.arange(V) != UNK] - 1000).abs().max() < 150  # five deviations


@pytest.mark.parametrize("temperature", [1e-50, 1e-30, 0.01, 1.0, 1e30])
def test_a_likely_unknown_word_is_no_trouble_at_any_temperature(temperature):
    model = made()
    with torch.no_grad():
        model.output.bias[UNK] = 50.0
    found = generation.sample(model, sentences=20, longest=5, temperature=temperature)
    assert all(UNK not in sentence for sentence in found)
    if temperature < 1e-6:
        assert found == generation.greedy(model, longest=5) * 20


def log_probability(model, sentence):
    """Of a sentence, where the unknown word cannot be written."""
    state, total = model.start(1), 0.0
    for read, target in zip([END, *sentence], [*sentence, END], strict=True):
        logits, state = model.step(torch.tensor([read]), state)
        logits[:, UNK] = -torch.inf
        total += torch.log_softmax(logits[0], 0)[target].item()
    return total


@pytest.mark.equation("eq-beam")
def test_a_wide_beam_finds_the_best_sentence_of_all():
    words, longest = range(2, 5), 4
    for seed in range(5):
        model = made(vocabulary=5, scale=1.0)
        torch.manual_seed(seed)
        with torch.no_grad():
            model.output.bias.normal_()
            model.output.bias[END] += 2  # so that the best one is not cut at the longest length
        every = [s for n in range(longest) for s in itertools.product(words, repeat=n)]
        best = max(every, key=lambda s: log_probability(model, s))
        (found,) = generation.beam_search(model, beams=3**5, longest=10)
        assert tuple(found) == best or log_probability(model, found) > log_probability(model, best)
        assert log_probability(model, found) >= log_probability(model, generation.greedy(model)[0])


class Table(LanguageModel):
    """A model whose next word depends on the last one alone, by a table of probabilities."""

    rows = {END: {END: 0.4, 2: 0.6}, 2: {3: 0.95, END: 0.05}, 3: {END: 0.97, 2: 0.03}}

    def step(self, word, state, condition=None):
        probs = torch.zeros(len(word), V)
        for row, last in enumerate(word.tolist()):
            for following, p in self.rows[last].items():
                probs[row, following] = p
        return probs.log(), state


def test_the_search_goes_on_after_a_first_sentence_has_ended():
    model = Table(V, embedding=6, hidden=8)
    # Ending at once has 0.4, [2, 3] has 0.6 · 0.95 · 0.97 = 0.553.
    assert generation.beam_search(model, beams=2) == [[2, 3]]
    assert generation.beam_search(model, beams=2, longest=1) == [[2]]  # 0.6, still open
    model.rows = {**Table.rows, 2: {3: 0.5, END: 0.5}}  # now 0.6 · 0.5 < 0.4
    assert generation.beam_search(model, beams=2) == [[]]
    # The unknown word is never written: what it might have had goes to the others.
    model.rows = {END: {END: 0.4, 2: 0.6}, 2: {UNK: 0.5, END: 0.5}}
    assert generation.beam_search(model) == [[2]]


def searched(model, code, beams, longest):
    """The same search without states: each beginning is read again from its first word."""
    best, going = ([], -math.inf), [([], 0.0)]
    for _ in range(longest):
        every = []
        for words, score in going:
            state = model.start(1, code)
            for word in [END, *words]:
                logits, state = model.step(torch.tensor([word]), state, code)
            logits[:, UNK] = -torch.inf
            after = logits[0].log_softmax(0).tolist()
            every += [([*words, word], score + p) for word, p in enumerate(after)]
        kept = sorted(every, key=lambda pair: -pair[1])[:beams]
        best = max([best, *((w[:-1], p) for w, p in kept if w[-1] == END)], key=lambda e: e[1])
        going = [pair for pair in kept if pair[0][-1] != END]
    return max([best, *going], key=lambda pair: pair[1])[0]


@pytest.mark.parametrize("beams", [2, 3])
def test_each_beginning_keeps_its_state_and_each_row_its_code(beams):
    model = made(2, vocabulary=5)
    with torch.no_grad():
        for weight in (*model.layer.parameters(), model.begin.weight):
            weight.mul_(3)  # so that state and code decide what is said
        model.output.bias[END] -= 1
    codes = torch.randn(8, 2)
    expected = [searched(model, code[None], beams, 8) for code in codes]
    assert generation.beam_search(model, codes, beams=beams, longest=8) == expected
    assert len(set(map(tuple, expected))) > 2


def test_one_beam_is_greedy():
    for seed in range(5):
        model, code = made(Z), torch.randn(1, Z, generator=torch.Generator().manual_seed(seed))
        one = generation.beam_search(model, code, beams=1, longest=12)
        assert one == generation.greedy(model, code, longest=12)


def test_more_beams_never_find_less_here():
    model = made(scale=0.5)
    with torch.no_grad():
        model.output.bias[END] += 1
    found = [
        log_probability(model, generation.beam_search(model, beams=k, longest=30)[0])
        for k in (1, 4, 64)
    ]
    assert found[0] <= found[1] + 1e-5 <= found[2] + 2e-5


def test_the_unknown_word_is_never_written_and_the_length_is_kept():
    model = made()
    with torch.no_grad():
        model.output.bias[UNK], model.output.bias[END] = 50.0, -50.0
    for found in (
        generation.greedy(model, longest=7),
        generation.sample(model, sentences=20, longest=7),
        generation.beam_search(model, longest=7),
    ):
        assert all(len(s) == 7 and UNK not in s and END not in s for s in found)


def test_an_empty_sentence_can_be_written():
    model = made()
    with torch.no_grad():
        model.output.bias[END] = 100.0
    assert generation.greedy(model) == generation.beam_search(model) == [[]]


def test_writing_leaves_the_mode_as_it_was():
    model = made().train()
    generation.sample(model)
    generation.beam_search(model)
    assert model.training
    assert model.dropout.training


@pytest.mark.parametrize("write", [generation.greedy, generation.beam_search])
def test_dropout_is_off_while_it_writes_and_each_sentence_is_the_same(write):
    torch.manual_seed(0)
    model = LanguageModel(V, embedding=6, hidden=8, dropout=0.9)
    with torch.no_grad():
        model.output.weight.mul_(6)
        model.output.bias[END] -= 50
    assert write(model.train(), longest=9) == write(model.eval(), longest=9)
    assert write(model, sentences=3, longest=9) == 3 * write(model, longest=9)


@pytest.mark.parametrize(
    ("write", "options", "message"),
    [
        (generation.sample, {"temperature": -1.0}, "0 or more"),
        (generation.sample, {"temperature": float("nan")}, "0 or more"),
        (generation.greedy, {"longest": 0}, "1 word"),
        (generation.beam_search, {"longest": 0}, "1 word"),
        (generation.beam_search, {"beams": 0}, "1 beam"),
        (generation.sample, {"sentences": 0}, "1 sentence"),
        (generation.greedy, {"condition": torch.full((1, 2), torch.nan)}, "not finite"),
        (generation.beam_search, {"condition": torch.full((1, 2), torch.nan)}, "not finite"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(write, options, message):
    with pytest.raises(ValueError, match=message):
        write(made(), **options)
