"""Chapter 03: the linear models that every network must beat.

Naive Bayes and NB-SVM are written out here; logistic regression, the linear SVM and decision
trees are scikit-learn's.

Shapes: N texts, C classes, V features; `x` is a SciPy sparse matrix of counts, [N, V].
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tutorial_lib.text import TOKEN, normalize

if TYPE_CHECKING:
    import datasets
    import scipy.sparse
    import sklearn.feature_extraction.text
    import sklearn.linear_model


def bag_of_words(
    ngrams: tuple[int, int] = (1, 2),
    *,
    binary: bool = False,
    characters: bool = False,
    max_features: int | None = None,
) -> "sklearn.feature_extraction.text.CountVectorizer":
    """Return the vectorizer that the book's linear baselines share: lower-cased n-gram counts.

    Args:
        ngrams: shortest and longest n-gram; words and punctuation marks count as tokens.
        binary: 1 for every feature that occurs, however often.
        characters: count n-grams of characters instead (within words, for English spam;
            set it for Chinese, which has no spaces).
        max_features: keep only the most frequent ones.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    how = {"analyzer": "char_wb"} if characters else {"token_pattern": TOKEN}
    return CountVectorizer(
        ngram_range=ngrams, binary=binary, max_features=max_features, dtype=np.float32, **how
    )


def counts(
    splits: Mapping[str, "datasets.Dataset"],
    vectorizer: "sklearn.feature_extraction.text.CountVectorizer",
) -> tuple[dict[str, "scipy.sparse.csr_matrix"], dict[str, np.ndarray]]:
    """Return features [N, V] and labels [N] of each split; the vocabulary is `train`'s alone.

    Raises:
        ValueError: there is no split `train`.
    """
    if "train" not in splits:
        raise ValueError(f"the vocabulary is built on the split train; got {sorted(splits)}")
    features = {"train": vectorizer.fit_transform(splits["train"]["text"])}
    features |= {n: vectorizer.transform(s["text"]) for n, s in splits.items() if n != "train"}
    return features, {name: np.array(split["label"]) for name, split in splits.items()}


class NaiveBayes:
    """Multinomial naive Bayes with additive smoothing.

    Args:
        alpha: the count that every feature gets in every class before the first text.
        binary: count a feature once a text, however often it occurs in it.

    Attributes:
        log_prior: log p(c), [C].
        log_likelihood: log p(feature | c), [C, V].

    Source: Manning, Raghavan and Schütze 2008, "Introduction to Information Retrieval",
    chapter 13.
    """

    def __init__(self, alpha: float = 1.0, binary: bool = False) -> None:
        if not alpha > 0:
            raise ValueError(
                f"alpha must be positive, or an unseen word rules a class out: {alpha}"
            )
        self.alpha, self.binary = alpha, binary

    def fit(self, x: "scipy.sparse.spmatrix", labels: np.ndarray) -> "NaiveBayes":
        """Count; there is nothing to optimise.

        Raises:
            ValueError: labels that are not class indices of at least two classes, one a row.

        Equation: eq-nb-likelihood
        """
        member = _membership(x, labels)  # [C, N]
        counts = member @ self._features(x) + self.alpha  # [C, V]
        self.log_prior = np.log(member.sum(1) / member.shape[1])
        self.log_likelihood = np.log(counts / counts.sum(1, keepdims=True))
        return self

    def scores(self, x: "scipy.sparse.spmatrix") -> np.ndarray:
        """Return log p(c) + log p(x | c), [N, C]: the posterior but for a constant a row.

        Equation: eq-bayes
        """
        return self._features(x) @ self.log_likelihood.T + self.log_prior

    def predict(self, x: "scipy.sparse.spmatrix") -> np.ndarray:
        """Return the most probable class of each row, [N]."""
        return self.scores(x).argmax(1)

    def _features(self, x):
        return _binarised(x) if self.binary else x.tocsr()


