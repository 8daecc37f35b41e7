"""Facts about Gaussian codes: densities, divergence, gradients, bounds, paths."""

import math

import numpy as np
import pytest
import scipy.spatial
import torch
from torch.distributions import Normal, kl_divergence

from tutorial_lib import gaussian

Z = 5


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def gaussians(rows=7):
    return torch.randn(rows, Z, dtype=torch.double), torch.randn(rows, Z, dtype=torch.double)


def standard(mean):
    return Normal(torch.zeros_like(mean), torch.ones_like(mean))


def within(estimates, expected, errors=4.5):
    """Whether the mean of estimates lies within so many of its standard errors of a value."""
    distance = (estimates.mean(0) - expected).abs()
    return bool((distance <= errors * estimates.std(0) / math.sqrt(len(estimates)) + 1e-12).all())


@pytest.mark.equation("eq-gaussian-density")
def test_density_is_torchs():
    mean, log_variance = gaussians()
    z = torch.randn_like(mean)
    expected = Normal(mean, (log_variance / 2).exp()).log_prob(z).sum(-1)
    torch.testing.assert_close(gaussian.log_density(z, mean, log_variance), expected)


@pytest.mark.equation("eq-kl-gaussian")
def test_divergence_is_torchs():
    mean, log_variance = gaussians()
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), standard(mean))
    torch.testing.assert_close(gaussian.kl_to_prior(mean, log_variance), expected)


def test_divergence_is_exact_where_the_code_has_almost_collapsed():
    # KL = s²/4 + O(s³) at log-variance s: in float32, 1 + s - exp(s) would leave nothing of it.
    small = torch.tensor([1e-3, -1e-4, 1e-5])
    found = gaussian.kl_to_prior(torch.zeros(3), small)
    torch.testing.assert_close(found, small**2 / 4, rtol=1e-2, atol=1e-13)


@pytest.mark.parametrize("log_variance", [-150.0, 85.0])
def test_densities_are_finite_far_from_zero(log_variance):
    log_variance = torch.full((3, 2), log_variance)
    at_mean = gaussian.log_density(torch.ones(3, 2), torch.ones(3, 2), log_variance)
    expected = -(log_variance[0, 0] + math.log(2 * math.pi))  # two dimensions
    torch.testing.assert_close(at_mean, expected.expand(3))
    assert gaussian.kl_by_sampling(torch.zeros(3, 2), log_variance, 5).isfinite().all()
    assert math.isfinite(gaussian.mutual_information(torch.randn(3, 2), log_variance))


def test_bounds_in_half_precision_keep_their_decimals():
    weights = torch.full((3, 2), -100.375, dtype=torch.bfloat16)
    found = gaussian.importance_weighted(weights)
    torch.testing.assert_close(found, weights[0].float())
    assert found.dtype == torch.float32


@pytest.mark.parametrize("log_variance", [-80.0, 80.0])
def test_divergence_is_finite_far_from_zero(log_variance):
    mean, log_variance = torch.zeros(1, 1), torch.full((1, 1), log_variance)
    exact = 0.5 * (math.exp(log_variance.item()) - 1 - log_variance.item())
    assert gaussian.kl_to_prior(mean, log_variance).item() == pytest.approx(exact, rel=1e-5)


@pytest.mark.equation("eq-kl-sampled")
def test_sampled_divergence_has_the_closed_form_as_its_mean():
    mean, log_variance = gaussians()
    found = gaussian.kl_by_sampling(mean, log_variance, 20_000)
    assert within(found, gaussian.kl_to_prior(mean, log_variance).sum(-1))


@pytest.mark.equation("eq-reparameterize")
def test_samples_have_the_mean_and_the_variance_asked_for():
    mean, log_variance = gaussians(1)
    z = gaussian.reparameterize(mean.expand(40_000, -1), log_variance.expand(40_000, -1))
    assert within(z, mean[0])
    assert within((z - mean) ** 2, log_variance[0].exp())


def test_a_sample_moves_with_its_mean_and_its_deviation():
    mean, log_variance = (t.requires_grad_() for t in gaussians())
    noise = torch.randn(7, Z, dtype=torch.double)
    assert torch.autograd.gradcheck(gaussian.reparameterize, (mean, log_variance, noise))


def square_from(a):
    return lambda z: ((z - a) ** 2).sum(-1)


