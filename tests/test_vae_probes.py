"""Facts about what is measured of a code and of written sentences."""

import numpy as np
import pytest
import torch

from tutorial_lib import data, vae, vae_probes
from tutorial_lib.text import pad


def made(latent=1):
    torch.manual_seed(0)
    return vae.SentenceVAE(12, latent=latent, embedding=6, hidden=8, dropout=0.0).eval()


def test_a_decoder_that_ignores_its_code_has_the_likelihood_of_a_language_model():
    model, (ids, mask) = made(), pad([[3, 8, 5]])
    with torch.no_grad():
        model.decoder.begin.weight.zero_()
        model.decoder.layer.weight_ih_l0[:, 6:] = 0
        blind = model.decoder(ids, mask, torch.randn(1, 1)).item()
    assert vae_probes.exact_log_likelihood(model, ids, mask) == pytest.approx(blind, abs=1e-5)


@pytest.mark.equation("eq-elbo-gap")
def test_elbo_and_gap_add_up_to_the_likelihood():
    model, (ids, mask) = made().double(), pad([[3, 8, 5]])
    with torch.no_grad():
        model.decoder.begin.weight *= 5
        model.encoder.output.bias += torch.tensor([1.0, -0.5])
        mean, log_variance = model.posterior(ids, mask)
        # E_q by Gauss-Hermite quadrature: no grid, no samples.
        nodes, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(60))
        z = mean[0] + (log_variance[0] / 2).exp() * nodes[:, None]
        given = model.decoder(ids.expand(60, -1), mask.expand(60, -1), z)
        likelihood = (weights * given).sum() / weights.sum()
        elbo = (likelihood - vae.kl_to_prior(mean, log_variance).sum()).item()
    gap = vae_probes.posterior_gap(model, ids, mask)
    assert gap > 0.1
    assert elbo + gap == pytest.approx(vae_probes.exact_log_likelihood(model, ids, mask), abs=1e-4)


def test_a_posterior_beyond_the_grid_is_refused():
    model, (ids, mask) = made(), pad([[3, 8, 5]])
    with torch.no_grad():
        model.encoder.output.bias[0] = 9.5
    with pytest.raises(ValueError, match="holds 0.0.. of the posterior"):
        vae_probes.posterior_gap(model, ids, mask)


def test_dropout_is_off_on_the_grid_and_the_mode_kept():
    torch.manual_seed(0)
    model = vae.SentenceVAE(12, latent=1, embedding=6, hidden=8, dropout=0.5).train()
    ids, mask = pad([[3, 8, 5]])
    found = {vae_probes.exact_log_likelihood(model, ids, mask) for _ in range(3)}
    assert len(found) == 1
    assert model.training


def test_a_finer_grid_changes_nothing_and_more_dimensions_are_refused():
    model, (ids, mask) = made(), pad([[3, 8, 5]])
    rough, fine = (vae_probes.exact_log_likelihood(model, ids, mask, n) for n in (801, 8001))
    assert rough == pytest.approx(fine, abs=1e-4)
    with pytest.raises(ValueError, match="1 dimension, not 2"):
        vae_probes.exact_log_likelihood(made(2), ids, mask)


def test_swapping_codes_costs_what_the_likelihoods_differ_by():
    model, sentences = made(3), [[2, 3], [4, 5], [6, 7]]
    batches = data.batches([np.array(s) for s in sentences], token_budget=4, shuffle=True)
    ids, mask = pad(sentences)
    mean, _ = model.posterior(ids, mask)
    own = model.decoder(ids, mask, mean)
    # Three codes can be handed round in two ways, and no sentence keeps its own.
    ways = [(own - model.decoder(ids, mask, mean[p])).mean().item() for p in ([2, 0, 1], [1, 2, 0])]
    found = [vae_probes.swap_cost(model, batches, seed) for seed in range(8)]
    assert all(min(abs(cost - way) for way in ways) < 1e-5 for cost in found)
    assert max(found) - min(found) == pytest.approx(abs(ways[0] - ways[1]), abs=1e-5)
    with torch.no_grad():
        model.encoder.output.weight.zero_()  # every sentence has the same code
    assert vae_probes.swap_cost(model, batches) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="must be two sentences"):
        vae_probes.swap_cost(model, data.batches([np.array([2])], token_budget=8))


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_a_code_for_each_word_costs_what_each_words_state_would(spread):
    torch.manual_seed(0)
    model = vae.SentenceVAE(12, latent=3, embedding=6, hidden=8, spread=spread).eval()
    sentences, by_hand = [[2, 3, 4], [5], [6, 7, 8, 9, 10]], []
    with torch.no_grad():
        model.encoder.output.weight *= 3
        for sentence in sentences:  # each alone, so there is no padding
            states, _ = model.encoder.layer(model.encoder.embedding.weight[sentence][None])
            mean, raw = model.encoder.output(states[0]).chunk(2, -1)
            if spread:
                mean = spread * (mean - model.usual_mean) / (model.usual_variance + 1e-5).sqrt()
            q = torch.distributions.Normal(mean, (vae.bounded(raw) / 2).exp())
            prior = torch.distributions.Normal(0 * mean, torch.ones_like(mean))
            by_hand.append(torch.distributions.kl_divergence(q, prior).sum().item())
    batches = data.batches([np.array(s) for s in sentences], token_budget=20)
    found = vae_probes.cost_by_word(model, batches)
    assert found == pytest.approx(np.mean(by_hand), rel=1e-4)
    one = data.batches([np.array([k]) for k in range(2, 9)], token_budget=20)
    assert vae_probes.cost_by_word(model, one) == pytest.approx(vae.evaluate(model, one)["kl"])
    assert found > 2 * vae.evaluate(model, batches)["kl"]  # three words to a sentence


def test_copies_and_known_runs_are_counted():
    known = [np.array([2, 3, 4, 5]), np.array([6, 7, 8])]
    assert vae_probes.copied([[6, 7, 8]], known) == (1.0, 1.0)
    # [2,3,4] is known, [3,4,9] and [4,9,9] are not.
    assert vae_probes.copied([[2, 3, 4, 9, 9]], known) == (0.0, pytest.approx(1 / 3))
    assert vae_probes.copied([[6, 7, 8], [6, 7, 8], [2, 9, 9]], known)[0] == pytest.approx(2 / 3)
    assert vae_probes.copied([[2, 3], [9]], known) == (0.0, 0.0)  # too short for a run
    assert vae_probes.copied([[5, 6, 7]], known)[1] == 0.0  # no run goes over two sentences
    with pytest.raises(ValueError, match="no sentence"):
        vae_probes.copied([], known)


def test_the_nearest_sentence_shares_the_largest_part_of_its_words():
    known = [[2, 3, 4, 5, 6, 7], [2, 3], [9]]
    assert vae_probes.nearest([3, 2, 2], known) == 1
    assert vae_probes.nearest([2, 3, 4, 5], known) == 0
