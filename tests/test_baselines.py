"""Naive Bayes against scikit-learn; NB-SVM against its parts and its limits."""

import datasets
import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.svm import LinearSVC

from tutorial_lib.baselines import (
    NBSVM,
    NaiveBayes,
    bag_of_words,
    log_count_ratio,
    logistic_regression,
    lsa,
    nbsvm,
)
from tutorial_lib.baselines import counts as feature_counts


@pytest.fixture(scope="module")
def counts():
    """400 rows of 30 Poisson counts whose rates depend on one of three classes."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(1.0, 1.0, (3, 30))
    y = rng.integers(0, 3, 400)
    return scipy.sparse.csr_matrix(rng.poisson(rates[y]).astype(np.float32)), y


@pytest.mark.equation("eq-nb-likelihood")
def test_likelihoods_by_hand():
    x = scipy.sparse.csr_matrix(np.array([[2, 0], [1, 1], [0, 4]]))
    model = NaiveBayes(alpha=1.0).fit(x, np.array([0, 0, 1]))
    np.testing.assert_allclose(np.exp(model.log_likelihood), [[4 / 6, 2 / 6], [1 / 6, 5 / 6]])
    np.testing.assert_allclose(np.exp(model.log_prior), [2 / 3, 1 / 3])


@pytest.mark.equation("eq-bayes")
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_naive_bayes_is_scikit_learns(counts, alpha, binary):
    x, y = counts
    ours = NaiveBayes(alpha, binary).fit(x, y)
    seen = (x > 0).astype(float) if binary else x
    reference = MultinomialNB(alpha=alpha).fit(seen, y)
    np.testing.assert_allclose(ours.scores(x), reference.predict_joint_log_proba(seen), rtol=1e-5)
    np.testing.assert_array_equal(ours.predict(x), reference.predict(seen))


@pytest.mark.equation("eq-log-count-ratio")
def test_log_count_ratio_is_the_difference_of_naive_bayes_log_likelihoods(counts):
    x, y = counts
    positive = (y == 1).astype(float)
    reference = MultinomialNB(alpha=0.5).fit(x, positive).feature_log_prob_
    np.testing.assert_allclose(
        log_count_ratio(x, positive, alpha=0.5), reference[1] - reference[0], rtol=1e-5
    )


@pytest.mark.equation("eq-nbsvm")
@pytest.mark.parametrize("skew", [0.5, 0.1])
def test_the_two_ends_of_the_mixture_are_its_two_models(counts, skew):
    x, y = counts
    keep = (y == 0) | ((y == 1) & (np.random.default_rng(1).random(len(y)) < skew))
    x, y = x[keep], y[keep]
    seen = (x > 0).astype(float)
    bayes = MultinomialNB().fit(seen, y).predict(seen)
    end_0 = NBSVM(beta=0.0).fit(x, y)
    np.testing.assert_array_equal(end_0.predict(x), bayes)
    log_odds = np.subtract(*MultinomialNB().fit(seen, y).predict_joint_log_proba(seen).T[::-1])
    size = end_0.weights[0] / log_count_ratio(seen, y.astype(float))
    np.testing.assert_allclose(end_0.scores(x)[:, 1], size.mean() * log_odds, atol=1e-8)
    ratio = log_count_ratio(seen, y.astype(float))
    svm = LinearSVC(random_state=0, max_iter=10_000).fit(seen.multiply(ratio).tocsr(), y)
    end = NBSVM(beta=1.0).fit(x, y)
    np.testing.assert_allclose(end.scores(x)[:, 1], svm.decision_function(seen.multiply(ratio)))
    middle = NBSVM(beta=0.25).fit(x, y)
    naive = NBSVM(beta=0.0).fit(x, y)
    np.testing.assert_allclose(middle.weights, 0.75 * naive.weights + 0.25 * end.weights)
    np.testing.assert_allclose(middle.bias, 0.75 * naive.bias + 0.25 * end.bias)


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_nbsvm_smooths_its_ratios_as_it_is_told(counts, alpha):
    """At beta 0 the weights are scikit-learn's log-count ratios, all times one number."""
    x, y = counts[0][counts[1] < 2], counts[1][counts[1] < 2]
    negative, positive = MultinomialNB(alpha=alpha).fit(x > 0, y).feature_log_prob_
    size = NBSVM(beta=0.0, alpha=alpha).fit(x, y).weights[0] / (positive - negative)
    np.testing.assert_allclose(size, size[0], rtol=1e-6)


