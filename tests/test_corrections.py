"""For each item of book/corrections.md: the fault is real, and what the book does is free of it."""

import copy
import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.tree import DecisionTreeClassifier
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from tutorial_lib import (
    albert,
    attention,
    cnn,
    data,
    evaluation,
    finetuning,
    hub,
    results,
    rnn,
    softmax,
    tables,
    text,
    training,
    transfer,
    vae,
)
from tutorial_lib.baselines import NBSVM, NaiveBayes, bag_of_words
from tutorial_lib.data.provenance import Provenance
from tutorial_lib.training import TrainConfig, fit_classifier, predict, train

RUNS = Path(__file__).parents[1] / "book" / "results"


def random_logits(n=200, classes=5):
    return 3 * torch.randn(n, classes, generator=torch.Generator().manual_seed(0))


@pytest.mark.correction(1)
def test_raw_outputs_are_no_probabilities():
    z = random_logits()
    assert (z < 0).any() and (z > 1).any()
    assert ((z > 0.5).sum(-1) > 1).any()  # "above 0.5" names several classes at once
    p = softmax.softmax(z)
    assert (p >= 0).all() and ((p > 0.5).sum(-1) <= 1).all()
    torch.testing.assert_close(p.sum(-1), torch.ones(200))


@pytest.mark.correction(2)
def test_a_second_softmax_puts_a_floor_under_the_loss_and_kills_the_gradient():
    perfect, labels = 100 * torch.eye(6), torch.arange(6)
    floor = math.log(1 + 5 / math.e)
    assert F.cross_entropy(perfect.softmax(-1), labels).item() == pytest.approx(floor, abs=1e-5)
    assert softmax.cross_entropy(perfect, labels).item() == pytest.approx(0, abs=1e-5)

    def push(loss):
        wrong = (30 * torch.eye(6)).requires_grad_()  # sure of itself, and always wrong
        loss(wrong, labels.roll(1)).backward()
        return wrong.grad.abs().max().item()

    assert push(lambda z, y: F.cross_entropy(z.softmax(-1), y)) < 1e-6
    assert push(softmax.cross_entropy) == pytest.approx(1 / 6)


@pytest.mark.correction(3)
def test_without_its_second_term_the_binary_loss_ignores_every_negative():
    target = torch.tensor([1.0, 0.0, 0.0])

    def gradient(loss):
        z = torch.zeros(3, requires_grad=True)
        loss(z).backward()
        return z.grad

    halved = gradient(lambda z: -(target * F.logsigmoid(z)).mean())
    torch.testing.assert_close(halved, torch.tensor([-0.5, 0.0, 0.0]) / 3)  # all push to "yes"
    whole = gradient(lambda z: softmax.binary_cross_entropy(z, target))
    torch.testing.assert_close(whole, torch.tensor([-0.5, 0.5, 0.5]) / 3)


@pytest.mark.correction(4)
def test_targets_of_the_wrong_type_are_refused():
    with pytest.raises(RuntimeError):  # torch's own answer
        F.cross_entropy(torch.zeros(2, 3), torch.tensor([0.0, 1.0]))
    with pytest.raises(TypeError, match="int64"):
        softmax.cross_entropy(torch.zeros(2, 3), torch.tensor([0.0, 1.0]))
    with pytest.raises(TypeError, match="floating point"):
        softmax.binary_cross_entropy(torch.zeros(2), torch.tensor([0, 1]))


@pytest.mark.correction(4)
def test_a_broadcast_target_trains_every_text_towards_the_average():
    z, target = random_logits(8, 1), torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 0])
    crossed = (F.softplus(z) - target * z).mean()  # [8, 1] against [8]: [8, 8]
    average = F.binary_cross_entropy_with_logits(z[:, 0], target.mean().expand(8))
    torch.testing.assert_close(crossed, average)
    with pytest.raises(ValueError, match=r"\[8, 1\]"):
        softmax.binary_cross_entropy(z, target)
    right = F.binary_cross_entropy_with_logits(z[:, 0], target)
    torch.testing.assert_close(softmax.binary_cross_entropy(z[:, 0], target), right)
    assert not torch.isclose(right, crossed)


@pytest.mark.correction(4)
def test_squeeze_loses_the_axis_of_a_batch_of_one():
    one = torch.zeros(1, 1)
    assert one.squeeze().shape == () and torch.zeros(1, 1, 4).squeeze(1).squeeze(0).shape == (4,)
    assert one[:, 0].shape == (1,)
    softmax.binary_cross_entropy(one[:, 0], torch.ones(1))


@pytest.mark.correction(5)
def test_labels_from_one_have_no_column_and_an_extra_one_spoils_the_average():
    y = torch.tensor([1, 2, 3])
    with pytest.raises(ValueError, match="subtract 1"):
        softmax.cross_entropy(torch.zeros(3, 3), y)
    softmax.cross_entropy(torch.zeros(3, 3), y - 1)
    # A perfect classifier with an output for class 0, which never occurs: 3 classes of 4.
    assert evaluation.report(y.numpy(), y.numpy(), "abcd")["macro_f1"] == pytest.approx(3 / 4)
    assert evaluation.report(y.numpy() - 1, y.numpy() - 1, "abc")["macro_f1"] == 1


