"""Facts about convolution, max-over-time pooling and TextCNN: torch, closed forms, invariances."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tutorial_lib import cnn, text
from tutorial_lib.cnn import TextCNN

few = settings(deadline=None, max_examples=20)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small(seed=0, **options):
    torch.manual_seed(seed)
    options = {"embedding": 6, "filters": 4, "widths": (2, 3, 5)} | options
    return TextCNN(30, 3, **options).eval()


def some_ids(length, seed=0):
    return torch.randint(1, 30, (length,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.equation("eq-convolution")
@pytest.mark.equation("eq-unfold")
@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_both_convolutions_are_torchs(width, padding):
    x, weight, bias = random(3, 7, 4), random(5, 4, width, seed=1), random(5, seed=2)
    theirs = F.conv1d(x.transpose(1, 2), weight, bias, padding=padding).transpose(1, 2)
    torch.testing.assert_close(cnn.conv1d_loop(x, weight, bias, padding), theirs, **CLOSE)
    torch.testing.assert_close(cnn.conv1d(x, weight, bias, padding), theirs, **CLOSE)


def test_the_gradients_are_torchs_too():
    def gradients(convolve):
        inputs = [t.requires_grad_() for t in (random(2, 6, 3), random(4, 3, 3), random(4))]
        convolve(*inputs).square().sum().backward()
        return [t.grad for t in inputs]

    theirs = gradients(lambda x, w, b: F.conv1d(x.transpose(1, 2), w, b, padding=2).transpose(1, 2))
    ours = gradients(lambda x, w, b: cnn.conv1d(x, w, b, 2))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.equation("eq-output-length")
def test_output_length_is_the_number_of_places_for_the_window():
    for time in (1, 4, 9):
        for padding in (0, 2):
            for width in range(1, time + 2 * padding + 1):
                places = len(range(0, time + 2 * padding - width + 1))
                assert cnn.output_length(time, width, padding) == places
                x = torch.zeros(1, time, 2)
                y = cnn.conv1d(x, torch.zeros(3, 2, width), torch.zeros(3), padding)
                assert y.shape == (1, places, 3)


def test_a_filter_longer_than_the_text_is_refused_unless_padding_makes_room():
    x, weight, bias = random(1, 2, 3), random(4, 3, 5), random(4)
    for convolve in (cnn.conv1d, cnn.conv1d_loop):
        with pytest.raises(ValueError, match="does not fit"):
            convolve(x, weight, bias)
        with pytest.raises(ValueError, match="does not fit"):
            convolve(x, weight, bias, -1)
        assert convolve(x, weight, bias, 4).shape == (1, 6, 4)


@pytest.mark.equation("eq-receptive-field")
@pytest.mark.parametrize("widths", [(3,), (3, 3), (2, 5, 3)])
def test_receptive_field_is_how_far_a_change_is_felt(widths):
    x = random(1, 20, 1).requires_grad_()
    y = x
    for width in widths:
        y = cnn.conv1d(y, torch.ones(1, 1, width), torch.zeros(1))
    y[0, 0].sum().backward()
    assert int((x.grad != 0).sum()) == cnn.receptive_field(widths)


@pytest.mark.equation("eq-equivariance")
@given(st.integers(0, 6))
@few
def test_a_shifted_text_gives_shifted_features(shift):
    x, weight, bias = random(2, 5, 3), random(4, 3, 3), random(4)
    moved = F.pad(x, (0, 0, shift, 6 - shift))  # the text within 11 places
    here = cnn.conv1d(F.pad(x, (0, 0, 0, 6)), weight, bias)
    torch.testing.assert_close(
        cnn.conv1d(moved, weight, bias)[:, shift : shift + 3], here[:, :3], **CLOSE
    )


@pytest.mark.equation("eq-dense")
def test_the_dense_matrix_does_the_same_and_holds_each_weight_many_times():
    time, dim, filters, width = 7, 3, 4, 3
    x, weight = random(2, time, dim), random(filters, dim, width)
    matrix = cnn.as_dense(weight, time)
    theirs = F.conv1d(x.transpose(1, 2), weight).transpose(1, 2)
    torch.testing.assert_close(x.flatten(1) @ matrix, theirs.flatten(1), **CLOSE)
    blocks = matrix.view(time, dim, time - width + 1, filters)
    for s in range(time):
        for t in range(time - width + 1):
            inside = 0 <= s - t < width
            expected = weight[:, :, s - t].T if inside else torch.zeros(dim, filters)
            torch.testing.assert_close(blocks[s, :, t], expected)


@pytest.mark.equation("eq-max-over-time")
def test_max_over_time_takes_the_largest_that_counts():
    x = torch.tensor([[[1.0, -5.0], [3.0, -4.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False]])
    assert cnn.max_over_time(x, mask).tolist() == [[3.0, -4.0]]
    torch.testing.assert_close(cnn.max_over_time(x, mask | True), x.max(1).values)


def test_max_over_time_of_nothing_is_zero_with_a_zero_gradient():
    x = random(2, 3, 4).requires_grad_()
    mask = torch.tensor([[True, True, True], [False, False, False]])
    pooled = cnn.max_over_time(x, mask)
    assert pooled[1].eq(0).all()
    pooled.sum().backward()
    assert x.grad[1].eq(0).all() and x.grad[0].sum() == 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_max_over_time_ignores_infinity_and_nan_where_nothing_counts(dtype):
    x = torch.tensor([[[-2.0], [-math.inf], [math.nan], [math.inf]]], dtype=dtype)
    mask = torch.tensor([[True, True, False, False]])
    assert cnn.max_over_time(x, mask).tolist() == [[-2.0]]


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 9))
@few
def test_a_text_of_n_tokens_has_n_plus_width_minus_1_windows(tokens, width, padding):
    mask = torch.arange(tokens + padding)[None] < tokens
    counts = cnn.window_mask(mask, width)
    assert counts.shape == (1, tokens + padding + width - 1)
    assert counts.sum() == tokens + width - 1
    assert counts[0, : tokens + width - 1].all()


@pytest.mark.equation("eq-textcnn")
def test_textcnn_is_the_paper_written_with_torch():
    model = small()
    ids = some_ids(9)
    with torch.no_grad():
        x = F.embedding(ids, model.embeddings[0].weight).T  # [E T]
        features = []
        for conv in model.convolutions:
            padded = F.pad(x, (conv.weight.shape[-1] - 1,) * 2)
            features.append(F.relu(F.conv1d(padded, conv.weight, conv.bias)).max(-1).values)
        expected = model.output(torch.cat(features))
        found = model(ids[None], torch.ones(1, 9, dtype=torch.bool))[0]
    torch.testing.assert_close(found, expected, **CLOSE)


MODES = st.sampled_from(cnn.MODES)


def of_mode(mode, **options):
    vectors = None if mode == "rand" else random(30, 6, seed=3)
    return small(mode=mode, vectors=vectors, **options)


@given(MODES, st.integers(1, 8), st.integers(0, 20), st.integers(0, 1000))
@few
def test_neither_padding_nor_neighbours_change_a_prediction(mode, length, padding, seed):
    model, ids = of_mode(mode), some_ids(length, seed)
    alone = model(ids[None], torch.ones(1, length, dtype=torch.bool))
    # Beside another text, with whatever ids stand in its padding.
    both = torch.stack([some_ids(length + padding, seed + k) for k in (1, 2)])
    both[0, :length] = ids
    mask = torch.stack([torch.arange(length + padding) < n for n in (length, length + padding)])
    torch.testing.assert_close(model(both, mask)[0], alone[0], **CLOSE)


@pytest.mark.parametrize("mode", cnn.MODES)
def test_a_row_of_padding_alone_gives_the_bias_and_a_finite_gradient(mode):
    model = of_mode(mode)
    ids, mask = torch.stack([some_ids(4), torch.zeros(4, dtype=torch.long)]), torch.ones(2, 4) > 0
    mask[1] = False
    z = model(ids, mask)
    torch.testing.assert_close(z[1], model.output.bias)
    z.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("length", [1, 2, 10_000])
def test_one_token_and_ten_thousand_work(length):
    ids, mask = text.pad([some_ids(length).tolist(), [5]])
    assert small()(ids, mask).isfinite().all()


def test_where_a_text_stands_among_padding_makes_no_difference():
    model, ids = small(), some_ids(4)
    padded = torch.stack([F.pad(ids, (n, 6 - n)) for n in (0, 3, 6)])
    z = model(padded, padded != text.PAD)
    torch.testing.assert_close(z, z[:1].expand(3, -1), **CLOSE)


def test_word_order_within_a_window_matters():
    model = small()
    ids = torch.tensor([[2, 3, 4], [4, 3, 2]])
    z = model(ids, ids > 0)
    assert not torch.allclose(z[0], z[1], atol=1e-3)


def trained(model):
    before = {name: p.clone() for name, p in model.named_parameters()}
    ids, labels = torch.randint(2, 30, (8, 7)), torch.randint(3, (8,))
    ids[:4, 5:] = text.PAD
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    F.cross_entropy(model(ids, ids > 0), labels).backward()
    optimizer.step()
    return {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}


@pytest.mark.parametrize(
    ("mode", "tables"),
    [
        ("rand", {"embeddings.0.weight"}),
        ("static", set()),
        ("non-static", {"embeddings.0.weight"}),
        ("multichannel", {"embeddings.1.weight"}),
    ],
)
def test_each_mode_trains_the_word_vectors_that_it_should(mode, tables):
    model = of_mode(mode)
    assert {name for name in trained(model) if name.startswith("embeddings")} == tables
    assert all(table.weight[text.PAD].eq(0).all() for table in model.embeddings)


def test_random_vectors_start_as_kims():
    start = TextCNN(500, 2, embedding=20).embeddings[0].weight[1:]
    assert 0.24 < start.abs().max() <= 0.25
    assert start.std().item() == pytest.approx(0.25 / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("mode", ["static", "non-static", "multichannel"])
def test_given_vectors_are_where_training_starts_and_are_not_touched(mode):
    vectors = random(30, 6)
    model = small(mode=mode, vectors=vectors)
    for table in model.embeddings:
        torch.testing.assert_close(table.weight[1:], vectors[1:])
    kept = vectors.clone()
    trained(model)
    assert torch.equal(vectors, kept)


def test_two_channels_with_the_same_filter_weights_are_one_table_of_twice_the_size():
    two, one = of_mode("multichannel"), of_mode("non-static")
    with torch.no_grad():
        one.embeddings[0].weight.mul_(2)
        for both, single in zip(two.convolutions, one.convolutions, strict=True):
            both.weight.copy_(torch.cat([single.weight] * 2, 1))
            both.bias.copy_(single.bias)
        two.output.load_state_dict(one.output.state_dict())
    ids = some_ids(9)[None]
    torch.testing.assert_close(two(ids, ids > 0), one(ids, ids > 0), **CLOSE)


def test_bfloat16_autocast_is_close_to_float32():
    model, ids = small(), some_ids(12)[None]
    with torch.autocast("cpu", torch.bfloat16):
        low = model(ids, ids > 0)
    torch.testing.assert_close(low.float(), model(ids, ids > 0), rtol=0.05, atol=0.02)


def test_dropout_is_on_in_training_only():
    model, ids = small(dropout=0.5), some_ids(9)[None]
    torch.testing.assert_close(model(ids, ids > 0), model(ids, ids > 0))
    model.train()
    assert not torch.equal(model(ids, ids > 0), model(ids, ids > 0))


def test_dropout_of_every_feature_leaves_the_bias():
    model, ids = small(dropout=1.0).train(), some_ids(9)[None]
    torch.testing.assert_close(model(ids, ids > 0)[0], model.output.bias)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "frozen"}, "rand, static, non-static, multichannel"),
        ({"mode": "static"}, "needs vectors"),
        ({"mode": "multichannel"}, "needs vectors"),
        ({"mode": "rand", "vectors": torch.zeros(30, 6)}, "reads no vectors"),
        ({"mode": "static", "vectors": torch.zeros(30, 5)}, r"\[30, 6\]"),
        ({"mode": "static", "vectors": torch.zeros(29, 6)}, r"\[30, 6\]"),
        ({"mode": "non-static", "vectors": torch.full((30, 6), math.nan)}, "finite"),
        ({"widths": ()}, "a width"),
        ({"widths": (3, 0)}, "at least 1"),
        ({"filters": 0}, "at least 1"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.parametrize("wrong", [30, -1])
def test_an_id_outside_the_vocabulary_is_refused(wrong):
    ids = torch.tensor([[1, wrong]])
    with pytest.raises(ValueError, match="0 to 29"):
        small()(ids, torch.ones(1, 2, dtype=torch.bool))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_an_empty_batch_is_refused(shape):
    with pytest.raises(ValueError, match="the batch is empty"):
        small()(torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool))


def test_ids_and_a_mask_of_different_shapes_are_refused():
    with pytest.raises((ValueError, TypeError)):  # TypeError: where shapes are checked
        small()(torch.ones(1, 2, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool))


# Class 1 says "5 6" and class 0 "7 8"; the commonest pair, "9 9", stands in both.
PAIRS = [([2, 5, 6, 3], 1), ([5, 6, 4], 1), ([2, 3, 7, 8], 0), ([7, 8, 3, 4], 0)] * 4
PAIRS = [([*ids, 9, 9, 9], label) for ids, label in PAIRS]


def test_the_ngrams_that_start_filters_are_those_that_tell_the_classes_apart():
    model = TextCNN(10, 2, embedding=8, filters=2, widths=(1, 2, 4))
    before = [c.weight.clone() for c in model.convolutions]
    sequences, labels = zip(*PAIRS, strict=True)
    cnn.ngram_filters(model, sequences, labels, share=0.01)
    vectors = model.embeddings[0].weight
    one, two, four = model.convolutions
    assert torch.equal(one.weight, before[0])  # too narrow for a pair
    for c, pair in enumerate([(7, 8), (5, 6)]):
        wanted = vectors[list(pair)].T.flatten()  # [E 2] as one vector
        for weight in (two.weight[c], four.weight[c, :, 1:3]):  # the middle of the filter
            likeness = F.cosine_similarity(weight.flatten(), wanted, dim=0)
            assert likeness.item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(four.weight[:, :, [0, 3]], before[2][:, :, [0, 3]])
    # Scaled to the largest weight of the random start.
    torch.testing.assert_close(two.weight.abs().max(), before[1].abs().max())
    torch.testing.assert_close(four.weight[:, :, 1:3].abs().max(), before[2].abs().max())


def test_a_filter_started_from_a_pair_fires_on_it():
    torch.manual_seed(0)
    model = TextCNN(10, 2, embedding=32, filters=2, widths=(2,))
    sequences, labels = zip(*PAIRS, strict=True)
    cnn.ngram_filters(model, sequences, labels, share=0.01)
    vocabulary = text.Vocabulary([*text.SPECIAL, *"abcdefgh"])  # 5 6 is "d e", 7 8 is "f g"
    first, second = cnn.top_ngrams(model, sequences, vocabulary, k=2)
    assert first.ngrams[0] == ("f", "g") and second.ngrams[0] == ("d", "e")


def test_ngram_filters_need_matching_labels_and_ngrams():
    model = TextCNN(10, 2, embedding=4, filters=2, widths=(2,))
    for labels in ([0], [0, 2], np.eye(2, dtype=int)):
        with pytest.raises(ValueError, match="one label"):
            cnn.ngram_filters(model, [[2, 3], [4, 5]], labels)
    unknown = [[1, 2, 1, 2], [3, 0, 3, 0]]
    for sequences in ([[2, 3], [4, 5]], [[2], [3]], unknown):  # once; short; with <unk> or <pad>
        with pytest.raises(ValueError, match="occurs twice"):
            cnn.ngram_filters(model, sequences, [0, 1])


@pytest.mark.parametrize("mode", cnn.MODES)
def test_top_ngrams_are_the_windows_with_the_largest_answers(mode):
    model = of_mode(mode, widths=(2, 3))
    sequences = [some_ids(length, seed=length).tolist() for length in (1, 4, 7, 6)]
    sequences = [[2]] * 126 + sequences  # so many that they are read in two batches
    vocabulary = text.Vocabulary([*text.SPECIAL, *map(str, range(2, 30))])
    found = cnn.top_ngrams(model, sequences, vocabulary, k=3)
    assert len(found) == 8
    conv, table = model.convolutions[1], torch.cat([t.weight for t in model.embeddings], 1)
    answers = {}  # of the second filter of width 3 to every window of every text, by hand
    for sequence in sequences:
        padded = [0, 0, *sequence, 0, 0]
        windows = [tuple(padded[i : i + 3]) for i in range(len(padded) - 2)]
        values = [
            (table[list(w)].T * conv.weight[1]).sum().item() + conv.bias[1].item() for w in windows
        ]
        answers[windows[int(np.argmax(values))]] = max(values)
    best = sorted(answers, key=answers.get, reverse=True)[:3]
    detector = found[4 + 1]
    assert detector.ngrams == tuple(tuple(vocabulary.decode(w)) for w in best)
    assert detector.values == pytest.approx([answers[w] for w in best], abs=1e-5)
    assert sum(detector.weights) == pytest.approx(0, abs=1e-6)
    column = model.output.weight[:, 5]
    assert detector.weights == pytest.approx((column - column.mean()).tolist(), abs=1e-6)


def test_top_ngrams_need_texts():
    with pytest.raises(ValueError, match="no sequences"):
        cnn.top_ngrams(small(), [], text.Vocabulary([*text.SPECIAL, "a"]))
