"""For each item of book/corrections.md: the fault is real, and what the book does is free of it."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.tree import DecisionTreeClassifier
from torch.nn import functional as F

from tutorial_lib import attention, cnn, evaluation, results, rnn, softmax, tables, text
from tutorial_lib.baselines import NaiveBayes
from tutorial_lib.data.provenance import Provenance

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
    assert f"{mean:.1f} ± {spread:.1f} (10)" in tables.table([record.run()])
