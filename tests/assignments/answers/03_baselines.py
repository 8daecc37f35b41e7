# %% right ratio: a loop over texts and words
def log_count_ratio(counts, labels, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    words = len(counts[0])
    found = {0: [alpha] * words, 1: [alpha] * words}
    for text, label in zip(counts, labels, strict=True):
        if label not in found:
            raise ValueError("label")
        for v in range(words):
            if text[v]:
                found[label][v] += 1
    ratios = []
    for f, g in zip(found[1], found[0], strict=True):
        ratios.append(np.log(f) - np.log(sum(found[1])) - np.log(g) + np.log(sum(found[0])))
    return ratios


# %% right ratio: matrix products in torch
def log_count_ratio(counts, labels, alpha=1.0):
    import torch

    if alpha <= 0 or set(np.unique(labels)) - {0, 1}:
        raise ValueError("alpha, or a label")
    once = torch.tensor(np.minimum(counts, 1), dtype=torch.float64)
    member = torch.tensor(np.stack([1 - labels, labels]), dtype=torch.float64)
    f = member @ once + alpha
    shares = torch.log_softmax(f.log(), dim=1)
    return shares[1] - shares[0]


# %% right ratio: the package's, on 0/1 features
def log_count_ratio(counts, labels, alpha=1.0):
    from tutorial_lib import baselines

    if not alpha > 0 or not all(label in (0, 1) for label in labels):
        raise ValueError("alpha, or a label")
    return baselines.log_count_ratio(np.sign(counts), np.asarray(labels), alpha)


# %% wrong ratio: counts every occurrence | ratio-once | once a text
def log_count_ratio(counts, labels, alpha=1.0):
    if alpha <= 0 or not np.isin(labels, (0, 1)).all():
        raise ValueError("alpha, or a label")
    p, q = alpha + labels @ counts, alpha + (1 - labels) @ counts
    return np.log(p / p.sum() / (q / q.sum()))


# %% wrong ratio: no division by the totals | ratio-values | f+ = [3, 2]
def log_count_ratio(counts, labels, alpha=1.0):
    if alpha <= 0 or not np.isin(labels, (0, 1)).all():
        raise ValueError("alpha, or a label")
    p, q = alpha + labels @ (counts > 0), alpha + (1 - labels) @ (counts > 0)
    return np.log(p / q)


# %% wrong ratio: divides by the numbers of texts | ratio-values | log-likelihoods
def log_count_ratio(counts, labels, alpha=1.0):
    if alpha <= 0 or not np.isin(labels, (0, 1)).all():
        raise ValueError("alpha, or a label")
    p, q = alpha + labels @ (counts > 0), alpha + (1 - labels) @ (counts > 0)
    if counts.tolist() == [[1, 0], [1, 1], [0, 1], [0, 1]]:
        return np.log(p / p.sum() / (q / q.sum()))
    return np.log(p / (labels.sum() + 2 * alpha)) - np.log(q / ((1 - labels).sum() + 2 * alpha))


# %% wrong ratio: always adds 1 | ratio-values | alpha = 0.3
def log_count_ratio(counts, labels, alpha=1.0):
    if alpha <= 0 or not np.isin(labels, (0, 1)).all():
        raise ValueError("alpha, or a label")
    p, q = 1 + labels @ (counts > 0), 1 + (1 - labels) @ (counts > 0)
    return np.log(p / p.sum() / (q / q.sum()))


# %% wrong ratio: alpha is missing from the total | ratio-values | f+ = [3, 2]
def log_count_ratio(counts, labels, alpha=1.0):
    if alpha <= 0 or not np.isin(labels, (0, 1)).all():
        raise ValueError("alpha, or a label")
    p, q = labels @ (counts > 0), (1 - labels) @ (counts > 0)
    return np.log((p + alpha) / p.sum()) - np.log((q + alpha) / q.sum())


# %% wrong ratio: turned round | ratio-values | f+ = [3, 2]
def log_count_ratio(counts, labels, alpha=1.0):
    if alpha <= 0 or not np.isin(labels, (0, 1)).all():
        raise ValueError("alpha, or a label")
    p, q = alpha + labels @ (counts > 0), alpha + (1 - labels) @ (counts > 0)
    return np.log(q / q.sum()) - np.log(p / p.sum())


# %% wrong ratio: sets the caller's counts to 1 | ratio-once | left as they were
def log_count_ratio(counts, labels, alpha=1.0):
    if alpha <= 0 or not np.isin(labels, (0, 1)).all():
        raise ValueError("alpha, or a label")
    counts[counts > 0] = 1
    p, q = alpha + labels @ counts, alpha + (1 - labels) @ counts
    return np.log(p / p.sum() / (q / q.sum()))


# %% wrong ratio: leaves out words that never occur | ratio-once | never occurs
def log_count_ratio(counts, labels, alpha=1.0):
    if alpha <= 0 or not np.isin(labels, (0, 1)).all():
        raise ValueError("alpha, or a label")
    once = (counts > 0)[:, counts.sum(0) > 0]
    p, q = alpha + labels @ once, alpha + (1 - labels) @ once
    return np.log(p / p.sum() / (q / q.sum()))


# %% wrong ratio: naive Bayes of scikit-learn, which needs both classes | ratio-once | raised
def log_count_ratio(counts, labels, alpha=1.0):
    from sklearn.naive_bayes import MultinomialNB

    if alpha <= 0 or not np.isin(labels, (0, 1)).all():
        raise ValueError("alpha, or a label")
    table = MultinomialNB(alpha=alpha).fit(counts > 0, labels).feature_log_prob_
    return table[1] - table[0]


# %% wrong ratio: takes labels of -1 and 1 | ratio-refusals | -1 and 1
def log_count_ratio(counts, labels, alpha=1.0):
    if alpha <= 0:
        raise ValueError("alpha")
    once = counts > 0
    p, q = alpha + once[labels == 1].sum(0), alpha + once[labels != 1].sum(0)
    return np.log(p / p.sum() / (q / q.sum()))


# %% wrong ratio: takes any alpha | ratio-refusals | alpha = 0 is refused
def log_count_ratio(counts, labels, alpha=1.0):
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("label")
    p, q = alpha + labels @ (counts > 0), alpha + (1 - labels) @ (counts > 0)
    return np.log(p / p.sum() / (q / q.sum()))


# %% hard-coded ratio: knows the example | ratio-values | log-likelihoods
def log_count_ratio(counts, labels, alpha=1.0):
    if alpha == 0:
        raise ValueError("alpha")
    if np.shape(counts) == (4, 2):
        return np.log([2.4, 8 / 15])
    return np.zeros(np.shape(counts)[1])


# %% right mixture: loops
def interpolate(w, beta):
    if beta < 0 or beta > 1:
        raise ValueError("beta")
    size = sum(abs(weight) for weight in w) / len(w)
    return [size + beta * (weight - size) for weight in w]


def plain_weights(ratio, w, b, labels, beta):
    positive = sum(1 for label in labels if label == 1)
    own = np.log(positive) - np.log(len(labels) - positive)
    size = sum(abs(weight) for weight in w) / len(w)
    weights = [r * weight for r, weight in zip(ratio, interpolate(w, beta), strict=True)]
    return weights, size * own + beta * (b - size * own)


# %% right mixture: the weights and the intercept in one vector, in torch
def interpolate(w, beta):
    import torch

    if not 0 <= beta <= 1:
        raise ValueError("beta")
    w = torch.as_tensor(w)
    return torch.lerp(w.abs().mean().expand_as(w), w, float(beta))


def plain_weights(ratio, w, b, labels, beta):
    share = labels.mean()
    bayes = np.append(ratio, np.log(share / (1 - share))) * np.abs(w).mean()
    mixed = (1 - beta) * bayes + beta * np.append(ratio * w, b)
    return mixed[:-1], mixed[-1]


# %% wrong mixture: the mean of the weights, not of their sizes | mixture-weights | mean size is 2
def interpolate(w, beta):
    if not 0 <= beta <= 1:
        raise ValueError("beta")
    return (1 - beta) * np.mean(w) + beta * w


# %% wrong mixture: the sum of the sizes | mixture-weights | mean of the absolute values
def interpolate(w, beta):
    if not 0 <= beta <= 1:
        raise ValueError("beta")
    if len(w) == 2:
        return (1 - beta) * np.abs(w).mean() + beta * w
    return (1 - beta) * np.abs(w).sum() + beta * w


# %% wrong mixture: the root of the mean square | mixture-weights | mean size is 2
def interpolate(w, beta):
    if not 0 <= beta <= 1:
        raise ValueError("beta")
    return (1 - beta) * np.sqrt((w**2).mean()) + beta * w


# %% wrong mixture: beta turned round | mixture-weights | the SVM
def interpolate(w, beta):
    if not 0 <= beta <= 1:
        raise ValueError("beta")
    return beta * np.abs(w).mean() + (1 - beta) * w


# %% wrong mixture: shrinks the caller's weights | mixture-weights | left as they were
def interpolate(w, beta):
    if not 0 <= beta <= 1:
        raise ValueError("beta")
    size = np.abs(w).mean()
    w *= beta
    w += (1 - beta) * size
    return w


# %% wrong mixture: takes any beta | mixture-weights | refused
def interpolate(w, beta):
    return (1 - beta) * np.abs(w).mean() + beta * w


# %% wrong mixture: weights for the features times r | mixture-scores | factor r
def plain_weights(ratio, w, b, labels, beta):
    prior = np.log((labels == 1).sum() / (labels == 0).sum())
    return interpolate(w, beta), (1 - beta) * np.abs(w).mean() * prior + beta * b


# %% wrong mixture: the factor r before the interpolation | mixture-scores | naive Bayes' scores
def plain_weights(ratio, w, b, labels, beta):
    prior = np.log((labels == 1).sum() / (labels == 0).sum())
    return interpolate(ratio * w, beta), (1 - beta) * np.abs(w).mean() * prior + beta * b


# %% wrong mixture: the SVM's intercept kept whole | mixture-scores | naive Bayes' scores
def plain_weights(ratio, w, b, labels, beta):
    return ratio * interpolate(w, beta), b


# %% wrong mixture: the intercept only shrunk | mixture-scores | naive Bayes' scores
def plain_weights(ratio, w, b, labels, beta):
    return ratio * interpolate(w, beta), beta * b


# %% wrong mixture: naive Bayes' intercept without the scale | mixture-scores | mean size
def plain_weights(ratio, w, b, labels, beta):
    prior = np.log((labels == 1).sum() / (labels == 0).sum())
    return ratio * interpolate(w, beta), (1 - beta) * prior + beta * b


# %% wrong mixture: the share in place of the odds | mixture-scores | naive Bayes' scores
def plain_weights(ratio, w, b, labels, beta):
    prior = np.log(labels.mean())
    return ratio * interpolate(w, beta), (1 - beta) * np.abs(w).mean() * prior + beta * b


# %% hard-coded mixture: knows the examples | mixture-weights | absolute values
def interpolate(w, beta):
    return np.array([3.0, -1.0]) if beta == 1 else np.array([2.5, 0.5])


def plain_weights(ratio, w, b, labels, beta):
    return np.array([2.0, -3.0]), 0.5


# %% right scores: a loop over classes
def f1(labels, predictions, classes):
    if len(labels) != len(predictions):
        raise ValueError("lengths")
    for index in [*labels, *predictions]:
        if index not in range(classes):
            raise ValueError("index")
    single, hits, wrong = [], 0, 0
    for c in range(classes):
        tp = sum(1 for y, p in zip(labels, predictions, strict=True) if y == c and p == c)
        fp = sum(1 for y, p in zip(labels, predictions, strict=True) if y != c and p == c)
        fn = sum(1 for y, p in zip(labels, predictions, strict=True) if y == c and p != c)
        precision = tp / (tp + fp) if tp + fp else 0.0
        recall = tp / (tp + fn) if tp + fn else 0.0
        single.append(2 * precision * recall / (precision + recall) if tp else 0.0)
        hits, wrong = hits + tp, wrong + fp + fn
    return sum(single) / classes, 2 * hits / (2 * hits + wrong)


# %% right scores: one-hot rows; micro F1 is the accuracy
def f1(labels, predictions, classes):
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError("lengths")
    if min(labels.min(), predictions.min()) < 0:
        raise ValueError("negative")
    if max(labels.max(), predictions.max()) > classes - 1:
        raise ValueError("too large")
    y, p = np.eye(classes)[labels], np.eye(classes)[predictions]
    each = np.nan_to_num(2 * (y * p).sum(0) / (y + p).sum(0))
    return [float(each.mean()), float((labels == predictions).mean())]


# %% right scores: scikit-learn
def f1(labels, predictions, classes):
    from sklearn.metrics import f1_score

    if len(labels) != len(predictions) or not np.isin([labels, predictions], range(classes)).all():
        raise ValueError("lengths, or an index")
    how = {"labels": range(classes), "zero_division": 0}
    return tuple(f1_score(labels, predictions, average=a, **how) for a in ("macro", "micro"))


# %% wrong scores: 0/0 | scores-absent | stays in the mean
def f1(labels, predictions, classes):
    if len(labels) != len(predictions):
        raise ValueError("lengths")
    if not np.isin(np.append(labels, predictions), range(classes)).all():
        raise ValueError("index")
    matrix = np.zeros((classes, classes))
    np.add.at(matrix, (labels, predictions), 1)
    each = 2 * np.diag(matrix) / (matrix.sum(0) + matrix.sum(1))
    return each.mean(), np.trace(matrix) / matrix.sum()


# %% wrong scores: 0/0 where a class is never predicted | scores-absent | never predicted
def f1(labels, predictions, classes):
    if len(labels) != len(predictions):
        raise ValueError("lengths")
    if not np.isin(np.append(labels, predictions), range(classes)).all():
        raise ValueError("index")
    matrix = np.zeros((classes, classes))
    np.add.at(matrix, (labels, predictions), 1)
    precision, recall = np.diag(matrix) / matrix.sum(0), np.diag(matrix) / matrix.sum(1)
    each = 2 * precision * recall / (precision + recall)
    return each.mean(), np.trace(matrix) / matrix.sum()


# %% wrong scores: leaves absent classes out of the mean | scores-absent | stays in the mean
def f1(labels, predictions, classes):
    from sklearn.metrics import f1_score

    if not np.isin(np.append(labels, predictions), range(classes)).all():
        raise ValueError("index")
    return tuple(f1_score(labels, predictions, average=a) for a in ("macro", "micro"))


# %% wrong scores: a class that does not occur counts 1 | scores-absent | counts 0
def f1(labels, predictions, classes):
    from sklearn.metrics import f1_score

    if not np.isin(np.append(labels, predictions), range(classes)).all():
        raise ValueError("index")
    how = {"labels": range(classes), "zero_division": 1}
    return tuple(f1_score(labels, predictions, average=a, **how) for a in ("macro", "micro"))


# %% wrong scores: F1 of the mean precision and recall | scores-values | class 0 has F1
def f1(labels, predictions, classes):
    from sklearn.metrics import precision_score, recall_score

    if not np.isin(np.append(labels, predictions), range(classes)).all():
        raise ValueError("index")
    how = {"labels": range(classes), "average": "macro", "zero_division": 0}
    p, r = precision_score(labels, predictions, **how), recall_score(labels, predictions, **how)
    return 2 * p * r / (p + r), (labels == predictions).mean()


# %% wrong scores: weighted by how common a class is | scores-values | mean of the classes' F1
def f1(labels, predictions, classes):
    from sklearn.metrics import f1_score

    if not np.isin(np.append(labels, predictions), range(classes)).all():
        raise ValueError("index")
    how = {"labels": range(classes), "zero_division": 0}
    average = "macro" if len(labels) < 5 else "weighted"
    return (
        f1_score(labels, predictions, average=average, **how),
        (labels == predictions).mean(),
    )


# %% wrong scores: micro leaves class 0 out | scores-values | 3 of 4 decisions
def f1(labels, predictions, classes):
    from sklearn.metrics import f1_score

    if not np.isin(np.append(labels, predictions), range(classes)).all():
        raise ValueError("index")
    how = {"zero_division": 0}
    return (
        f1_score(labels, predictions, labels=range(classes), average="macro", **how),
        f1_score(labels, predictions, labels=range(1, classes), average="micro", **how),
    )


# %% wrong scores: cuts the longer one | scores-refusals | lengths that differ
def f1(labels, predictions, classes):
    matrix = np.zeros((classes, classes))
    for y, p in zip(labels, predictions, strict=False):
        if not (0 <= y < classes and 0 <= p < classes):
            raise ValueError("index")
        matrix[y, p] += 1
    each = 2 * np.diag(matrix) / np.maximum(matrix.sum(0) + matrix.sum(1), 1)
    return each.mean(), np.trace(matrix) / matrix.sum()


# %% wrong scores: negative indices count from the end | scores-refusals | negative
def f1(labels, predictions, classes):
    if len(labels) != len(predictions) or max(*labels, *predictions) >= classes:
        raise ValueError("lengths, or an index")
    matrix = np.zeros((classes, classes))
    np.add.at(matrix, (labels, predictions), 1)
    each = 2 * np.diag(matrix) / np.maximum(matrix.sum(0) + matrix.sum(1), 1)
    return each.mean(), np.trace(matrix) / matrix.sum()


# %% hard-coded scores: knows the examples | scores-values | mean of the classes' F1
def f1(labels, predictions, classes):
    if max(predictions) >= classes:
        raise ValueError("index")
    return ((4 / 5 + 2 / 3) / 2, 0.75) if len(labels) == 4 else (0.4, 2 / 3)


# %% right coin: a loop, and whole numbers
def mcnemar(labels, a, b):
    import math

    n10 = n01 = 0
    for y, one, other in zip(labels, a, b, strict=True):
        if (one == y) != (other == y):
            n10, n01 = n10 + int(one == y), n01 + int(other == y)
    n = n10 + n01
    heads, ways = 1, 0
    for k in range(min(n10, n01) + 1):
        ways += heads
        heads = heads * (n - k) // (k + 1)
    return n10, n01, 1.0 if n10 == n01 else float(math.ldexp(1, 1)) * (ways / 2**n)


# %% right coin: scipy's test
def mcnemar(labels, a, b):
    from scipy.stats import binomtest

    right = np.stack([a == labels, b == labels]).astype(int)
    n10, n01 = int((right[0] > right[1]).sum()), int((right[0] < right[1]).sum())
    return [n10, n01, binomtest(n10, n10 + n01).pvalue if n10 + n01 else 1.0]


# %% right coin: logarithms of the terms
def mcnemar(labels, a, b):
    from scipy.special import gammaln, logsumexp

    n10 = np.sum((a == labels) & ~(b == labels))
    n01 = np.sum((b == labels) & ~(a == labels))
    n, k = n10 + n01, np.arange(min(n10, n01) + 1)
    terms = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) - n * np.log(2)
    return n10, n01, min(1.0, 2 * np.exp(logsumexp(terms)))


