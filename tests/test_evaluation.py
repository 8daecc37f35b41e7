"""Metrics against scikit-learn, intervals against closed forms and SciPy's bootstrap."""

import tracemalloc

import numpy as np
import pytest
import scipy.stats
from sklearn import metrics as sk

from tutorial_lib import evaluation as ev

CLASSES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def predictions():
    """600 examples of 3 unequal classes, and two classifiers right about 80 % and 75 %."""
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 600, p=[0.7, 0.2, 0.1])
    a, b = (np.where(rng.random(600) < s, truth, rng.integers(0, 3, 600)) for s in (0.7, 0.6))
    return truth, a, b


def test_confusion_matrix_is_scikit_learns(predictions):
    truth, a, _ = predictions
    np.testing.assert_array_equal(ev.confusion_matrix(truth, a, 3), sk.confusion_matrix(truth, a))


@pytest.mark.equation("eq-accuracy", "eq-precision", "eq-recall", "eq-f1")
@pytest.mark.equation("eq-macro-f1", "eq-micro-f1")
def test_every_metric_is_scikit_learns(predictions):
    truth, a, _ = predictions
    report = ev.report(truth, a, CLASSES)
    assert report["accuracy"] == pytest.approx(sk.accuracy_score(truth, a))
    assert report["macro_f1"] == pytest.approx(sk.f1_score(truth, a, average="macro"))
    assert report["micro_f1"] == pytest.approx(sk.f1_score(truth, a, average="micro"))
    columns = sk.precision_recall_fscore_support(truth, a)[:3]
    for metric, values in zip(("precision", "recall", "f1"), columns, strict=True):
        for name, value in zip(CLASSES, values, strict=True):
            assert report[f"{metric}[{name}]"] == pytest.approx(value)


def test_precision_and_recall_by_hand():
    # 4 spam of 10: 3 found, 2 ham wrongly called spam
    matrix = np.array([[4, 2], [1, 3]])
    np.testing.assert_allclose(ev.precision(matrix), [4 / 5, 3 / 5])
    np.testing.assert_allclose(ev.recall(matrix), [4 / 6, 3 / 4])
    np.testing.assert_allclose(ev.f1(matrix)[1], 2 / (5 / 3 + 4 / 3))


def test_a_class_never_predicted_counts_as_zero_not_nan():
    truth, never = np.array([0, 0, 0, 1]), np.zeros(4, int)
    report = ev.report(truth, never, ["ham", "spam"])
    assert report["accuracy"] == 0.75  # looks fine
    assert report["f1[spam]"] == report["precision[spam]"] == 0.0
    assert report["macro_f1"] == pytest.approx(sk.f1_score(truth, never, average="macro"))


@pytest.mark.equation("eq-bootstrap")
def test_bootstrap_of_accuracy_is_the_binomials_quantiles(predictions):
    truth, a, _ = predictions
    interval = ev.bootstrap(truth, a, 3, resamples=200_000)
    n, share = len(truth), (truth == a).mean()
    exact = scipy.stats.binom(n, share).ppf([0.025, 0.975]) / n
    np.testing.assert_allclose([interval.low, interval.high], exact, atol=1.01 / n)
    assert interval.value == pytest.approx(share)


def test_bootstrap_of_macro_f1_is_scipys_over_the_rows(predictions):
    truth, a, _ = predictions

    def score(rows):
        return sk.f1_score(truth[rows], a[rows], average="macro")

    rows = np.arange(len(truth))
    reference = scipy.stats.bootstrap(
        (rows,), score, vectorized=False, n_resamples=1500, method="percentile", rng=0
    ).confidence_interval
    ours = ev.bootstrap(truth, a, 3, metric=ev.macro_f1)
    width = reference.high - reference.low
    np.testing.assert_allclose([ours.low, ours.high], reference, atol=0.1 * width)


def test_a_95_percent_interval_holds_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        right = (rng.random(300) < 0.8).astype(int)
        interval = ev.bootstrap(np.ones(300, int), right, 2, resamples=1000)
        hits += interval.low <= 0.8 <= interval.high
    # 400 trials at 95 %: within four standard deviations
    assert abs(hits / 400 - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 400)


@pytest.mark.equation("eq-paired-bootstrap")
def test_paired_bootstrap_against_its_normal_limit(predictions):
    truth, a, b = predictions
    interval = ev.paired_bootstrap(truth, a, b, 3)
    difference = (a == truth).astype(float) - (b == truth)
    spread = 1.96 * difference.std() / np.sqrt(len(truth))
    expected = [difference.mean() - spread, difference.mean() + spread]
    np.testing.assert_allclose([interval.low, interval.high], expected, atol=0.003)
    assert interval.value == pytest.approx(difference.mean())


def test_pairs_of_many_classes_are_those_of_few_and_fit_into_memory(predictions):
    few = ev.paired_bootstrap(*predictions, 3)
    tracemalloc.start()
    many = ev.paired_bootstrap(*predictions, 60)  # none of the others ever occurs
    assert tracemalloc.get_traced_memory()[1] < 500e6  # 500 tables of 60^3 are 860 MB
    tracemalloc.stop()
    np.testing.assert_allclose(many, few, atol=0.002)