@pytest.mark.equation("eq-path-gradient", "eq-score-gradient")
def test_both_gradients_have_the_exact_one_as_their_mean():
    # E (z - a)² = (m - a)² + v, whose gradient by m is 2 (m - a).
    (mean,), (log_variance,) = gaussians(1)
    a = torch.arange(Z, dtype=torch.double)
    for estimate in (gaussian.gradients_by_path, gaussian.gradients_by_score):
        found = estimate(square_from(a), mean, log_variance, 200_000)
        assert within(found, 2 * (mean - a)), estimate.__name__


def test_variances_of_the_two_gradients_are_those_on_paper():
    # In one dimension, with d = m - a: 4 v along the path, d⁴ / v + 14 d² + 15 v by the score.
    d, v = 1.5, 0.25
    mean, log_variance = torch.tensor([d], dtype=torch.double), torch.tensor([v]).double().log()
    f = square_from(torch.zeros(1, dtype=torch.double))
    path = gaussian.gradients_by_path(f, mean, log_variance, 400_000).var().item()
    score = gaussian.gradients_by_score(f, mean, log_variance, 400_000).var().item()
    assert path == pytest.approx(4 * v, rel=0.02)
    assert score == pytest.approx(d**4 / v + 14 * d**2 + 15 * v, rel=0.03)
    print(f"the score function's gradient varies {score / path:.0f} times as much")


def test_the_score_function_needs_no_gradient_of_f():
    def steps(z):
        return (z[:, 0] > 0).double()

    # P(z > 0) = Φ(m / s); its derivative by m is the normal density at 0.
    mean, log_variance = torch.tensor([0.4]).double(), torch.tensor([0.2]).double()
    found = gaussian.gradients_by_score(steps, mean, log_variance, 200_000)
    exact = Normal(mean, (log_variance / 2).exp()).log_prob(torch.zeros(1).double()).exp()
    assert within(found, exact)


class LinearGaussian:
    """z ~ N(0, 1), x | z ~ N(a z, s²): then x ~ N(0, a² + s²), known exactly."""

    a, s = 1.7, 0.6

    def log_likelihood(self, x):
        return Normal(torch.tensor(0.0), math.hypot(self.a, self.s)).log_prob(x)

    def posterior(self, x):
        variance = 1 / (1 + self.a**2 / self.s**2)
        return variance * self.a * x / self.s**2, torch.full_like(x, math.log(variance))

    def log_weights(self, x, mean, log_variance, samples):
        shape = (samples, len(x), 1)
        mean, log_variance = mean[:, None].expand(shape), log_variance[:, None].expand(shape)
        z = gaussian.reparameterize(mean, log_variance)
        zero = torch.zeros_like(z)
        given = Normal(self.a * z[..., 0], self.s).log_prob(x)
        prior = gaussian.log_density(z, zero, zero)
        return given + prior - gaussian.log_density(z, mean, log_variance)


@pytest.mark.equation("eq-importance-weighted")
def test_with_the_exact_posterior_one_sample_gives_the_exact_likelihood():
    model, x = LinearGaussian(), torch.tensor([-2.0, 0.1, 3.0])
    bound = gaussian.importance_weighted(model.log_weights(x, *model.posterior(x), 1))
    torch.testing.assert_close(bound, model.log_likelihood(x))


def test_the_bound_climbs_with_samples_from_the_elbo_to_the_likelihood():
    model, x = LinearGaussian(), torch.tensor([1.2])
    true_mean, true_log_variance = model.posterior(x)
    mean, log_variance = true_mean - 0.3, true_log_variance + 0.5
    weights = model.log_weights(x, mean, log_variance, 64 * 4000).view(64, 4000)
    bounds = torch.stack([gaussian.importance_weighted(weights[:k]) for k in (1, 2, 4, 16, 64)])
    elbo = model.log_likelihood(x) - kl_divergence(
        Normal(mean, (log_variance / 2).exp()),
        Normal(true_mean, (true_log_variance / 2).exp()),
    )
    assert within(bounds[0], elbo)
    assert (bounds.mean(1).diff() > 0).all()
    assert bounds[-1].mean().item() == pytest.approx(model.log_likelihood(x).item(), abs=0.01)
    assert (bounds.mean(1) < model.log_likelihood(x) + 0.003).all()


def test_a_bound_without_samples_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        gaussian.importance_weighted(torch.zeros(0, 3))


