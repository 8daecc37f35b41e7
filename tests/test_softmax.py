"""Facts about softmax and cross-entropy: closed forms, torch, SciPy, scikit-learn."""

import math

import numpy as np
import pytest
import scipy.sparse
import scipy.special
import scipy.stats
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from tutorial_lib import softmax as sm


@pytest.fixture
def logits():
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3


LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 2])


@pytest.mark.equation("eq-softmax")
def test_softmax_is_torchs_and_a_distribution(logits):
    p = sm.softmax(logits)
    torch.testing.assert_close(p, F.softmax(logits, -1))
    torch.testing.assert_close(p.sum(-1), torch.ones(7, dtype=torch.float64))
    assert (p > 0).all()


@pytest.mark.equation("eq-shift")
def test_adding_a_number_to_every_logit_changes_nothing(logits):
    for shift in (-1e4, 3.0, 1e4):
        torch.testing.assert_close(sm.softmax(logits + shift), sm.softmax(logits))


@pytest.mark.equation("eq-temperature")
def test_temperature_limits(logits):
    hottest = sm.softmax(logits, temperature=1e8)
    torch.testing.assert_close(hottest, torch.full_like(hottest, 1 / 5), atol=1e-6, rtol=0)
    coldest = sm.softmax(logits, temperature=1e-8)
    torch.testing.assert_close(coldest, F.one_hot(logits.argmax(-1), 5).double())
    torch.testing.assert_close(sm.softmax(logits, 2.5), F.softmax(logits / 2.5, -1))


def test_an_infinite_temperature_makes_possible_classes_equal():
    hottest = sm.softmax(torch.tensor([1.0, 2.0, -torch.inf]), math.inf)
    assert hottest.tolist() == [0.5, 0.5, 0]


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e-46, math.nan])
def test_a_temperature_must_be_positive(logits, temperature):
    with pytest.raises(ValueError, match="positive"):
        sm.softmax(logits, temperature)


@pytest.mark.equation("eq-logsumexp")
def test_logsumexp_is_scipys(logits):
    expected = scipy.special.logsumexp(logits.numpy(), axis=-1)
    np.testing.assert_allclose(sm.logsumexp(logits).numpy(), expected)