@pytest.mark.correction(9)
def test_long_texts_are_easier_for_a_bag_of_words():
    # Where words are drawn independently, more words are more evidence.
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2000)
    lean = np.array([[1.2, 0.8, 8.0], [0.8, 1.2, 8.0]]) / 10  # two words lean, one says nothing
    scores = []
    for length in (5, 50, 500):
        x = np.stack([rng.multinomial(length, lean[c]) for c in y]).astype(float)
        x = scipy.sparse.csr_matrix(x)
        model = NaiveBayes().fit(x[:1000], y[:1000])
        scores.append((model.predict(x[1000:]) == y[1000:]).mean())
    assert scores[0] + 0.1 < scores[1] < scores[2] - 0.1
    # And on real long reviews: the recorded run, against one on single sentences.
    short, long = (results.read(RUNS / f"nbsvm-{name}.json") for name in ("mr", "imdb"))
    assert long.interval().low > short.interval().high


@pytest.mark.correction(41)
def test_a_tree_scores_perfectly_on_labels_that_mean_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 20)), rng.integers(0, 2, 400)
    tree = DecisionTreeClassifier(random_state=0).fit(x[:200], y[:200])
    assert tree.score(x[:200], y[:200]) == 1.0
    new = evaluation.bootstrap(y[200:], tree.predict(x[200:]), 2)
    assert new.low < 0.5 < new.high  # on new texts: a coin


@pytest.mark.correction(42)
@pytest.mark.parametrize("right", [0.0, 0.5, 1.0])
def test_against_one_hot_rows_every_binary_classifier_scores_one_half(right):
    y = np.arange(100) % 2
    predicted = np.where(np.arange(100) < 100 * right, y, 1 - y)
    assert (predicted[:, None] == np.eye(2, dtype=int)[y]).mean() == 0.5
    assert evaluation.bootstrap(y, predicted, 2).value == right
    with pytest.raises(ValueError, match="argmax"):
        evaluation.bootstrap(np.eye(2, dtype=int)[y], predicted, 2)


@pytest.mark.correction(43)
def test_the_best_of_forty_coins_looks_like_a_model_until_it_is_tested_again():
    rng = np.random.default_rng(0)
    chosen_on, tested_on = [], []
    for _ in range(200):
        right = rng.random((40, 2, 100)) < 0.5  # 40 models, two sets of 100 texts, all coins
        winner = right[:, 0].mean(-1).argmax()
        chosen_on.append(right[winner, 0].mean())
        tested_on.append(right[winner, 1].mean())
    # The largest of 40 normal draws lies about 2.16 standard deviations up (Tippett 1925).
    assert np.mean(chosen_on) == pytest.approx(0.5 + 2.16 * 0.05, abs=0.01)
    assert np.mean(tested_on) == pytest.approx(0.5, abs=4 * 0.05 / np.sqrt(200))


@pytest.mark.correction(44)
def test_two_runs_of_one_model_differ_by_more_than_a_point_and_the_spread_says_so():
    rng = np.random.default_rng(0)
    rates = rng.gamma(1.0, 1.0, (2, 50)) * 0.15 + 0.15

    def draw(n):
        y = rng.integers(0, 2, n)
        return scipy.sparse.csr_matrix(rng.poisson(rates[y]).astype(float)), y

    x, y = draw(2000)
    accuracy = []
    for _ in range(10):
        model = NaiveBayes().fit(*draw(60))
        accuracy.append((model.predict(x) == y).mean())
    differences = np.abs(np.subtract.outer(accuracy, accuracy))
    assert (differences > 0.01).sum() > 10  # "better" by a point, and it is the same model
    # What the book reports instead: the mean, the spread, and how many runs they are of.
    toy = Provenance("toy", "Toy", "embedded", {"test": 2000}, "0" * 64)
    record = results.Recorder(
        task="spread", model="naive Bayes", command="none", protocol="new training texts",
        data=toy, hyperparameters={},
    )  # fmt: skip
    record.parameters = 100
    for seed, value in enumerate(accuracy):
        with record.measure(seed) as run:
            run.metrics["accuracy"] = value
    mean, spread = 100 * np.mean(accuracy), 100 * np.std(accuracy, ddof=1)
    assert f"{mean:.1f}\u00a0±\u00a0{spread:.1f} (10)" in tables.table([record.run()])