@pytest.mark.equation("eq-mutual-information")
def test_information_is_zero_without_a_code_and_log_n_with_a_perfect_one():
    zero = torch.zeros(100, Z)
    assert gaussian.mutual_information(zero, zero) == pytest.approx(0, abs=1e-5)
    apart = 100 * torch.randn(100, Z)
    assert gaussian.mutual_information(apart, zero - 3) == pytest.approx(math.log(100), abs=1e-4)


def test_information_is_that_of_a_gaussian_channel():
    # mean ~ N(0, s²), z = mean + N(0, v): I = ½ log(1 + s² / v).
    s, v = 0.8, 0.5
    mean, log_variance = s * torch.randn(4000, 1), torch.full((4000, 1), math.log(v))
    found = gaussian.mutual_information(mean, log_variance)
    assert found == pytest.approx(0.5 * math.log(1 + s**2 / v), abs=0.04)


def test_information_is_the_sum_written_out():
    mean, log_variance = torch.randn(6, Z).double(), torch.randn(6, Z).double()
    torch.manual_seed(1)
    z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
    posteriors = [Normal(m, (v / 2).exp()) for m, v in zip(mean, log_variance, strict=True)]
    each = torch.stack([q.log_prob(z).sum(-1) for q in posteriors], 1)  # [sample posterior]
    expected = (each.diagonal() - each.logsumexp(1) + math.log(6)).mean()
    torch.manual_seed(1)
    assert gaussian.mutual_information(mean, log_variance) == pytest.approx(expected.item())


@pytest.mark.equation("eq-active-units")
def test_dimensions_that_vary_over_sentences_are_active():
    mean = torch.randn(1000, 4) * torch.tensor([1.0, 0.2, 0.05, 0.0])  # variances 1, .04, .0025, 0
    assert gaussian.active_units(mean) == 2
    with pytest.raises(ValueError, match="at least two"):
        gaussian.active_units(mean[:1])


@pytest.mark.equation("eq-line", "eq-sphere")
def test_paths_begin_and_end_where_they_should():
    a, b = torch.randn(2, Z).double()
    for path in (gaussian.line(a, b, 7), gaussian.sphere(a, b, 7)):
        assert path.shape == (7, Z)
        torch.testing.assert_close(path[[0, -1]], torch.stack([a, b]))


def test_the_line_is_straight():
    a, b = torch.randn(2, Z).double()
    torch.testing.assert_close(
        gaussian.line(a, b, 6).diff(dim=0), ((b - a) / 5).expand(5, Z), rtol=1e-9, atol=1e-12
    )


def test_the_sphere_is_scipys():
    a, b = torch.nn.functional.normalize(torch.randn(2, Z).double(), dim=-1)
    expected = scipy.spatial.geometric_slerp(a.numpy(), b.numpy(), np.linspace(0, 1, 9))
    np.testing.assert_allclose(gaussian.sphere(a, b, 9).numpy(), expected, atol=1e-12)


def test_lengths_on_the_sphere_go_evenly_from_one_to_the_other():
    a, b = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    lengths = gaussian.sphere(a, b, 5).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.tensor([3.0, 2.5, 2.0, 1.5, 1.0]))
    middle = gaussian.line(a, -0.99 * a + torch.tensor([0.0, 0.1, 0.0]), 3)[1]
    assert middle.norm() < 0.1  # what a line between two far codes does: it passes the centre


def test_codes_that_are_almost_the_same_have_a_path():
    a = torch.randn(Z)
    path = gaussian.sphere(a, a * (1 + 1e-7), 4)
    torch.testing.assert_close(path, a.expand(4, Z))


def test_a_path_to_the_same_code_stays_there_and_needs_two_ends():
    a = torch.randn(Z)
    torch.testing.assert_close(gaussian.sphere(a, a, 4), a.expand(4, Z))
    for path in (gaussian.line, gaussian.sphere):
        with pytest.raises(ValueError, match="2 or more"):
            path(a, -a + 1, 1)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([0.0, 0.0], [1.0, 0.0], "no direction"),
        ([1.0, 0.0], [0.0, 0.0], "no direction"),
        ([1.0, 0.0], [-2.0, 0.0], "opposite"),
    ],
)
def test_codes_without_a_circle_between_them_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        gaussian.sphere(torch.tensor(a), torch.tensor(b), 3)