@pytest.mark.equation("eq-log-softmax")
def test_log_softmax_is_torchs(logits):
    torch.testing.assert_close(sm.log_softmax(logits), F.log_softmax(logits, -1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_extreme_logits_stay_finite_in_every_precision(dtype):
    z = torch.tensor([[6e4, 0.0, -6e4], [-6e4, -6e4, -6e4], [6e4, 6e4, 0.0]], dtype=dtype)
    expected = torch.tensor([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]], dtype=dtype)
    torch.testing.assert_close(sm.softmax(z), expected)
    loss = sm.cross_entropy(z, torch.tensor([0, 1, 1]))
    assert loss.dtype == dtype
    torch.testing.assert_close(
        loss.double().item(), (math.log(3) + math.log(2)) / 3, rtol=0.02, atol=0
    )


def test_seventy_thousand_classes_do_not_overflow_half_precision():
    z = torch.zeros(1, 70_000, dtype=torch.float16)
    torch.testing.assert_close(sm.softmax(z), torch.softmax(z, -1))
    assert sm.softmax(z).float().sum().item() == pytest.approx(1, abs=0.01)
    assert sm.logsumexp(z).item() == pytest.approx(math.log(70_000), abs=0.01)


def test_an_impossible_class_has_probability_zero_and_no_nan():
    z = torch.tensor([[0.0, -math.inf, 0.0]], requires_grad=True)
    torch.testing.assert_close(sm.softmax(z), torch.tensor([[0.5, 0.0, 0.5]]))
    loss = sm.cross_entropy(z, torch.tensor([0]))
    loss.backward()
    torch.testing.assert_close(loss.item(), math.log(2))
    torch.testing.assert_close(z.grad, torch.tensor([[-0.5, 0.0, 0.5]]))


def test_a_row_without_any_possible_class_gives_zeros():
    z = torch.full((1, 3), -math.inf)
    assert sm.softmax(z).eq(0).all()
    assert sm.logsumexp(z).item() == -math.inf


@pytest.mark.equation("eq-entropy")
def test_entropy_is_scipys_and_has_its_known_ends(logits):
    p = sm.softmax(logits)
    np.testing.assert_allclose(sm.entropy(p).numpy(), scipy.stats.entropy(p.numpy(), axis=-1))
    assert sm.entropy(torch.tensor([1.0, 0.0])).item() == 0
    torch.testing.assert_close(sm.entropy(torch.full((4,), 0.25)).item(), math.log(4))


@pytest.mark.equation("eq-likelihood")
def test_cross_entropy_is_the_mean_negative_log_likelihood(logits):
    picked = sm.softmax(logits)[torch.arange(7), LABELS]  # the probability given to each true class
    torch.testing.assert_close(sm.cross_entropy(logits, LABELS), -picked.prod().log() / 7)


@pytest.mark.equation("eq-cross-entropy")
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
def test_cross_entropy_is_torchs(logits, epsilon):
    torch.testing.assert_close(
        sm.cross_entropy(logits, LABELS, epsilon),
        F.cross_entropy(logits, LABELS, label_smoothing=epsilon),
    )
    soft = sm.softmax(logits.flip(0))
    torch.testing.assert_close(
        sm.cross_entropy(logits, soft, epsilon),
        F.cross_entropy(logits, soft, label_smoothing=epsilon),
    )


def test_cross_entropy_is_entropy_plus_a_divergence_that_is_never_negative(logits):
    y, p = sm.softmax(logits.flip(0)), sm.softmax(logits)
    divergence = torch.distributions.kl_divergence(
        torch.distributions.Categorical(y), torch.distributions.Categorical(p)
    )
    torch.testing.assert_close(sm.cross_entropy(logits, y), (sm.entropy(y) + divergence).mean())
    assert (divergence >= 0).all()


@pytest.mark.equation("eq-gradient")
@pytest.mark.parametrize("epsilon", [0.0, 0.2])
def test_gradient_by_finite_differences_and_by_autograd(logits, epsilon):
    by_hand = sm.cross_entropy_gradient(logits, LABELS, epsilon)
    h, differences = 1e-5, torch.empty_like(logits)
    for n in range(7):
        for c in range(5):
            step = torch.zeros_like(logits)
            step[n, c] = h
            up, down = (sm.cross_entropy(logits + s, LABELS, epsilon) for s in (step, -step))
            differences[n, c] = (up - down) / (2 * h)
    torch.testing.assert_close(by_hand, differences, rtol=1e-6, atol=1e-9)
    leaf = logits.clone().requires_grad_()
    F.cross_entropy(leaf, LABELS, label_smoothing=epsilon).backward()
    torch.testing.assert_close(by_hand, leaf.grad)
    leaf = torch.zeros_like(logits).requires_grad_()  # all tied: the first step of training
    sm.cross_entropy(leaf, LABELS, epsilon).backward()
    torch.testing.assert_close(leaf.grad, sm.cross_entropy_gradient(leaf.detach(), LABELS, epsilon))
    torch.testing.assert_close(by_hand.sum(-1), torch.zeros(7, dtype=torch.float64))


@pytest.mark.equation("eq-sigmoid")
def test_sigmoid_is_torchs(logits):
    z = torch.cat([logits.flatten(), torch.tensor([-800.0, 800.0])])
    torch.testing.assert_close(sm.sigmoid(z), torch.sigmoid(z))


@pytest.mark.equation("eq-binary-cross-entropy")
def test_binary_cross_entropy_is_torchs_and_the_two_class_case():
    z = torch.tensor([-800.0, -3.0, 0.0, 0.5, 800.0])
    y = torch.tensor([0.0, 1.0, 0.3, 0.0, 1.0])
    ours = sm.binary_cross_entropy(z, y)
    torch.testing.assert_close(ours, F.binary_cross_entropy_with_logits(z, y))
    leaves = [z.clone().requires_grad_() for _ in range(2)]
    sm.binary_cross_entropy(leaves[0], y).backward()
    F.binary_cross_entropy_with_logits(leaves[1], y).backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)  # at z = 0 too
    two = torch.stack([torch.zeros(5), z], -1)
    torch.testing.assert_close(ours, sm.cross_entropy(two, torch.stack([1 - y, y], -1)))


@pytest.mark.equation("eq-label-smoothing")
def test_smoothing_moves_a_share_to_the_uniform_distribution():
    y = sm.smooth(sm.one_hot(torch.tensor([2]), 4), 0.2)
    torch.testing.assert_close(y, torch.tensor([[0.05, 0.05, 0.85, 0.05]]))
    for epsilon in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            sm.smooth(y, epsilon)