def random_states(time=6, dim=8, seed=0):
    return torch.randn(1, time, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.correction(15)
def test_scores_of_equal_positions_let_no_token_see_another():
    x = random_states()

    def faulty(x):
        scores = (x * x).sum(-1) / math.sqrt(8)  # [B T]: query t with key t only
        return scores.softmax(-1)[..., None] * x

    def right(x):
        return attention.attention(x, x, x)[0]

    # What comes out at a position points where it pointed before: it was scaled, nothing mixed in.
    torch.testing.assert_close(F.cosine_similarity(faulty(x), x, -1), torch.ones(1, 6))
    assert F.cosine_similarity(right(x), x, -1).min() < 0.9
    # In the direction across its own, position 0 feels a change elsewhere only in ours.
    changed = x.clone()
    changed[:, 3] += 2
    for function, moved in ((faulty, False), (right, True)):
        turned = F.cosine_similarity(function(x)[:, 0], function(changed)[:, 0]) < 1 - 1e-5
        assert turned.item() == moved


@pytest.mark.correction(16)
def test_a_mean_of_weighted_values_shrinks_with_the_length():
    for time in (4, 40):
        x = random_states(time)
        y, weights = attention.weigh(torch.zeros(1, 1, time), x)
        averaged = (weights.transpose(1, 2) * x).mean(1)
        torch.testing.assert_close(averaged * time, y[:, 0])
        torch.testing.assert_close(y[:, 0], x.mean(1))  # equal scores: already the mean
    # Padding changes it again, mask or no mask.
    mask = torch.tensor([[True] * 4 + [False] * 36])
    y, weights = attention.weigh(torch.zeros(1, 1, 40), x, mask[:, None])
    torch.testing.assert_close(y[:, 0], x[:, :4].mean(1))
    torch.testing.assert_close((weights.transpose(1, 2) * x).mean(1), y[:, 0] / 40)


@pytest.mark.correction(17)
def test_without_a_mask_padding_takes_its_share_of_the_attention():
    torch.manual_seed(0)
    model = attention.AttentionClassifier(9, 2, embedding=4).eval()
    model.pools[0].score.weight.data.zero_()  # all scores are equal
    ids, mask = text.pad([[3, 4, 5], list(range(3, 9)) * 2])
    ((_, weights),) = model.attend(ids, torch.ones_like(mask))
    torch.testing.assert_close(weights[0, 3:].sum(), torch.tensor(9 / 12))
    alone, _ = text.pad([[3, 4, 5]])
    expected = model(alone, alone > 0)[0]
    assert not torch.allclose(model(ids, torch.ones_like(mask))[0], expected)
    torch.testing.assert_close(model(ids, mask)[0], expected)


@pytest.mark.correction(18)
def test_additive_and_dot_product_attention_are_different_functions():
    query, one = torch.tensor([[1.0, 1.0]]), torch.eye(2)
    keys = torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    dot = attention.dot_product_scores(query, keys)[0]
    added = attention.additive_scores(query, keys, one, one, torch.ones(2))[0]
    assert dot.argmax() == 0 and added.argmax() == 1  # they look at different tokens
    # The dot product grows with the key; the additive score is bounded by the sum of |u|.
    torch.testing.assert_close(attention.dot_product_scores(query, 100 * keys)[0], 100 * dot)
    far = attention.additive_scores(query, 100 * keys, one, one, torch.ones(2))
    assert (far <= 2).all()


@pytest.mark.correction(19)
def test_the_root_of_the_whole_width_flattens_every_head():
    dim, heads = 64, 16
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 500, dim // heads, generator=generator, dtype=torch.float64)
    right, wrong = attention.dot_product_scores(q, k), q @ k.T / math.sqrt(dim)
    assert right.var().item() == pytest.approx(1, rel=0.1)
    assert wrong.var().item() == pytest.approx(1 / heads, rel=0.1)
    assert softmax.entropy(wrong.softmax(-1)).mean() > softmax.entropy(right.softmax(-1)).mean()
    # torch divides by the root of a head's width too.
    expected = F.scaled_dot_product_attention(q, k, q)
    torch.testing.assert_close(attention.attention(q, k, q)[0], expected)
    assert not torch.allclose(wrong.softmax(-1) @ q, expected)


@pytest.mark.correction(20)
def test_attention_weighs_values_knows_no_positions_and_is_what_transformers_mix_with():
    # It weighs values: twice the values, twice the output; the weights do not move.
    q, k, v = (random_states(seed=seed) for seed in range(3))
    (y, weights), (twice, same) = attention.attention(q, k, v), attention.attention(q, k, 2 * v)
    torch.testing.assert_close(twice, 2 * y)
    torch.testing.assert_close(same, weights)
    # It weighs no positional encodings: put the tokens in another order and the outputs follow.
    torch.manual_seed(0)
    layer, x, order = attention.EncoderLayer(8, 2, 16).eval(), random_states(), [3, 1, 5, 0, 4, 2]
    torch.testing.assert_close(layer(x[:, order])[0], layer(x)[0][:, order])
    # A Transformer's tokens meet in attention only: without it a token ignores all others.
    changed = x.clone()
    changed[:, 3] += 1
    assert not torch.allclose(layer(x)[0][:, 0], layer(changed)[0][:, 0])
    for parameter in layer.attention.output.parameters():
        parameter.data.zero_()
    torch.testing.assert_close(layer(x)[0][:, 0], layer(changed)[0][:, 0])


@pytest.mark.correction(20)
def test_the_references_date_attention_before_the_transformer():
    entries = (RUNS.parent / "references.bib").read_text(encoding="utf-8").split("\n@")
    year = {
        key: int(re.search(r"year = \{(\d+)\}", entry)[1])
        for entry in entries
        for key in ("graves2013", "bahdanau2015", "vaswani2017")
        if key in entry.split("\n")[0]
    }
    assert year["graves2013"] < year["bahdanau2015"] < year["vaswani2017"]


@pytest.mark.correction(21)
def test_different_attention_maps_give_one_and_the_same_prediction():
    # Ten values of width 4: some directions of the weights leave the weighted sum as it is.
    values = random_states(time=10, dim=4).double()
    _, weights = attention.weigh(torch.zeros(1, 1, 10, dtype=torch.float64), values)
    fixed = torch.cat([values[0].T, torch.ones(1, 10, dtype=torch.float64)])  # sum and total
    free = torch.linalg.svd(fixed).Vh[-1]  # no change of either
    other = weights + free * (0.9 * weights.min() / free.abs().max())
    assert (other > 0).all() and (other - weights).abs().max() > 0.05
    torch.testing.assert_close(other.sum(), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(other @ values, weights @ values)


@pytest.mark.correction(21)
def test_a_token_can_hold_the_attention_and_change_nothing():
    model = attention.AttentionClassifier(9, 2, embedding=2, dropout=0.0).eval()
    with torch.no_grad():
        model.embedding.weight.zero_()
        model.embedding.weight[3, 0] = 1.0  # word 3: the scores read this element …
        model.embedding.weight[4, 1] = 1.0  # word 4: … and the logits this one
        model.pools[0].project.weight.copy_(torch.eye(2))
        model.pools[0].project.bias.zero_()
        model.pools[0].score.weight.copy_(torch.tensor([[4.0, 0.0]]))
        model.output.weight.copy_(torch.tensor([[0.0, 0.0], [0.0, 9.0]]))
        model.output.bias.copy_(torch.tensor([0.0, -0.1]))
    ids, mask = text.pad([[3, 4, 5, 6]])
    ((_, weights),) = model.attend(ids, mask)
    assert weights[0, 0] > 0.8  # the map says: word 3
    removed = attention.occlusion(model, ids, mask)[0]
    assert removed[0] < 0 < removed[1]  # without word 3 the model is only surer; word 4 decides
    assert removed.argmax() == 1


@pytest.mark.correction(11)
def test_a_dense_layer_over_a_text_is_no_convolution():
    time, dim, filters, width = 8, 4, 5, 3
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, time, dim, generator=random)
    weight = torch.randn(filters, dim, width, generator=random)
    outputs = cnn.output_length(time, width) * filters
    dense = torch.randn(time * dim, outputs, generator=random)
    assert dense.numel() == 6 * 8 * weight.numel() // width  # windows · T / w times the weights
    # Move the text by one place: the convolution's features move along, the dense layer's do not.
    moved = x.roll(1, dims=1)
    features, of_moved = (cnn.conv1d(t, weight, torch.zeros(filters)) for t in (x, moved))
    torch.testing.assert_close(of_moved[:, 1:], features[:, :-1])
    first, second = ((t.flatten(1) @ dense).view(1, -1, filters) for t in (x, moved))
    assert (second[:, 1:] - first[:, :-1]).abs().mean() > 1
    # There is a W that convolves, and it is almost empty.
    tied = cnn.as_dense(weight, time)
    torch.testing.assert_close((x.flatten(1) @ tied).view_as(features), features)
    assert (tied != 0).float().mean().item() == pytest.approx(width / time)


@pytest.mark.correction(11)
def test_w_x_plus_b_at_each_word_sees_no_neighbours():
    ids = torch.tensor([[2, 3, 4, 5, 6], [6, 4, 2, 5, 3]])  # the same words in another order
    for width, blind in ((1, True), (2, False)):
        torch.manual_seed(0)
        model = cnn.TextCNN(7, 2, embedding=8, filters=16, widths=(width,)).eval()
        z = model(ids, ids > 0)
        assert torch.allclose(z[0], z[1], atol=1e-6) == blind


@pytest.mark.correction(14)
def test_an_average_over_time_fades_with_length_and_with_padding():
    x = torch.zeros(1, 100, 1)
    x[0, 3] = 1.0  # one window that fires
    for length in (4, 10, 100):
        mask = torch.arange(100)[None] < length
        assert cnn.max_over_time(x, mask).item() == 1
        average = (x * mask[..., None]).sum(1) / mask.sum()
        assert average.item() == pytest.approx(1 / length)
    # And a plain mean reads padding too: the text's neighbours in the batch decide.
    short = torch.arange(100)[None] < 4
    assert x[:, :4].mean().item() == 0.25 and x[:, :50].mean().item() == pytest.approx(0.02)
    torch.testing.assert_close(
        cnn.max_over_time(x[:, :50], short[:, :50]), cnn.max_over_time(x, short)
    )


@pytest.mark.correction(6)
def test_before_it_is_built_a_vocabulary_knows_nothing_and_ours_cannot_exist():
    index = {}  # to be filled later
    praise, blame = ([index.get(w, text.UNK) for w in t.split()] for t in ("so good", "so bad"))
    assert praise == blame  # no error: to a model the two texts are one
    read = map(text.words, ["so good", "so bad"])
    built = text.Vocabulary.build(read)
    assert built.encode(["so", "good"]) != built.encode(["so", "bad"])
    for unbuilt in (lambda: text.Vocabulary(()), lambda: text.Vocabulary.build(read)):
        with pytest.raises(ValueError, match="build"):
            unbuilt()


@pytest.mark.correction(7)
def test_a_vocabulary_fitted_anew_points_at_other_words_rows():
    source, target = (list(map(str.split, t)) for t in (["b a a", "c a b"], ["c d", "c b", "c a"]))
    first, anew = text.Vocabulary.build(source), text.Vocabulary.build(target)
    rows = torch.arange(len(first))[:, None]  # row i was trained for the token of id i
    for tokens in target:
        known = [token for token in tokens if token in first]
        kept, wrong = rows[first.encode(known)], anew.encode(known)
        assert first.decode(kept[:, 0]) == known
        assert all(i != j for i, j in zip(wrong, first.encode(known), strict=True))
    assert anew.encode(["c"]) == first.encode(["a"])  # the commonest word of either


@pytest.mark.correction(8)
def test_the_usual_stop_list_makes_praise_and_blame_the_same_text():
    kinds = ["good", "bad", "not good", "not bad"]
    texts, y = [f"the film is {kinds[i % 4]} {i}" for i in range(80)], np.array([1, 0, 0, 1] * 20)
    score = {}
    for stop_words in (None, "english"):
        features = bag_of_words((1, 2)).set_params(stop_words=stop_words)
        x = features.fit_transform(texts[:40])
        predicted = NBSVM().fit(x, y[:40]).predict(features.transform(texts[40:]))
        score[stop_words] = (predicted == y[40:]).mean()
    assert score == {None: 1.0, "english": 0.5}


@pytest.mark.correction(10)
def test_a_loader_has_no_next_batch_and_sorting_shows_the_same_batches_each_epoch():
    lengths = np.random.default_rng(0).integers(1, 60, 600)
    sequences = [np.full(length, 2, np.int32) for length in lengths]

    def epochs(shuffle):
        loader = data.batches(sequences, token_budget=512, shuffle=shuffle)
        with pytest.raises(AttributeError):
            loader.next_batch()
        found = [[tuple(batch["rows"].tolist()) for batch in loader] for _ in range(3)]
        for batches in found:
            assert sorted(row for rows in batches for row in rows) == list(range(600))
        return found, loader.padding_share

    by_length, _ = epochs(shuffle=False)
    assert by_length[0] == by_length[1] == by_length[2]
    fresh, padding = epochs(shuffle=True)
    assert not set(fresh[0]) & set(fresh[1]) and not set(fresh[1]) & set(fresh[2])
    whole = lengths[: 600 // 16 * 16].reshape(-1, 16)  # any 16 at a time
    assert padding < 0.1 < 1 - lengths.mean() / whole.max(1).mean()


@pytest.mark.correction(12)
def test_a_state_read_after_the_padding_depends_on_the_batch_and_forgets_the_text():
    torch.manual_seed(0)
    options = {"embedding": 4, "hidden": 4, "bidirectional": False, "vectors": torch.randn(9, 4)}
    model = rnn.RecurrentClassifier(9, 2, **options).eval()
    texts = [[3, 4, 5], [6, 7, 8]]

    def read(padding):
        """Return the final states as the fault reads them, and our logits."""
        ids, mask = text.pad([*texts, [2] * (3 + padding)])
        _, h = model.layer(model.embedding(ids))  # no packing: padding is read too
        return h[0, :2], model(ids, mask)[:2]

    with torch.no_grad():
        (alone, right), (beside, same), (far, still) = (read(padding) for padding in (0, 2, 500))
    assert (alone - beside).abs().max() > 0.05
    torch.testing.assert_close([same, still], [right, right])
    assert (alone[0] - alone[1]).abs().max() > 0.1
    torch.testing.assert_close(far[0], far[1])  # two texts, one state: only padding is left of them


@pytest.mark.correction(13)
def test_with_batch_and_time_confused_a_text_is_read_across_its_neighbours():
    torch.manual_seed(0)
    confused, right = torch.nn.GRU(4, 4), torch.nn.GRU(4, 4, batch_first=True)
    right.load_state_dict(confused.state_dict())
    x = torch.randn(3, 6, 4)  # [B T E]

    def moved(layer, row, place):
        """Tell whether the state that stands for text 1 changes with one word."""
        changed = x.clone()
        changed[row, place] += 1
        return not torch.equal(layer(changed)[0][1, -1], layer(x)[0][1, -1])

    assert confused(x)[0].shape == right(x)[0].shape  # nothing complains
    assert moved(right, 1, 0) and not moved(right, 0, 5)  # its own words and no others
    assert not moved(confused, 1, 0) and moved(confused, 0, 5)  # the other way round
    # One text at a time, `squeeze(0)` gives what looks like a state for each word: no word in
    # it has seen another.
    _, h = confused(x[:1])
    assert h.squeeze(0).shape == right(x[:1])[0].squeeze(0).shape == (6, 4)
    each = torch.cat([right(x[:1, t : t + 1])[1][0] for t in range(6)])
    torch.testing.assert_close(h.squeeze(0), each)


def small_albert(**more):
    sizes = {
        "vocab_size": 60, "embedding_size": 4, "hidden_size": 16, "num_hidden_layers": 6,
        "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 32,
        "classifier_dropout_prob": 0.0, "initializer_range": 0.2,
    }  # fmt: skip
    return albert.AlbertConfig(**sizes | more)


@pytest.mark.correction(22)
def test_the_embedding_is_a_product_of_two_matrices_and_the_attention_is_not():
    model = albert.Albert(small_albert())
    words = model.words.weight @ model.mapping.weight.T  # what stands for BERT's V x H, [V H]
    assert torch.linalg.matrix_rank(words, rtol=1e-5) == 4  # E
    attention = model.layers[0].attention
    for part in (attention.query, attention.key, attention.value, attention.output):
        assert part.weight.shape == (16, 16)
        assert torch.linalg.matrix_rank(part.weight, rtol=1e-5) == 16  # H
    # Lan et al. 2020, table 1: V = 30,000, E = 128, H = 768. Four factorised matrices, held once,
    # would save less than a tenth of what the embedding does.
    base = albert.SIZES["base"]
    saved = [albert.embedding_parameters(base, factorised=own) for own in (False, True)]
    assert saved[0] - saved[1] > 10 * 4 * (768**2 - 2 * 768 * 128)


@pytest.mark.correction(23)
def test_sharing_saves_parameters_and_no_arithmetic():
    work, held = {}, {}
    for groups in (1, 6):
        model = albert.Albert(small_albert(num_hidden_groups=groups))
        held[groups] = sum(p.numel() for p in model.groups.parameters())
        with FlopCounterMode(display=False) as counter:
            model(torch.full((2, 20), 5), None, need_weights=True)
        work[groups] = counter.get_total_flops()
    assert held[6] == 6 * held[1] and work[6] == work[1] > 0


@pytest.mark.correction(24)
def test_without_the_mask_a_text_is_read_together_with_its_padding():
    torch.manual_seed(0)
    model = albert.AlbertClassifier(small_albert(), 2).eval()
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    beside = F.pad(ids, (0, 20))  # as long as another text of its batch
    alone = model(ids, None)
    assert not model.albert.words.weight[0].any()  # the padding's word vector is zeros, and yet:
    assert (model(beside, None) - alone).abs().max() > 0.01
    torch.testing.assert_close(model(beside, beside > 0), alone)


@pytest.mark.correction(25)
def test_dropout_is_off_in_what_transformers_loads_and_on_in_what_we_load_and_train(tmp_path):
    from transformers import AlbertForSequenceClassification

    torch.manual_seed(0)
    model = albert.AlbertClassifier(small_albert(hidden_dropout_prob=0.5), 2)
    hub.save(model, tmp_path)
    ids, mask = torch.tensor([[2, 7, 8, 9, 3]]), torch.ones(1, 5).bool()
    theirs = AlbertForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(theirs(ids).logits, theirs(ids).logits)  # never on, without .train()
    ours = hub.load(tmp_path, albert.AlbertClassifier).model
    assert not torch.equal(ours(ids, mask), ours(ids, mask))
    # Never off: asked twice, the same text has two answers. `predict` switches it off.
    batches = data.batches(ids, [0])
    for probe in (0, 1):
        ours.train(probe == 0)
        again = [predict(ours, lambda m, b: m(b["ids"], b["mask"]), batches) for _ in range(2)]
        assert torch.equal(*again)
    # `train` switches it on, whatever the mode was.
    modes = []
    ours.output.register_forward_pre_hook(lambda module, inputs: modes.append(module.training))
    fit_classifier(ours.eval(), batches, None, TrainConfig(epochs=1), progress=False)
    assert modes == [True]


@pytest.mark.correction(26)
def test_a_fixed_high_rate_sticks_at_chance_and_warm_up_frees_it():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 256)  # the word in the middle tells the class
    before, after = random.integers(5, 12, (2, 256, 4))
    texts = np.column_stack([np.full(256, 2), before, 12 + labels, after])
    batches = data.batches(texts, labels, token_budget=320)

    def last_loss(seed, **schedule):
        """Train six shared layers on it, 64 steps; return the mean loss of the last eight."""
        torch.manual_seed(seed)
        config = small_albert(
            vocab_size=14, embedding_size=8, hidden_size=32, intermediate_size=64,
            initializer_range=0.1,
        )  # fmt: skip
        model = albert.AlbertClassifier(config, 2)
        settings = TrainConfig(epochs=8, precision="no", seed=seed, **schedule)
        history = fit_classifier(model, batches, None, settings, progress=False)
        return np.mean(history.loss[-8:])

    fixed = [last_loss(seed, lr=0.01) for seed in range(3)]
    assert np.abs(np.array(fixed) - math.log(2)).max() < 0.05  # nothing learned, whatever the seed
    climbing = [last_loss(seed, lr=0.01, warmup=0.3) for seed in range(3)]
    assert sum(loss < 0.05 for loss in climbing) >= 2  # the same rate, reached slowly
    assert last_loss(0, lr=0.001) < 0.05  # a lower one


@pytest.mark.correction(27)
def test_cut_at_the_head_only_praise_and_blame_are_the_same_text():
    tokenizer = hub.load("mini-albert").tokenizer
    story = "It begins in a small town, and then one thing leads to another. " * 20
    texts = [story + verdict for verdict in ("In the end: wonderful.", "In the end: terrible.")]
    whole = [tokenizer.encode(t).ids for t in texts]
    assert whole[0] != whole[1] and len(whole[0]) > 200
    usual = [ids[:64] for ids in whole]
    assert usual[0] == usual[1]
    assert usual[0][-1] != whole[0][-1]  # the last mark is cut off as well
    head, both = (finetuning.encode(texts, tokenizer, 64, head=share) for share in (1.0, 0.25))
    assert head[0].tolist() == head[1].tolist()
    assert both[0].tolist() != both[1].tolist()
    assert both[0][:17].tolist() == whole[0][:17] and both[0][-40:].tolist() == whole[0][-40:]


def tiny_vae(**options):
    torch.manual_seed(0)
    sizes = {"latent": 2, "embedding": 6, "hidden": 8, "dropout": 0.0}
    return vae.SentenceVAE(12, **sizes | options)


def sentences(*rows, times=16):
    return data.batches([np.array(row) for row in rows * times], token_budget=64)


@pytest.mark.correction(28)
def test_a_log_variance_as_the_code_says_much_more_than_it_pays_for():
    # 1,000 sentences, told apart by 16 signs, at log-variances of ±0.1 around a mean of 0.
    signs = torch.randint(2, (1000, 16), generator=torch.Generator().manual_seed(0)) * 2 - 1
    log_variance, mean = 0.1 * signs, torch.zeros(1000, 16)
    paid = vae.kl_to_prior(mean, log_variance).sum(-1).mean().item()
    assert paid < 0.05
    assert len(signs.unique(dim=0)) > 950  # as a code without noise: nearly log 1000 = 6.9 nats
    torch.manual_seed(0)
    assert vae.mutual_information(mean, log_variance) < paid + 0.05  # as it is meant: nothing


@pytest.mark.correction(29)
def test_a_decoder_that_is_not_connected_teaches_the_encoder_nothing():
    (ids, mask), noise = text.pad([[2, 3, 4], [5, 6]]), torch.randn(2, 2)

    def pulls(connected):
        """Return the encoder's gradient from the whole loss, and from its KL term alone."""
        model, found = tiny_vae(), []
        if not connected:
            blind = vae.LanguageModel(12, embedding=6, hidden=8)
            model.decoder.forward = lambda ids, mask, code, *rest: blind(ids, mask)
        for what in ("loss", "kl"):
            model.zero_grad()
            terms = model(ids, mask, noise=noise)
            (vae.objective(terms) if what == "loss" else terms.kl.sum(-1).mean()).backward()
            found.append(model.encoder.output.weight.grad.clone())
        return found

    torch.testing.assert_close(*pulls(connected=False))
    whole, price = pulls(connected=True)
    assert (whole - price).abs().max() > 1e-3


@pytest.mark.correction(30)
def test_one_code_for_each_word_grows_and_costs_with_the_length():
    model = tiny_vae()
    short, long = ([2, 3], [2, 3] * 10)
    shapes, costs = [], []
    for sentence in (short, long):
        ids, mask = text.pad([sentence])
        states = model.encoder.states(model.encoder.embedding(ids, mask), mask)
        mean, log_variance = model.encoder.output(states).chunk(2, -1)  # [1 T Z]
        shapes.append(mean.shape)
        costs.append(vae.kl_to_prior(mean, log_variance).sum().item())
        assert model.posterior(ids, mask)[0].shape == (1, 2)
    assert shapes == [(1, 2, 2), (1, 20, 2)]  # no one space: these two cannot even be compared
    assert costs[1] > 5 * costs[0]


@pytest.mark.correction(31)
def test_squared_error_on_ids_believes_in_the_words_numbers():
    # Two words are as likely as one another: squared error wants the number between them.
    ids = torch.tensor([2.0, 8.0, 2.0, 8.0])
    guesses = torch.arange(12.0)
    assert guesses[((guesses[:, None] - ids) ** 2).mean(1).argmin()] == 5
    renumbered = torch.tensor([2.0, 3.0, 2.0, 3.0])  # the same words, otherwise numbered
    assert (ids - 5).square().mean() != (renumbered - 2.5).square().mean()
    z, order = torch.randn(4, 12), torch.randperm(12)
    moved = softmax.cross_entropy(z[:, order], order.argsort()[ids.long()])
    torch.testing.assert_close(softmax.cross_entropy(z, ids.long()), moved)


@pytest.mark.correction(32)
def test_without_the_divergence_codes_run_away_from_the_prior():
    batches, kl = sentences([2, 3, 4], [5, 6], [7, 8, 9, 10], [11]), {}
    for weight in (0.0, 1.0):
        model = tiny_vae()

        def loss(model, batch, weight=weight):
            return vae.objective(model(batch["ids"], batch["mask"]), weight)

        train(model, loss, batches, config=TrainConfig(40, 2e-2, precision="no"), progress=False)
        kl[weight] = vae.evaluate(model, batches)["kl"]
    assert kl[0.0] > 10 > 3 > kl[1.0]


@pytest.mark.correction(33)
def test_the_prior_is_the_same_whatever_the_data_and_the_sentences_are_not():
    codes = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    written = {}
    for sentence in ([2, 3, 4], [9, 8]):
        model, batches = tiny_vae(), sentences(sentence)
        config = TrainConfig(60, 3e-2, precision="no")
        vae.fit(model, batches, batches, config, progress=False)
        found = vae.sample(model.cpu().decoder, codes)
        written[tuple(sentence)] = np.mean([row == sentence for row in found])
    assert min(written.values()) > 0.9  # p(x) follows the data, from the same p(z)


@pytest.mark.correction(34)
def test_the_bound_lies_below_the_likelihood_by_how_far_the_posterior_is_off():
    model, (ids, mask) = tiny_vae(latent=1).double().eval(), text.pad([[3, 8, 5]])
    z = torch.linspace(-8, 8, 4001, dtype=torch.double)[:, None]
    with torch.no_grad():
        model.decoder.begin.weight *= 5
        mean, log_variance = model.posterior(ids, mask)
        joint = model.decoder(ids.expand(4001, -1), mask.expand(4001, -1), z)
        joint = joint + vae.log_density(z, 0 * z, 0 * z)
        exact = torch.logsumexp(joint, 0) + math.log(0.004)
        q = vae.log_density(z, mean, log_variance)
        gap = (q.exp() * (q - (joint - exact))).sum() * 0.004  # KL(q || true posterior)
        torch.manual_seed(0)
        elbos = vae.elbo(model(ids.expand(20_000, -1), mask.expand(20_000, -1)))
    error = elbos.std() / 20_000**0.5
    assert abs(elbos.mean() + gap - exact) < 4.5 * error
    assert elbos.mean() + 4.5 * error < exact


@pytest.mark.correction(35)
def test_one_softmax_for_a_whole_sentence_cannot_put_words_in_order():
    sentence = [2, 3, 4, 5, 2]
    counts = torch.bincount(torch.tensor(sentence), minlength=12) / 5
    best = counts[sentence].log().sum()  # no one distribution makes these five words likelier
    for probs in torch.rand(500, 12).log_softmax(-1):
        assert probs[sentence].sum() < best
    assert best == counts[sentence[::-1]].log().sum()  # backwards it is as likely
    model, batches = vae.LanguageModel(12, embedding=6, hidden=8, dropout=0.0), sentences(sentence)
    config = TrainConfig(60, 2e-2, precision="no")
    vae.fit_language_model(model, batches, batches, config, progress=False)
    there, back = model.cpu()(*text.pad([sentence, sentence[::-1]]))
    assert there > -0.5 > best > back


@pytest.mark.correction(36)
def test_the_code_that_reconstructs_better_can_classify_at_chance():
    random = np.random.default_rng(0)
    labels = random.integers(2, size=2000)
    x = np.column_stack([10 * random.normal(size=2000), 2 * labels - 1])  # loud noise, quiet class
    errors = [((x - np.where(np.arange(2) == kept, x, 0)) ** 2).sum(1).mean() for kept in (0, 1)]
    right = [((x[:, kept] > 0) == labels).mean() for kept in (0, 1)]
    assert errors[0] < errors[1] / 50
    assert right[0] < 0.55 and right[1] == 1


@pytest.mark.correction(37)
def test_smaller_batches_make_an_epoch_slower():
    texts, seconds, steps = [np.arange(2, 10)] * 256, {}, {}
    for budget in (8, 512):
        batches, model = data.batches(texts, token_budget=budget), tiny_vae()
        config = TrainConfig(1, precision="no")
        history = vae.fit(model, batches, batches, config, progress=False)
        seconds[budget], steps[budget] = history.seconds[0], history.steps[0]
    assert steps == {8: 256, 512: 4}
    assert seconds[8] > 3 * seconds[512]


def colours(*named, rows=40, seed=0):
    """Texts of one word: the id of a colour at random places among words that say nothing."""
    dice = np.random.default_rng(seed)
    labels = np.arange(rows) % len(named)
    ids = dice.integers(8, 20, (rows, 6))
    ids[range(rows), dice.integers(0, 6, rows)] = np.array(named)[labels]
    return data.batches([row.astype(np.int32) for row in ids], labels, token_budget=120), labels


def small_cnn(classes=2):
    torch.manual_seed(0)
    return cnn.TextCNN(20, classes, embedding=8, filters=8, widths=(1, 2), dropout=0.0)


def share_right(model, batches):
    labels = predict(model, lambda _, batch: batch["labels"], batches).numpy()
    return float((training.predict_classes(model, batches) == labels).mean())


QUICK = TrainConfig(epochs=15, lr=0.01, clip=None, precision="no")


@pytest.mark.correction(38)
def test_without_training_on_the_target_an_answer_is_the_sources():
    source, _ = colours(2, 3)
    target, _ = colours(3, 2, seed=1)  # the same texts, the classes the other way round
    model = small_cnn()
    fit_classifier(model, source, None, QUICK, progress=False)
    assert share_right(model, source) == 1
    assert share_right(model, target) == 0  # "transferred", with the source's head
    untrained = np.mean([share_right(transfer.new_head(model, 2), target) for _ in range(40)])
    assert untrained == pytest.approx(0.5, abs=0.15)  # with a new one
    transfer.adapt(model, "full", target, QUICK)
    assert share_right(model, target) == 1


@pytest.mark.correction(39)
def test_a_head_on_probabilities_has_lost_what_the_old_classes_do_not_tell_apart():
    source, labels = colours(2, 3, 4, 5, rows=80)
    model = small_cnn()
    two = [{**batch, "labels": batch["labels"] % 2} for batch in source]  # 2 and 4 are one class
    fit_classifier(model, two, None, dataclasses.replace(QUICK, epochs=5), progress=False)
    x = transfer.features(model, source)
    with torch.no_grad():
        stacked = model.cpu().output(x).softmax(-1)

    def right(inputs):
        head = transfer.fit_head(torch.nn.Linear(inputs.shape[1], 4), inputs, labels, c=1.0)
        return float((head(inputs).argmax(1).numpy() == labels).mean())

    assert right(x) > right(stacked) + 0.2
    assert torch.linalg.matrix_rank(stacked - stacked.mean(0), atol=1e-5) == 1  # a line
    assert right(stacked) < 0.75  # two pairs of classes, and luck within each


@pytest.mark.correction(40)
def test_one_high_rate_forgets_what_a_low_one_keeps():
    source, target = colours(2, 3, rows=80)[0], colours(4, 5, seed=2)[0]
    before = small_cnn()
    fit_classifier(before, source, None, QUICK, progress=False)
    lost = {}
    for lr in (0.3, 0.01):
        after = transfer.new_head(copy.deepcopy(before), 2)
        transfer.adapt(after, "full", target, dataclasses.replace(QUICK, lr=lr))
        assert share_right(after, target) > 0.95  # both learn the new task
        lost[lr] = transfer.forgetting(before, after, source)
    assert lost[0.3] > 0.2 > 0.1 > lost[0.01]


@pytest.mark.correction(45)
def test_feature_extraction_is_fine_tuning_with_the_rate_0_below_the_head():
    source, target = colours(2, 3)[0], colours(4, 5, seed=2)[0]
    moved = small_cnn()
    fit_classifier(moved, source, None, QUICK, progress=False)
    low, frozen = copy.deepcopy(moved), copy.deepcopy(moved)
    transfer.adapt(low, "full", target, QUICK, decay=1e-9)
    transfer.unfreeze(frozen, 1)
    groups = finetuning.parameter_groups(frozen, QUICK.lr)
    fit_classifier(frozen, target, None, QUICK, optimizer=groups, progress=False)
    assert (low.output.weight - moved.output.weight).abs().max() > 0.01  # the head has learned
    for (name, a), b in zip(low.named_parameters(), frozen.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=name)