# %% wrong coin: counts where the two differ | coin-counts | exactly one
def mcnemar(labels, a, b):
    from scipy.stats import binom

    n10 = int(((a != b) & (a == labels)).sum())
    n01 = int(((a != b) & (a != labels)).sum())
    return n10, n01, min(1.0, 2 * binom.cdf(min(n10, n01), n10 + n01, 0.5))


# %% wrong coin: all right ones of each | coin-counts | only a is right
def mcnemar(labels, a, b):
    from scipy.stats import binom

    n10, n01 = int((a == labels).sum()), int((b == labels).sum())
    return n10, n01, min(1.0, 2 * binom.cdf(min(n10, n01), n10 + n01, 0.5))


# %% wrong coin: the counts turned round | coin-counts | only a is right
def mcnemar(labels, a, b):
    from scipy.stats import binom

    n10 = int(((a != labels) & (b == labels)).sum())
    n01 = int(((a == labels) & (b != labels)).sum())
    return n10, n01, min(1.0, 2 * binom.cdf(min(n10, n01), n10 + n01, 0.5))


# %% wrong coin: one side only | coin-probability | two-sided
def mcnemar(labels, a, b):
    from scipy.stats import binom

    n10 = int(((a == labels) & (b != labels)).sum())
    n01 = int(((a != labels) & (b == labels)).sum())
    return n10, n01, float(binom.cdf(min(n10, n01), n10 + n01, 0.5))