def test_the_solver_visits_the_texts_in_the_order_of_the_seed(counts):
    """Fewer texts than features: liblinear then solves the dual, text by text."""
    x, y = (counts[0][:20] > 0).astype(float), (counts[1][:20] > 0).astype(int)
    ratio = np.subtract(*MultinomialNB().fit(x, y).feature_log_prob_[::-1])
    weighted = x.multiply(ratio).tocsr()
    for seed in (0, 3):
        svm = LinearSVC(random_state=seed, max_iter=10_000).fit(weighted, y)
        scores = NBSVM(beta=1.0, seed=seed).fit(x, y).scores(x)[:, 1]
        np.testing.assert_allclose(scores, svm.decision_function(weighted), rtol=1e-9)


@pytest.mark.equation("eq-squared-hinge")
def test_the_svm_part_minimises_the_squared_hinge_objective(counts):
    x, y = counts
    positive = (y == 0).astype(float)
    seen = (x > 0).astype(float)
    weighted = seen.multiply(log_count_ratio(seen, positive)).toarray()
    model = NBSVM(c=0.3, beta=1.0).fit(x, (y != 0).astype(int))
    # Class 1 is "not 0" here: sign and ratios both flip, so the weights on features keep theirs.
    w = -model.weights[0] / log_count_ratio(seen, positive)
    b = -model.bias[0]

    def objective(w, b):
        margins = (2 * positive - 1) * (weighted @ w + b)
        # liblinear treats the intercept as one more weight, so it is penalised too
        return 0.5 * (w @ w + b * b) + 0.3 * (np.maximum(0, 1 - margins) ** 2).sum()

    best = objective(w, b)
    rng = np.random.default_rng(0)
    for size in (1e-1, 1e-2):
        for _ in range(50):
            step = rng.normal(size=31) * size
            assert objective(w + step[:-1], b + step[-1]) > best


def test_nbsvm_tells_three_classes_apart_one_against_the_rest(counts):
    x, y = counts
    model = NBSVM().fit(x, y)
    assert model.scores(x).shape == (400, 3)
    for c in range(3):
        alone = NBSVM().fit(x, (y == c).astype(int))
        np.testing.assert_allclose(model.scores(x)[:, c], alone.scores(x)[:, 1])


def test_binarised_features_ignore_repetition(counts):
    x, y = counts
    np.testing.assert_allclose(NBSVM().fit(x, y).scores(x), NBSVM().fit(3 * x, y).scores(3 * x))


def test_the_vocabulary_is_the_training_splits_alone():
    splits = {
        "train": datasets.Dataset.from_dict({"text": ["good film", "bad film"], "label": [1, 0]}),
        "test": datasets.Dataset.from_dict({"text": ["good unseen"], "label": [1]}),
    }
    words = bag_of_words((1, 1))
    x, y = feature_counts(splits, words)
    assert set(words.vocabulary_) == {"good", "bad", "film"}
    assert x["train"].shape == (2, 3) and x["test"].sum() == 1 and list(y["train"]) == [1, 0]
    with pytest.raises(ValueError, match="train"):
        feature_counts({"test": splits["test"]}, words)


