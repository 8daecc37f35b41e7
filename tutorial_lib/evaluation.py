"""Metrics, intervals and tests of significance for classifiers.

Every metric here is a function of the confusion matrix, so resampling the rows of a test set
is resampling the cells of that matrix: a bootstrap of 10,000 resamples is a few multinomial
draws, whatever the size of the test set.

Shapes: N examples, C classes, R resamples. Matrices hold the true class in rows and the
predicted class in columns; metrics take [..., C, C].
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Values = np.ndarray | np.floating
Metric = Callable[[np.ndarray], Values]


class Interval(NamedTuple):
    """A value with the ends of its confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class McNemar(NamedTuple):
    """How often just one of two classifiers is right, and how surprising the imbalance is."""

    only_a: int
    only_b: int
    p_value: float


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count true class (row) against predicted class (column), [C, C].

    Raises:
        ValueError: no examples, arrays that are not one class index an example, lengths that
            differ, or an index outside 0 … classes - 1.
    """
    truth, predicted = _indices(truth, predicted, classes=classes)
    cells = np.bincount(truth * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes)


def accuracy(matrix: np.ndarray) -> Values:
    """Return the share of examples on the diagonal.

    Equation: eq-accuracy
    """
    return _diagonal(matrix).sum(-1) / matrix.sum((-2, -1))


def precision(matrix: np.ndarray) -> np.ndarray:
    """Return for each class the share of its predictions that are right, [..., C].

    A class that is never predicted has precision 0, as in scikit-learn.

    Equation: eq-precision
    """
    return _ratio(_diagonal(matrix), matrix.sum(-2))


def recall(matrix: np.ndarray) -> np.ndarray:
    """Return for each class the share of its examples that are found, [..., C].

    Equation: eq-recall
    """
    return _ratio(_diagonal(matrix), matrix.sum(-1))


def f1(matrix: np.ndarray) -> np.ndarray:
    """Return for each class the harmonic mean of precision and recall, [..., C].

    Equation: eq-f1
    """
    return _ratio(2 * _diagonal(matrix), matrix.sum(-2) + matrix.sum(-1))


def macro_f1(matrix: np.ndarray) -> Values:
    """Return the plain mean of the classes' F1: a rare class counts as much as a common one.

    Equation: eq-macro-f1
    """
    return f1(matrix).mean(-1)


def micro_f1(matrix: np.ndarray) -> Values:
    """Return F1 of all decisions pooled. With one label an example this is the accuracy.

    Equation: eq-micro-f1
    """
    hits = _diagonal(matrix).sum(-1)  # every wrong decision is one false positive …
    wrong = matrix.sum((-2, -1)) - hits  # … and one false negative
    return 2 * hits / (2 * hits + wrong + wrong)


def report(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Return accuracy, macro and micro F1, and each class's precision, recall and F1."""
    matrix = confusion_matrix(truth, predicted, len(classes))
    values = {
        "accuracy": float(accuracy(matrix)),
        "macro_f1": float(macro_f1(matrix)),
        "micro_f1": float(micro_f1(matrix)),
    }
    for metric in (precision, recall, f1):
        for name, value in zip(classes, metric(matrix), strict=True):
            values[f"{metric.__name__}[{name}]"] = float(value)
    return values