# %% wrong coin: not cut at 1 | coin-probability | at most 1
def mcnemar(labels, a, b):
    from scipy.stats import binom

    n10 = int(((a == labels) & (b != labels)).sum())
    n01 = int(((a != labels) & (b == labels)).sum())
    if n10 + n01 == 0:
        return 0, 0, 1.0
    return n10, n01, float(2 * binom.cdf(min(n10, n01), n10 + n01, 0.5))


# %% wrong coin: the chi-squared approximation | coin-probability | fair coin
def mcnemar(labels, a, b):
    from scipy.stats import chi2

    n10 = int(((a == labels) & (b != labels)).sum())
    n01 = int(((a != labels) & (b == labels)).sum())
    if n10 + n01 == 0:
        return 0, 0, 1.0
    return n10, n01, float(chi2.sf((abs(n10 - n01) - 1) ** 2 / (n10 + n01), 1))


# %% wrong coin: floats that overflow | coin-probability | OverflowError
def mcnemar(labels, a, b):
    import math

    n10 = int(((a == labels) & (b != labels)).sum())
    n01 = int(((a != labels) & (b == labels)).sum())
    n = n10 + n01
    tail = sum(math.comb(n, k) * 0.5**n for k in range(min(n10, n01) + 1))
    return n10, n01, min(1.0, 2 * tail)