def test_tokens_keep_apostrophes_and_punctuation_and_characters_are_for_chinese():
    words = bag_of_words((1, 1)).fit(["It doesn't work !"]).vocabulary_
    assert set(words) == {"it", "doesn't", "work", "!"}
    assert "很好" in bag_of_words((1, 2), characters=True).fit(["很好吃"]).vocabulary_


def test_a_bag_may_ask_only_whether_a_word_occurs_or_keep_the_most_frequent_ones():
    texts = ["so so so good", "good plot so far"]
    assert bag_of_words((1, 1)).fit_transform(texts).max() == 3
    assert bag_of_words((1, 1), binary=True).fit_transform(texts).max() == 1
    assert set(bag_of_words((1, 1), max_features=2).fit(texts).vocabulary_) == {"so", "good"}


@pytest.mark.parametrize("model", [NaiveBayes(), NBSVM()])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.eye(3), "not one-hot"),
        (np.array([0.0, 1.0, 1.0]), "integer"),
        (np.array([0, 1]), "3 texts, but 2 labels"),
        (np.array([0, 0, 0]), "at least two"),
        (np.array([1, 2, 2]), "every class 0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(model, labels, message):
    with pytest.raises(ValueError, match=message):
        model.fit(scipy.sparse.eye(3).tocsr(), labels)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="alpha"):
        NaiveBayes(alpha=0.0)
    with pytest.raises(ValueError, match="beta"):
        NBSVM(beta=1.5)


def test_texts_in_classes_out_is_the_model_on_words_and_pairs():
    texts, labels = ["good film", "bad film", "good plot", "bad plot"], np.array([1, 0, 1, 0])
    says, weights = nbsvm(texts, labels, ["good", "bad"], seed=1)
    assert says.tolist() == [1, 0]
    assert weights == 8  # 4 words and 4 pairs
    assert nbsvm([*texts, "dull"], np.array([1, 0, 1, 0, 2]), texts)[1] == 3 * 9


def test_lsa_knows_words_without_a_label_by_their_company_and_nbsvm_cannot():
    """Deerwester et al. 1990, section 1: a text may be near another that shares no word with it."""
    unlabelled = ["boat ship sea", "ship sea harbour", "boat harbour", "tree forest leaf"]
    unlabelled += ["forest leaf branch", "tree branch"]
    texts, labels = ["boat", "tree"], np.array([0, 1])
    asked = ["harbour", "branch", "sea ship", "the leaf"]
    assert lsa(unlabelled, texts, labels, asked, 2).tolist() == [0, 1, 0, 1]
    assert len(set(nbsvm(texts, labels, asked)[0])) == 1
    with pytest.raises(ValueError, match="n_components"):
        lsa(unlabelled, texts, labels, asked, 9)


def test_logistic_regression_takes_the_cost_that_validates_best():
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(n, 40)) for name, n in (("train", 60), ("validation", 2000))}
    y = {name: (f[:, 0] + rng.normal(size=len(f)) > 0).astype(int) for name, f in x.items()}
    costs = (1e3, 1e-2, 1.0)
    theirs = {c: LogisticRegression(C=c, max_iter=2000).fit(x["train"], y["train"]) for c in costs}
    scores = {c: model.score(x["validation"], y["validation"]) for c, model in theirs.items()}
    assert scores[1e-2] < scores[1e3] < scores[1.0]
    chosen = logistic_regression(x, y, costs)
    assert chosen.C == 1.0
    np.testing.assert_array_equal(chosen.coef_, theirs[chosen.C].coef_)


def test_nbsvm_normalises_what_it_reads_once():
    """An escaped bracket is a bracket; normalised twice, what it holds would be a tag and lost."""
    texts, spelt = ["&lt;good&gt; film", "&lt;bad&gt; film"], ["< good > film", "< bad > film"]
    labels = np.array([1, 0])
    says, weights = nbsvm(texts, labels, [*texts, *spelt])
    assert says.tolist() == [1, 0, 1, 0] and weights == nbsvm(spelt, labels, texts)[1]