def test_one_hot_is_torchs():
    torch.testing.assert_close(sm.one_hot(LABELS, 5), F.one_hot(LABELS, 5).float())


@pytest.fixture(scope="module")
def problem():
    """Three overlapping classes in four dimensions, the same on every machine."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = rng.normal(size=(300, 4)) + np.eye(4)[y]
    return torch.tensor(x), torch.tensor(y)


@pytest.mark.equation("eq-logits")
def test_softmax_regression_is_a_linear_layer(problem):
    x, _ = problem
    model, linear = sm.SoftmaxRegression(4, 3).double(), torch.nn.Linear(4, 3).double()
    with torch.no_grad():
        model.weight.copy_(linear.weight.T)
        model.bias.copy_(linear.bias)
    torch.testing.assert_close(model(x), linear(x))
    torch.testing.assert_close(model(x.to_sparse()), linear(x))


def test_a_sparse_matrix_becomes_the_same_tensor():
    dense = np.array([[0, 2.5, 0], [1, 0, 0]], np.float32)
    tensor = sm.sparse_tensor(scipy.sparse.csr_matrix(dense))
    assert tensor.is_sparse
    np.testing.assert_array_equal(tensor.to_dense().numpy(), dense)


@pytest.mark.equation("eq-weight-gradient")
@pytest.mark.parametrize("sparse", [False, True])
def test_one_step_is_autograds(problem, sparse):
    x, y = problem
    by_hand, auto = (sm.SoftmaxRegression(4, 3).double() for _ in range(2))
    with torch.no_grad():
        for model in (by_hand, auto):
            model.weight.copy_(torch.arange(12, dtype=torch.float64).reshape(4, 3) / 10)
    sm.gradient_descent(
        by_hand, x.to_sparse() if sparse else x, y, steps=1, lr=0.5, weight_decay=0.1
    )
    loss = F.cross_entropy(auto(x), y) + 0.1 / 2 * (auto.weight**2).sum()
    loss.backward()
    torch.optim.SGD(auto.parameters(), lr=0.5).step()
    torch.testing.assert_close(by_hand.weight, auto.weight)
    torch.testing.assert_close(by_hand.bias, auto.bias)


@pytest.mark.equation("eq-step")
def test_gradient_descent_reaches_scikit_learns_optimum(problem):
    x, y = problem
    model, decay = sm.SoftmaxRegression(4, 3).double(), 0.01
    losses = sm.gradient_descent(model, x, y, steps=3000, lr=0.5, weight_decay=decay)
    reference = LogisticRegression(C=1 / (decay * len(y)), tol=1e-10, max_iter=10_000)
    reference.fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(model.weight.detach().numpy(), reference.coef_.T, atol=1e-5)
    torch.testing.assert_close(losses[0], math.log(3))  # all weights 0: every class equally likely
    assert all(after <= before + 1e-12 for before, after in zip(losses, losses[1:], strict=False))


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (torch.tensor([1, 2, 3]), ValueError, "subtract 1"),
        (torch.tensor([-1, 0, 1]), ValueError, "from 0 to 2"),
        (torch.tensor([0.0, 1.0, 2.0]), TypeError, "int64"),
        (torch.tensor([0, 1]), ValueError, "3 rows of logits, but 2 labels"),
        (torch.zeros(3, 3, dtype=torch.int64), TypeError, "floating point"),
        (torch.zeros(3, 2), ValueError, r"\[3, 3\]"),
        (torch.full((3, 3), 0.5), ValueError, "sums to 1"),
        (torch.tensor([[-1.0, 2.0, 0.0]] * 3), ValueError, "non-negative"),
        (torch.full((3, 3), math.nan), ValueError, "sums to 1"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets, error, message):
    with pytest.raises(error, match=message):
        sm.cross_entropy(torch.zeros(3, 3), targets)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="empty"):
        sm.cross_entropy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="empty"):
        sm.binary_cross_entropy(torch.zeros(0), torch.zeros(0))


def test_a_binary_target_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        sm.binary_cross_entropy(torch.zeros(2), torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="between 0 and 1"):
        sm.binary_cross_entropy(torch.zeros(1), torch.tensor([math.nan]))