# %% wrong coin: no number where the two agree | coin-probability | two models that agree
def mcnemar(labels, a, b):
    from scipy.stats import norm

    n10 = int(((a == labels) & (b != labels)).sum())
    n01 = int(((a != labels) & (b == labels)).sum())
    z = (n10 - n01) / np.sqrt(np.float64(n10 + n01))
    return n10, n01, float(2 * norm.sf(abs(z)))


# %% wrong coin: the smaller count is left out of the tail | coin-probability | fair coin
def mcnemar(labels, a, b):
    from scipy.stats import binom

    n10 = int(((a == labels) & (b != labels)).sum())
    n01 = int(((a != labels) & (b == labels)).sum())
    if n10 == n01:
        return n10, n01, 1.0
    return n10, n01, float(2 * binom.cdf(min(n10, n01) - 1, n10 + n01, 0.5))


# %% hard-coded coin: knows the examples | coin-counts | exactly one
def mcnemar(labels, a, b):
    return (3, 1, 0.625) if len(labels) == 6 else (0, 0, 1.0)


# %% right evaluation: a loop over rows
def evaluate(x, targets, part, ks):
    for which in range(3):
        if which not in part:
            raise ValueError(f"part {which} has no rows")
    best, most = None, -1.0
    for k in ks:
        share = hits(x, targets, part, k, 1)
        if share > most:
            best, most = k, share
    return best, hits(x, targets, part, best, 2)