def bootstrap(
    truth: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    *,
    metric: Metric = accuracy,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return a metric with its percentile bootstrap interval over the examples.

    Args:
        metric: a function of confusion matrices [..., C, C] that gives one number each. With
            classes of a handful of texts, macro F1 suffers from resamples that lack a class.

    Source: Efron 1979; Efron and Tibshirani 1993, chapter 13.

    Equation: eq-bootstrap
    """
    matrix = confusion_matrix(truth, predicted, classes)
    return bootstrap_cells(matrix, metric=metric, level=level, resamples=resamples, seed=seed)


def bootstrap_cells(
    cells: np.ndarray,
    *,
    metric: Metric = accuracy,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the same from a table of counts, such as a confusion matrix or a mean of several.

    As many examples are drawn as the cells add up to, rounded.

    Raises:
        ValueError: the metric does not give one number for each of several tables, or the
            level lies outside 0 … 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1; got {level}")
    rng, draws = np.random.default_rng(seed), []
    some = cells.ravel() > 0  # an empty cell stays empty
    some[-1] = True  # takes what is left
    step = min(500, 1 + 2**24 // cells.size)  # so that memory stays small
    for size in np.diff([*range(0, resamples, step), resamples]):
        tables = np.zeros((size, cells.size), np.int64)
        share = cells.ravel()[some] / cells.sum()
        tables[:, some] = rng.multinomial(round(cells.sum()), share, size)
        values = np.asarray(metric(tables.reshape(size, *cells.shape)))
        if values.shape != (size,):
            raise ValueError(
                f"the metric must give one number for each of {size} tables [{size}, C, C]; "
                f"it gave an array of shape {values.shape}"
            )
        draws.append(values)
    low, high = np.quantile(np.concatenate(draws), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(metric(cells)), float(low), float(high))


def paired_bootstrap(
    truth: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    classes: int,
    *,
    metric: Metric = accuracy,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return metric(a) - metric(b) with its interval, both scored on the same resampled texts.

    An interval that holds 0 says that this test set does not tell the two apart.

    Source: Efron and Tibshirani 1993, chapter 13, on the difference; for a test on such samples see
    Berg-Kirkpatrick, Burkett and Klein 2012.

    Equation: eq-paired-bootstrap
    """
    truth, a, b = _indices(truth, a, b, classes=classes)
    shape = (classes, classes, classes)
    cells = np.bincount((truth * classes + a) * classes + b, minlength=classes**3).reshape(shape)

    def difference(joint: np.ndarray) -> Values:
        return metric(joint.sum(-1)) - metric(joint.sum(-2))

    return bootstrap_cells(cells, metric=difference, level=level, resamples=resamples, seed=seed)


def mcnemar(truth: np.ndarray, a: np.ndarray, b: np.ndarray) -> McNemar:
    """Return the exact two-sided McNemar test that a and b err equally often.

    Only the examples on which just one of them is right say anything; under the null
    hypothesis each falls to either side like a fair coin.

    Source: McNemar 1947; Dietterich 1998, section 3.1.

    Equation: eq-mcnemar
    """
    from scipy.stats import binomtest

    truth, a, b = _indices(truth, a, b)
    only_a = int(((a == truth) & (b != truth)).sum())
    only_b = int(((a != truth) & (b == truth)).sum())
    if only_a + only_b == 0:
        return McNemar(0, 0, 1.0)
    return McNemar(only_a, only_b, float(binomtest(only_a, only_a + only_b).pvalue))


def by_phenomenon(
    truth: np.ndarray,
    predicted: np.ndarray,
    phenomena: Sequence[Sequence[str]],
    classes: int,
) -> dict[str, tuple[int, Interval]]:
    """Return for each phenomenon the number of texts that show it, and the accuracy on them.

    A text with several phenomena counts under each. Sorted by name, `all` last.
    """
    truth, predicted = _indices(truth, predicted, classes=classes)
    if len(phenomena) != len(truth):
        raise ValueError(f"{len(truth)} examples, but {len(phenomena)} lists of phenomena")
    groups = {name: [] for name in sorted({name for names in phenomena for name in names})}
    for row, names in enumerate(phenomena):
        for name in set(names):
            groups[name].append(row)
    groups["all"] = list(range(len(truth)))
    return {
        name: (len(rows), bootstrap(truth[rows], predicted[rows], classes))
        for name, rows in groups.items()
    }


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _ratio(numerator: Values, denominator: Values) -> np.ndarray:
    """Divide; 0 where the denominator is 0."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.zeros(shape), where=denominator != 0)


def _indices(*arrays: np.ndarray, classes: int | None = None) -> list[np.ndarray]:
    """Check that the arrays are class indices of the same examples and return them as int64."""
    arrays = [np.asarray(array) for array in arrays]
    for array in arrays:
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                "give one integer class index an example; of one-hot rows, scores or "
                f"probabilities take .argmax(1) first. Got {array.dtype} of shape {array.shape}"
            )
    if len({len(array) for array in arrays}) > 1:
        raise ValueError(f"lengths differ: {[len(array) for array in arrays]}")
    if len(arrays[0]) == 0:
        raise ValueError("there are no examples to score")
    low, high = min(a.min() for a in arrays), max(a.max() for a in arrays)
    if low < 0 or (classes is not None and high >= classes):
        raise ValueError(f"class indices run from 0 to {classes} - 1; got {low} … {high}")
    return [array.astype(np.int64) for array in arrays]