class NBSVM:
    """A linear SVM on features weighted by naive Bayes' log-count ratios.

    More than two classes are told apart one against the rest.

    Args:
        c: cost of a margin violation against the size of the weights.
        beta: 1 gives the SVM, 0 (with two classes) naive Bayes, between them the mixture.
        alpha: smoothing of the counts.
        seed: of the order in which the solver visits the texts.

    Attributes:
        weights: one row for each class against the rest (one row in all for two classes), with
            the ratios multiplied in, [C or 1, V]; `bias`: [C or 1].

    Source: Wang and Manning 2012, "Baselines and Bigrams", sections 2.1 to 2.3.
    """

    def __init__(
        self, c: float = 1.0, beta: float = 0.25, alpha: float = 1.0, seed: int = 0
    ) -> None:
        if not (c > 0 and alpha > 0 and 0 <= beta <= 1):
            raise ValueError(
                f"need c > 0, alpha > 0 and 0 <= beta <= 1; got c={c}, alpha={alpha}, beta={beta}"
            )
        self.c, self.beta, self.alpha, self.seed = c, beta, alpha, seed

    def fit(self, x: "scipy.sparse.spmatrix", labels: np.ndarray) -> "NBSVM":
        """Count, weight the features, train the SVM, mix.

        Raises:
            ValueError: labels that are not class indices of at least two classes, one a row.
        """
        member, x = _membership(x, labels), _binarised(x)
        rows = member[1:] if len(member) == 2 else member
        fitted = [self._fit_one(x, row) for row in rows]
        self.weights = np.stack([weights for weights, _ in fitted])
        self.bias = np.array([bias for _, bias in fitted])
        return self

    def _fit_one(self, x, positive: np.ndarray) -> tuple[np.ndarray, float]:
        """Return weights [V] and bias of one class against the rest.

        Equation: eq-squared-hinge, eq-nbsvm
        """
        from sklearn.svm import LinearSVC

        ratio = log_count_ratio(x, positive, self.alpha)
        svm = LinearSVC(C=self.c, random_state=self.seed, max_iter=10_000)
        svm.fit(x.multiply(ratio).tocsr(), positive)
        w, b = svm.coef_[0], svm.intercept_[0]
        # Naive Bayes, scaled to the mean size of the SVM's weights, has all weights equal and
        # the log prior ratio as bias. Both parts of each model are mixed: shrinking w alone
        # would leave the SVM's bias too large, which costs recall of a rare class.
        size = np.abs(w).mean()
        prior = np.log(positive.mean() / (1 - positive.mean()))
        mixed = (1 - self.beta) * size + self.beta * w
        return ratio * mixed, (1 - self.beta) * size * prior + self.beta * b

    def scores(self, x: "scipy.sparse.spmatrix") -> np.ndarray:
        """Return one score a class, [N, C]: larger is likelier, but these are no probabilities."""
        margin = _binarised(x) @ self.weights.T + self.bias
        return np.hstack([-margin, margin]) if margin.shape[1] == 1 else margin

    def predict(self, x: "scipy.sparse.spmatrix") -> np.ndarray:
        """Return the class with the largest score of each row, [N]."""
        return self.scores(x).argmax(1)


def nbsvm(
    texts: Sequence[str], labels: np.ndarray, asked: Sequence[str], seed: int = 0
) -> tuple[np.ndarray, int]:
    """Train NB-SVM on words and pairs of texts; return other texts' classes, and its weights.

    Args:
        texts, labels: to learn from.
        asked: texts to classify; these and the others are normalised here.
        seed: of the solver.

    Returns:
        A class for each text that is asked, [N], and the number of weights.
    """
    words = bag_of_words()
    model = NBSVM(seed=seed).fit(words.fit_transform(map(normalize, texts)), labels)
    return model.predict(words.transform(map(normalize, asked))), model.weights.size


def logistic_regression(
    x: Mapping[str, Any],
    y: Mapping[str, np.ndarray],
    costs: Sequence[float] = (0.01, 0.1, 1, 10, 100),
) -> "sklearn.linear_model.LogisticRegression":
    """Return logistic regression, fitted with the cost of errors that validates best.

    Args:
        x, y: features, [N V], and labels, [N], of the splits `train` and `validation`.
        costs: to choose from; of equally good ones the first is taken.
    """
    from sklearn.linear_model import LogisticRegression

    tried = [LogisticRegression(C=c, max_iter=2000).fit(x["train"], y["train"]) for c in costs]
    return max(tried, key=lambda model: model.score(x["validation"], y["validation"]))


def lsa(
    unlabelled: Iterable[str],
    texts: Iterable[str],
    labels: np.ndarray,
    asked: Iterable[str],
    size: int,
    seed: int = 0,
) -> np.ndarray:
    """Return the class, [N], that latent semantic analysis finds for each text that is asked.

    It learns from few labels and many texts without.

    The words that at least two of the texts have, without the commonest ones of English, are
    weighed by TF-IDF and cut to the directions in which texts differ most; each text then has
    length 1, and a logistic regression reads it.

    Args:
        unlabelled: texts that the directions are found in.
        texts, labels: to learn from.
        asked: texts to classify.
        size: number of directions.
        seed: of the decomposition.

    Raises:
        ValueError: more directions than words.

    Source: Deerwester et al. 1990, "Indexing by Latent Semantic Analysis".
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    words = TfidfVectorizer(min_df=2, stop_words="english")
    code = make_pipeline(words, TruncatedSVD(size, random_state=seed), Normalizer())
    code.fit(unlabelled)
    reader = LogisticRegression(max_iter=1000).fit(code.transform(texts), labels)
    return reader.predict(code.transform(asked))


def log_count_ratio(
    x: "scipy.sparse.spmatrix", positive: np.ndarray, alpha: float = 1.0
) -> np.ndarray:
    """Return how much likelier each feature is in the positive class, as a logarithm, [V].

    Args:
        positive: 1 for the rows of the class, 0 for all others, [N].

    Equation: eq-log-count-ratio
    """
    p = positive @ x + alpha  # [V]
    q = (1 - positive) @ x + alpha
    return np.log((p / p.sum()) / (q / q.sum()))


def _binarised(x):
    return (x > 0).astype(np.float64).tocsr()


def _membership(x, labels: np.ndarray) -> np.ndarray:
    """Return a row for each class, 1.0 where a text belongs to it, [C, N]."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError("labels are class indices: one integer a text, not one-hot rows")
    if len(labels) != x.shape[0]:
        raise ValueError(f"{x.shape[0]} texts, but {len(labels)} labels")
    present = np.unique(labels)
    if len(present) < 2 or not np.array_equal(present, np.arange(len(present))):
        raise ValueError(f"every class 0 … C - 1 must occur, and at least two; got {present}")
    return (labels == present[:, None]).astype(np.float64)