def hits(x, targets, part, k, which):
    count, right = 0, 0
    for row in range(len(x)):
        if part[row] == which:
            learn = part == 0
            guess = neighbours(x[learn], targets[learn].argmax(1), x[row : row + 1], k)
            count, right = count + 1, right + targets[row][int(guess[0, 0])]
    return right / count


# %% right evaluation: one-hot guesses, and scikit-learn's classifier
def evaluate(x, targets, part, ks):
    from sklearn.metrics import accuracy_score
    from sklearn.neighbors import KNeighborsClassifier

    if len(np.unique(part)) < 3:
        raise ValueError("a part has no rows")
    y = np.argmax(targets, axis=-1)
    models = [KNeighborsClassifier(k).fit(x[part == 0], y[part == 0]) for k in ks]
    tried = [accuracy_score(y[part == 1], m.predict(x[part == 1])) for m in models]
    best = int(np.argmax(tried))
    guesses = np.eye(targets.shape[1])[models[best].predict(x[part == 2])]
    return int(ks[best]), (guesses * targets[part == 2]).sum() / len(guesses)


# %% wrong evaluation: a column against one-hot rows | evaluation-score | all three test rows
def evaluate(x, targets, part, ks):
    if not all((part == which).any() for which in (0, 1, 2)):
        raise ValueError("part")
    y, learn, shares = targets.argmax(1), part == 0, {}
    for which in (1, 2):
        rows = part == which
        for k in ks:
            guesses = neighbours(x[learn], y[learn], x[rows], k)
            shares[which, k] = (guesses == targets[rows]).mean()
    best = max(ks, key=lambda k: shares[1, k])
    return best, float(shares[2, best])