def test_the_paired_difference_is_of_the_metric_asked_for(predictions):
    truth, a, b = predictions
    interval = ev.paired_bootstrap(truth, a, b, 3, metric=ev.macro_f1)
    scores = [sk.f1_score(truth, guesses, average="macro") for guesses in (a, b)]
    assert interval.value == pytest.approx(scores[0] - scores[1])
    assert interval.low < interval.value < interval.high


def test_the_interval_is_of_the_level_asked_for(predictions):
    truth, a, b = predictions
    n, difference = len(truth), (a == truth).astype(float) - (b == truth)
    _, low, high = ev.bootstrap(truth, a, 3, level=0.5)
    exact = scipy.stats.binom(n, (truth == a).mean()).ppf([0.25, 0.75]) / n
    np.testing.assert_allclose([low, high], exact, atol=1.01 / n)
    _, low, high = ev.paired_bootstrap(truth, a, b, 3, level=0.5)
    spread = scipy.stats.norm.ppf(0.75) * difference.std() / np.sqrt(n)
    expected = [difference.mean() - spread, difference.mean() + spread]
    np.testing.assert_allclose([low, high], expected, atol=0.003)


def test_another_seed_draws_other_resamples(predictions):
    truth, a, _ = predictions
    one, again, other = (
        ev.bootstrap(truth, a, 3, metric=ev.macro_f1, resamples=500, seed=s) for s in (0, 0, 1)
    )
    assert one == again and one.value == other.value and one.low != other.low


def test_a_classifier_against_itself_differs_by_exactly_nothing(predictions):
    truth, a, _ = predictions
    assert ev.paired_bootstrap(truth, a, a, 3) == (0, 0, 0)
    assert ev.mcnemar(truth, a, a).p_value == 1


@pytest.mark.equation("eq-mcnemar")
def test_mcnemar_against_the_binomial_sum(predictions):
    # 12 examples on which only a is right, 3 on which only b is
    truth = np.zeros(30, int)
    a = np.r_[np.zeros(12, int), np.ones(3, int), np.zeros(15, int)]
    b = np.r_[np.ones(12, int), np.zeros(3, int), np.zeros(15, int)]
    result = ev.mcnemar(truth, a, b)
    assert (result.only_a, result.only_b) == (12, 3)
    tail = sum(scipy.special.comb(15, k) for k in range(4)) / 2**15
    assert result.p_value == pytest.approx(2 * tail)


def test_by_phenomenon_counts_a_text_under_each_of_its_names():
    truth, predicted = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])
    names = [["plain"], ["plain", "negation"], ["negation"], ["contrast"]]
    table = ev.by_phenomenon(truth, predicted, names, 2)
    assert {k: (n, i.value) for k, (n, i) in table.items()} == {
        "contrast": (1, 0.0),
        "negation": (2, 0.5),
        "plain": (2, 1.0),
        "all": (4, 0.5),
    }
    assert list(table)[-1] == "all"
    with pytest.raises(ValueError, match="4 examples, but 3 lists"):
        ev.by_phenomenon(truth, predicted, names[:3], 2)


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (np.eye(2), np.array([0, 1]), "argmax"),
        (np.array([0, 1]), np.array([0.2, 0.8]), "argmax"),
        (np.array([0, 1]), np.array([0, 1, 1]), "lengths differ"),
        (np.array([], int), np.array([], int), "no examples"),
        (np.array([0, 2]), np.array([0, 1]), "from 0 to 2 - 1"),
        (np.array([0, -1]), np.array([0, 1]), "from 0 to 2 - 1"),
        (np.array([0, 1]), np.array([0, 2]), "from 0 to 2 - 1"),
        (np.array([0, 1]), np.array([0, -1]), "from 0 to 2 - 1"),
    ],
)
def test_what_is_not_a_class_index_is_refused(truth, predicted, message):
    with pytest.raises(ValueError, match=message):
        ev.report(truth, predicted, ["ham", "spam"])


def test_a_metric_that_does_not_take_many_matrices_is_refused():
    y = np.array([0, 1, 1, 0])
    with pytest.raises(ValueError, match="one number for each"):
        ev.bootstrap(y, y, 2, metric=lambda m: m[1, 1] / m[1].sum())


def test_the_interval_of_a_mean_matrix_is_centred_on_its_accuracy():
    # 0.3 errors in every one of 50 * 49 cells: rounding any of them would lose all errors
    cells = np.full((50, 50), 0.3)
    np.fill_diagonal(cells, 40.0)
    interval = ev.bootstrap_cells(cells)
    share = 2000 / (2000 + 0.3 * 50 * 49)
    spread = 1.96 * np.sqrt(share * (1 - share) / cells.sum())
    expected = [share, share - spread, share + spread]
    np.testing.assert_allclose(interval, expected, atol=0.002)


def test_a_level_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match="level"):
        ev.bootstrap(np.array([0, 1]), np.array([0, 1]), 2, level=95.0)