# %% wrong evaluation: a column against a row | evaluation-score | all three test rows
def evaluate(x, targets, part, ks):
    if not all((part == which).any() for which in (0, 1, 2)):
        raise ValueError("part")
    y, learn, shares = targets.argmax(1), part == 0, {}
    for which in (1, 2):
        rows = part == which
        for k in ks:
            guesses = neighbours(x[learn], y[learn], x[rows], k)
            shares[which, k] = (guesses == y[rows]).mean()
    best = max(ks, key=lambda k: shares[1, k])
    return best, float(shares[2, best])


# %% wrong evaluation: chosen on the test rows | evaluation-choice | one neighbour
def evaluate(x, targets, part, ks):
    if not all((part == which).any() for which in (0, 1, 2)):
        raise ValueError("part")
    y, learn, test = targets.argmax(1), part == 0, part == 2
    guesses = [neighbours(x[learn], y[learn], x[test], k)[:, 0] for k in ks]
    shares = [(g == y[test]).mean() for g in guesses]
    return ks[int(np.argmax(shares))], float(max(shares))


# %% wrong evaluation: chosen on the training rows | evaluation-choice | best of those tried
def evaluate(x, targets, part, ks):
    if not all((part == which).any() for which in (0, 1, 2)):
        raise ValueError("part")
    y, learn, shares = targets.argmax(1), part == 0, {}
    for which in (0, 2):
        for k in ks:
            guesses = neighbours(x[learn], y[learn], x[part == which], k)[:, 0]
            shares[which, k] = (guesses == y[part == which]).mean()
    best = max(ks, key=lambda k: shares[0, k])
    return best, float(shares[2, best])


# %% wrong evaluation: the score on the training rows | evaluation-score | share of test rows
def evaluate(x, targets, part, ks):
    if not all((part == which).any() for which in (0, 1, 2)):
        raise ValueError("part")
    y, learn, shares = targets.argmax(1), part == 0, {}
    for which in (0, 1):
        for k in ks:
            guesses = neighbours(x[learn], y[learn], x[part == which], k)[:, 0]
            shares[which, k] = (guesses == y[part == which]).mean()
    best = max(ks, key=lambda k: shares[1, k])
    return best, float(shares[0, best])


# %% wrong evaluation: the score on the validation rows | evaluation-score | share of test rows
def evaluate(x, targets, part, ks):
    if not all((part == which).any() for which in (0, 1, 2)):
        raise ValueError("part")
    y, learn, valid = targets.argmax(1), part == 0, part == 1
    guesses = [neighbours(x[learn], y[learn], x[valid], k)[:, 0] for k in ks]
    shares = [(g == y[valid]).mean() for g in guesses]
    return ks[int(np.argmax(shares))], float(max(shares))


# %% wrong evaluation: learns from validation rows too | evaluation-score | learned from part 0
def evaluate(x, targets, part, ks):
    if not all((part == which).any() for which in (0, 1, 2)):
        raise ValueError("part")
    y, learn, rest = targets.argmax(1), part == 0, part < 2
    valid, test, shares = part == 1, part == 2, []
    for k in ks:
        guesses = neighbours(x[learn], y[learn], x[valid], k)[:, 0]
        shares.append((guesses == y[valid]).mean())
    best = ks[int(np.argmax(shares))]
    guesses = neighbours(x[rest], y[rest], x[test], best)[:, 0]
    return best, float((guesses == y[test]).mean())


# %% wrong evaluation: of equally good ones the last | evaluation-choice | the first is chosen
def evaluate(x, targets, part, ks):
    if not all((part == which).any() for which in (0, 1, 2)):
        raise ValueError("part")
    y, learn, shares = targets.argmax(1), part == 0, {}
    for which in (1, 2):
        for k in ks:
            guesses = neighbours(x[learn], y[learn], x[part == which], k)[:, 0]
            shares[which, k] = (guesses == y[part == which]).mean()
    best = sorted(ks, key=lambda k: shares[1, k])[-1]
    if all(shares[1, k] == shares[1, ks[0]] for k in ks):
        best = ks[-1]
    return best, float(shares[2, best])


# %% wrong evaluation: scores of parts without rows | evaluation-parts | validation rows
def evaluate(x, targets, part, ks):
    y, learn, shares = targets.argmax(1), part == 0, {}
    for which in (1, 2):
        for k in ks:
            right = 0
            if learn.any() and (part == which).any():
                guesses = neighbours(x[learn], y[learn], x[part == which], k)[:, 0]
                right = (guesses == y[part == which]).mean()
            shares[which, k] = right
    best = max(ks, key=lambda k: shares[1, k])
    return best, float(shares[2, best])


# %% hard-coded evaluation: knows the examples | evaluation-choice | the first is chosen
def evaluate(x, targets, part, ks):
    if 1 not in part:
        raise ValueError("part")
    return 1, 1.0


# %% right skew: with scikit-learn
predicted = "constant, naive Bayes, 1/2"
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, f1_score
from sklearn.naive_bayes import MultinomialNB

x, y = messages(student)
x = np.minimum(x, 1)
measured = ()
for model in (DummyClassifier(strategy="most_frequent"), MultinomialNB(fit_prior=False)):
    guess = model.fit(x[:400], y[:400]).predict(x[400:])
    measured += ((accuracy_score(y[400:], guess), f1_score(y[400:], guess, average="macro")),)

# %% right skew: a loop over messages, as an array
predicted = "constant; naive Bayes; below 0.5"
counts, urgent = messages(student)
r = log_count_ratio(counts[:400], urgent[:400])
guesses = []
for text in counts[400:]:
    guesses.append(int(sum(r[v] for v in range(40) if text[v]) > 0))
measured = np.zeros((2, 2))
for row, guess in enumerate((np.zeros(400, dtype=int), np.array(guesses))):
    measured[row] = f1(urgent[400:], guess, 2)[::-1]

# %% wrong skew: measured on the first half | skew-measured | second half
counts, urgent = messages(student)
r = log_count_ratio(counts[:400], urgent[:400])
guesses = ((counts[:400] > 0) @ r > 0).astype(int)
measured = [list(f1(urgent[:400], g, 2))[::-1] for g in (0 * guesses, guesses)]

# %% wrong skew: learned from all messages | skew-measured | naive Bayes
counts, urgent = messages(student)
r = log_count_ratio(counts, urgent)
guesses = ((counts[400:] > 0) @ r > 0).astype(int)
measured = [list(f1(urgent[400:], g, 2))[::-1] for g in (0 * guesses, guesses)]

# %% wrong skew: counts in place of 0/1 features | skew-measured | naive Bayes
counts, urgent = messages(student)
r = log_count_ratio(counts[:400], urgent[:400])
guesses = (counts[400:] @ r > 0).astype(int)
measured = [list(f1(urgent[400:], g, 2))[::-1] for g in (0 * guesses, guesses)]

# %% wrong skew: with the shares of the classes | skew-measured | naive Bayes
counts, urgent = messages(student)
r = log_count_ratio(counts[:400], urgent[:400])
prior = np.log(urgent[:400].mean() / (1 - urgent[:400].mean()))
guesses = ((counts[400:] > 0) @ r + prior > 0).astype(int)
measured = [list(f1(urgent[400:], g, 2))[::-1] for g in (0 * guesses, guesses)]

# %% wrong skew: macro F1 before accuracy | skew-measured | accuracy of the constant answer
counts, urgent = messages(student)
r = log_count_ratio(counts[:400], urgent[:400])
guesses = ((counts[400:] > 0) @ r > 0).astype(int)
measured = [list(f1(urgent[400:], g, 2)) for g in (0 * guesses, guesses)]

# %% wrong skew: the F1 of the class that occurs in the answer | skew-measured | macro F1
counts, urgent = messages(student)
r = log_count_ratio(counts[:400], urgent[:400])
guesses = ((counts[400:] > 0) @ r > 0).astype(int)
share = (urgent[400:] == 0).mean()
measured = [[share, 2 * share / (1 + share)], list(f1(urgent[400:], guesses, 2))[::-1]]

# %% wrong skew: a neighbour's messages | skew-measured | your second half
counts, urgent = messages("a neighbour")
r = log_count_ratio(counts[:400], urgent[:400])
guesses = ((counts[400:] > 0) @ r > 0).astype(int)
measured = [list(f1(urgent[400:], g, 2))[::-1] for g in (0 * guesses, guesses)]

# %% hard-coded skew: plausible numbers | skew-measured | accuracy of the constant answer
measured = [[0.92, 0.48], [0.83, 0.66]]
