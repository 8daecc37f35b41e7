"""Facts about the sentence VAE: its bound, its gradient, its recipes, its training."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutorial_lib import data, vae
from tutorial_lib.text import pad
from tutorial_lib.training import TrainConfig

V, Z = 12, 3
SENTENCES = [[2, 3, 4], [5, 6], [7, 8, 9, 10, 11], [2]]


def made(latent=Z, vocabulary=V, **options):
    torch.manual_seed(0)
    return vae.SentenceVAE(vocabulary, latent=latent, embedding=6, hidden=8, **options).eval()


def batches(sentences, **options):
    return data.batches([np.array(s) for s in sentences], token_budget=64, **options)


@pytest.mark.equation("eq-elbo")
def test_the_bound_is_the_likelihood_at_the_sample_minus_the_divergence():
    model, (ids, mask) = made(), pad(SENTENCES)
    noise = torch.randn(4, Z)
    mean, log_variance = model.posterior(ids, mask)
    z = mean + (log_variance / 2).exp() * noise
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    p = torch.distributions.Normal(torch.zeros(Z), torch.ones(Z))
    expected = model.decoder(ids, mask, z) - torch.distributions.kl_divergence(q, p).sum(-1)
    torch.testing.assert_close(vae.elbo(model(ids, mask, noise=noise)), expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, V - 1), max_size=9), min_size=1, max_size=5))
def test_neighbours_and_padding_do_not_change_a_bound(sentences):
    model, noise = made(), torch.randn(len(sentences) + 1, Z)
    ids, mask = pad([*sentences, [5] * 12])
    ids = ids.masked_fill(~mask, 4)  # whatever stands there
    together = vae.elbo(model(ids, mask, noise=noise))[:-1]
    alone = [
        vae.elbo(model(*pad([s]), noise=noise[row : row + 1]))[0] for row, s in enumerate(sentences)
    ]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-4)


def test_an_empty_sentence_and_ten_thousand_words_have_finite_bounds():
    model = made()
    assert vae.elbo(model(torch.zeros(1, 1).long(), torch.zeros(1, 1) > 0)).isfinite().all()
    ids = torch.randint(2, V, (1, 10_000))
    assert vae.elbo(model(ids, torch.ones_like(ids) > 0)).isfinite().all()


@pytest.mark.equation("eq-posterior")
@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_no_log_variance_is_so_far_from_zero_that_a_term_or_gradient_is_not_finite(scale):
    model, (ids, mask) = made(), pad(SENTENCES)
    with torch.no_grad():
        model.encoder.output.weight[Z:] *= scale
    terms = model(ids, mask)
    vae.objective(terms).backward()
    assert all(t.isfinite().all() for t in terms)
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert model.posterior(ids, mask)[1].abs().max() <= vae.WIDEST


@pytest.mark.equation("eq-spread")
@pytest.mark.parametrize("spread", [0.4, 1.0])
def test_a_spread_of_the_means_is_a_price_that_no_training_can_avoid(spread):
    model, (ids, mask) = made(spread=spread).train(), pad(SENTENCES)
    with torch.no_grad():  # means that differ by far more than batch normalisation's 1e-5
        model.encoder.output.weight[:Z] *= 30
    mean, log_variance = model.posterior(ids, mask)
    torch.testing.assert_close(mean.mean(0), torch.zeros(Z), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        mean.std(0, correction=0), torch.full((Z,), spread), rtol=1e-2, atol=0
    )
    kl = vae.kl_to_prior(mean, log_variance).mean(0)
    assert (kl >= 0.98 * spread**2 / 2).all()
    cheapest = vae.kl_to_prior(mean, torch.zeros_like(mean)).mean(0)
    torch.testing.assert_close(cheapest, torch.full((Z,), spread**2 / 2), rtol=1e-2, atol=0)


def test_with_a_spread_neighbours_count_in_training_only():
    model, (ids, mask) = made(spread=0.5).train(), pad(SENTENCES)
    with torch.no_grad():
        model.encoder.output.weight[:Z] *= 30
    for _ in range(50):
        model.posterior(ids, mask)
    one = [t[:1] for t in pad(SENTENCES[:1])]
    model.posterior(*one)  # a batch of one sentence has no deviation to divide by
    together, alone = (m.eval().posterior(*b)[0] for m, b in ((model, (ids, mask)), (model, one)))
    torch.testing.assert_close(together[:1], alone)
    assert together.std(0, correction=0).mean().item() == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize("spread", [-1.0, math.nan, math.inf])
def test_a_spread_that_cannot_be_is_refused(spread):
    with pytest.raises(ValueError, match="spread is a standard deviation"):
        made(spread=spread)


def test_gradient_of_the_bound_is_that_of_finite_differences():
    model, (ids, mask), noise = made().double(), pad(SENTENCES), torch.randn(4, Z).double()

    def loss():
        return vae.objective(model(ids, mask, noise=noise))

    loss().backward()
    for name, weight in model.named_parameters():
        place, flat, step = weight.grad.abs().argmax().item(), weight.data.view(-1), 1e-5
        around = []
        for move in (step, -2 * step):
            flat[place] += move
            around.append(loss().item())
        flat[place] += step
        expected = (around[0] - around[1]) / (2 * step)
        assert weight.grad.view(-1)[place].item() == pytest.approx(expected, rel=1e-5), name


def test_both_estimators_agree_on_the_gradient_by_the_posterior_mean():
    model, (ids, mask) = made().double(), pad(SENTENCES[:1])
    with torch.no_grad():
        model.decoder.begin.weight *= 5  # a decoder that depends on its code
        (mean,), (log_variance,) = model.posterior(ids, mask)

    def log_likelihood(z):
        return model.decoder(ids.expand(len(z), -1), mask.expand(len(z), -1), z)

    path = vae.gradients_by_path(log_likelihood, mean, log_variance, 20_000)
    score = vae.gradients_by_score(log_likelihood, mean, log_variance, 20_000)
    error = ((path.var(0) + score.var(0)) / 20_000).sqrt()
    assert ((path.mean(0) - score.mean(0)).abs() < 4.5 * error).all()
    ratio = score.var(0) / path.var(0)
    print("variance by the score function over that along the path:", ratio.tolist())
    assert (ratio > 10).all()


def exact_log_likelihood(model, ids, mask):
    """By adding up p(x | z) p(z) over a fine grid of codes of one dimension."""
    grid = torch.linspace(-8, 8, 4001)[:, None]
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(grid[:, 0])
    with torch.no_grad():
        given = model.decoder(ids.expand(len(grid), -1), mask.expand(len(grid), -1), grid)
    return torch.logsumexp(given + prior, 0) + math.log(16 / 4000)


@pytest.mark.equation("eq-log-weight")
def test_the_weighted_bound_climbs_from_the_elbo_to_the_exact_likelihood():
    model, (ids, mask) = made(latent=1), pad([[3, 8, 5]])
    with torch.no_grad():
        for weight in (model.decoder.begin.weight, model.decoder.output.weight):
            weight *= 3
        model.encoder.output.bias += torch.tensor(
            [1.0, -0.5]
        )  # a posterior that is not the true one
    exact = exact_log_likelihood(model, ids, mask).item()
    many = ids.expand(500, -1), mask.expand(500, -1)
    with torch.no_grad():
        bounds = vae.elbo(model(*many))
        weights = model.log_weights(*many, 50)
    means = [vae.importance_weighted(weights[:k]).mean().item() for k in (1, 5, 50)]
    print("ELBO, with 1, 5, 50 samples, exact:", bounds.mean().item(), *means, exact)
    assert bounds.mean().item() == pytest.approx(means[0], abs=0.15)
    assert means[0] < means[1] < means[2] < exact + 0.01
    assert means[2] == pytest.approx(exact, abs=0.1)
    assert exact - means[0] > 0.2  # so there was something to climb


@pytest.mark.equation("eq-objective", "eq-free-bits")
def test_objective_weighs_and_forgives_the_divergence():
    kl = torch.tensor([[0.1, 2.0], [0.3, 4.0]])  # means 0.2 and 3
    terms = vae.Terms(torch.tensor([-10.0, -20.0]), kl)
    assert vae.objective(terms).item() == pytest.approx(15 + 3.2)
    assert vae.objective(terms).item() == pytest.approx(-vae.elbo(terms).mean().item())
    assert vae.objective(terms, 0.5).item() == pytest.approx(15 + 1.6)
    assert vae.objective(terms, 1.0, 0.5).item() == pytest.approx(15 + 3.5)
    kl.requires_grad_()
    vae.objective(vae.Terms(torch.zeros(2), kl), 1.0, 0.5).backward()
    torch.testing.assert_close(kl.grad, torch.tensor([[0.0, 0.5], [0.0, 0.5]]))
    # What is free is free on the average of the sentences, and before the weight.
    terms = vae.Terms(torch.zeros(2), torch.tensor([[0.1], [0.7]]))
    assert vae.objective(terms, 1.0, 0.5).item() == pytest.approx(0.5)
    assert vae.objective(terms, 0.5, 0.5).item() == pytest.approx(0.25)


@pytest.mark.equation("eq-linear-weight", "eq-cyclical-weight")
def test_schedules_of_the_weight():
    assert [vae.linear(step, 10) for step in (0, 5, 10, 99)] == [0, 0.5, 1, 1]
    assert vae.linear(0, 0) == 1
    with pytest.raises(ValueError, match="need 8 steps"):
        vae.cyclical(0, 7)
    # Four cycles of 100 steps: up in 50, then 1 for 50.
    found = [vae.cyclical(step, 400) for step in (0, 25, 50, 99, 100, 125, 399, 400, 1000)]
    assert found == pytest.approx([0, 0.5, 1, 1, 0, 0.5, 1, 1, 1])
    recipe = vae.Recipe("linear", share=0.2)
    assert [recipe.weight(step, 100) for step in (0, 10, 20, 90)] == [0, 0.5, 1, 1]
    assert vae.Recipe().weight(0, 100) == 1
    recipe = vae.Recipe("cyclical", share=0.8)
    assert [recipe.weight(step, 500) for step in (0, 25, 50, 100, 399, 450)] == [0, 0.5, 1, 0, 1, 1]
    assert [vae.cyclical(step, 8) for step in range(4)] == [0, 1, 0, 1]  # the shortest cycles


def test_the_aggressive_part_gives_the_decoder_one_step_in_so_many():
    recipe = vae.Recipe(aggressive=0.5, encoder_steps=4)
    turns = [recipe.learners(step, 40) for step in range(40)]
    assert turns[:5] == [(True, False)] * 4 + [(False, True)]
    assert sum(decoder for _, decoder in turns[:20]) == 4
    assert turns[20:] == [(True, True)] * 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "cosine"}, "constant, linear or cyclical"),
        ({"share": 1.5}, "between 0 and 1"),
        ({"word_dropout": -0.1}, "between 0 and 1"),
        ({"share": math.nan}, "between 0 and 1"),
        ({"word_dropout": math.nan}, "between 0 and 1"),
        ({"aggressive": math.nan}, "between 0 and 1"),
        ({"free_bits": -1.0}, "free_bits is finite, 0 or more"),
        ({"free_bits": math.nan}, "free_bits is finite, 0 or more"),
        ({"free_bits": math.inf}, "free_bits is finite, 0 or more"),
        ({"aggressive": 0.5, "encoder_steps": 0}, "encoder_steps is 1 or more"),
    ],
)
def test_recipes_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        vae.Recipe(**options)


def trained(recipe=None, sentences=SENTENCES * 8, epochs=1, lr=1e-2, **options):
    model = made(dropout=0.0, **options)
    config = TrainConfig(epochs, lr, precision="no")
    history = vae.fit(
        model, batches(sentences), batches(sentences, shuffle=False), config, recipe,
        progress=False,
    )  # fmt: skip
    return model.cpu(), history


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_fit_follows_its_recipe_update_by_update(monkeypatch, accumulate):
    model, weights, learned, dropped = made(), [], [], []
    forward, objective = model.forward, vae.objective

    def seen(ids, mask, word_dropout=0.0, noise=None):
        if model.training:
            parts = model.encoder, model.decoder
            learned.append(tuple(next(p.parameters()).requires_grad for p in parts))
            dropped.append(word_dropout)
        return forward(ids, mask, word_dropout, noise)

    def weighed(terms, weight, free_bits):
        weights.append((weight, free_bits))
        return objective(terms, weight, free_bits)

    monkeypatch.setattr(model, "forward", seen)
    monkeypatch.setattr(vae, "objective", weighed)
    there = data.batches([np.array([2, 3])] * 40, token_budget=2)  # 40 batches
    config = TrainConfig(1, accumulate=accumulate, precision="no")
    recipe = vae.Recipe("linear", 0.5, 0.1, 0.3, aggressive=0.5, encoder_steps=4)
    vae.fit(model, there, batches(SENTENCES, shuffle=False), config, recipe, progress=False)
    steps = 40 // accumulate
    expected = [min(1.0, 2 * (k // accumulate) / steps) for k in range(40)]
    assert weights == [(pytest.approx(weight), 0.1) for weight in expected]
    assert learned == [recipe.learners(k // accumulate, steps) for k in range(40)]
    assert set(dropped) == {0.3}


@pytest.mark.parametrize(
    ("count", "accumulate", "updates"),
    [(8, 1, range(16)), (5, 2, (0, 0, 1, 1, 2, 3, 3, 4, 4, 5))],  # 5 batches make 3 updates
)
def test_a_schedule_goes_over_the_updates_of_all_epochs(monkeypatch, count, accumulate, updates):
    weights, objective = [], vae.objective
    monkeypatch.setattr(vae, "objective", lambda t, w, f: weights.append(w) or objective(t, w, f))
    there = data.batches([np.array([2, 3])] * count, token_budget=2)
    config = TrainConfig(2, accumulate=accumulate, precision="no")
    recipe = vae.Recipe("linear", 1.0)
    vae.fit(made(), there, batches(SENTENCES), config, recipe, progress=False)
    assert weights == pytest.approx([k / (max(updates) + 1) for k in updates])


def test_a_fit_is_judged_by_its_bound_on_the_validation_sentences(monkeypatch):
    model, held = made(dropout=0.0, deterministic=True), batches([[9] * 5] * 3)
    config = TrainConfig(1, precision="no")
    history = vae.fit(model, batches(SENTENCES * 8), held, config, progress=False)
    assert history.validation["loss"] == pytest.approx([vae.evaluate(model, held)["loss"]])
    # Of three epochs the second has the best bound, the last the best reconstruction.
    scores = iter([{"loss": a, "reconstruction": b} for a, b in ((3, 3), (1, 2), (2, 1))])
    monkeypatch.setattr(vae, "evaluate", lambda *_: next(scores))
    config = TrainConfig(3, precision="no", monitor="min reconstruction")
    assert vae.fit(made(), held, held, config, progress=False).best_epoch == 1


def test_word_dropout_hides_words_from_the_decoder_alone():
    model = made()
    model(*pad(SENTENCES), word_dropout=1.0).log_likelihood.sum().backward()
    assert not model.decoder.embedding.weight.grad[2:].any()
    assert model.encoder.embedding.weight.grad[2:].any()


def test_the_posterior_is_read_from_the_mean_of_the_states():
    model = made()
    states, _ = model.encoder.layer(model.encoder.embedding.weight[[7, 8, 9]][None])
    mean, _ = model.encoder.output(states.mean(1)).chunk(2, -1)
    torch.testing.assert_close(model.posterior(*pad([[7, 8, 9]]))[0], mean)


def test_bent_log_variances_keep_their_order_and_a_gradient():
    raw = torch.tensor([[-30.0, -11.0, 0.0, 11.0, 30.0]], requires_grad=True)
    found = vae.bounded(raw)
    found.sum().backward()
    assert (found.diff() > 0).all() and (raw.grad > 0).all() and raw.grad[0, 2] == 1


def test_what_was_frozen_before_a_fit_stays_frozen():
    model = made(dropout=0.0)
    model.encoder.embedding.weight.requires_grad_(False)
    before = model.encoder.embedding.weight.clone()
    there = batches(SENTENCES * 8)
    vae.fit(model, there, there, TrainConfig(1, 1e-2, precision="no"), progress=False)
    assert not model.encoder.embedding.weight.requires_grad
    assert model.encoder.embedding.weight.cpu().equal(before)
    assert model.decoder.embedding.weight.requires_grad


def test_while_the_encoder_learns_alone_the_decoder_stays_bit_for_bit():
    before = made(dropout=0.0)
    model, _ = trained(vae.Recipe(aggressive=1.0, encoder_steps=10_000))
    for name, weight in model.named_parameters():
        same = weight.equal(before.get_parameter(name))
        assert same == name.startswith("decoder"), name
        assert weight.requires_grad


def test_a_run_that_breaks_off_leaves_every_weight_trainable():
    model = made()
    broken = [{"ids": torch.full((1, 2), V), "mask": torch.ones(1, 2) > 0}]
    with pytest.raises(ValueError, match="ids run from"):
        vae.fit(model, broken, broken, recipe=vae.Recipe(aggressive=1.0), progress=False)
    assert all(weight.requires_grad for weight in model.parameters())


def test_an_autoencoder_learns_to_say_what_it_read():
    sentences = [[2, 3, 4], [5, 6], [7, 8, 9, 10, 11], [4, 3, 2]]
    model, history = trained(
        sentences=sentences * 8, epochs=60, lr=2e-2, latent=4, deterministic=True
    )
    assert vae.greedy(model.decoder, model.posterior(*pad(sentences))[0]) == sentences
    assert set(history.validation["kl"]) == {0.0}


def test_with_free_bits_the_code_tells_two_kinds_of_sentence_apart():
    kinds = [[2, 3, 2, 3, 2], [7, 8, 7, 8, 7]]
    model, history = trained(vae.Recipe(free_bits=1.0), sentences=kinds * 20, epochs=40, lr=2e-2)
    assert history.validation["kl"][history.best_epoch] > math.log(2)
    mean, _ = vae.codes(model, batches(kinds, shuffle=False))
    assert vae.greedy(model.decoder, mean) == kinds


@pytest.mark.equation("eq-perplexity")
def test_perplexity_of_a_guess_among_all_words_is_their_number():
    words = torch.tensor([3.0, 8.0])
    assert vae.perplexity(-words * math.log(50), words) == pytest.approx(50, rel=1e-5)


def test_a_hopeless_model_has_infinite_perplexity():
    assert vae.perplexity(torch.tensor([-5000.0]), torch.tensor([3.0])) == math.inf


def test_an_autoencoder_has_no_perplexity():
    """Its loss knows the sentence from its code and bounds no likelihood."""
    found = vae.evaluate(made(deterministic=True), batches(SENTENCES))
    assert not {"perplexity", "loss a word"} & set(found)
    assert found["kl"] == 0 and found["loss"] == found["reconstruction"]


def test_evaluate_gives_the_means_of_what_each_sentence_has():
    model, there = made(), batches(SENTENCES, shuffle=False)
    torch.manual_seed(3)
    found = vae.evaluate(model, there, samples=3)
    mean, log_variance = vae.codes(model, there)
    kl = vae.kl_to_prior(mean, log_variance).sum(-1)
    assert found["kl"] == pytest.approx(kl.mean().item(), rel=1e-5)
    assert found["loss"] == pytest.approx(found["reconstruction"] + found["kl"], rel=1e-6)
    tokens = sum(len(s) + 1 for s in SENTENCES)
    assert found["perplexity"] == pytest.approx(math.exp(4 * found["loss"] / tokens), rel=1e-6)
    assert found["loss a word"] == pytest.approx(4 * found["loss"] / tokens, rel=1e-6)
    weighted = math.exp(4 * found["weighted loss"] / tokens)
    assert found["weighted perplexity"] == pytest.approx(weighted, rel=1e-6)
    assert found["units"] == vae.active_units(mean)


def test_evaluate_scores_at_samples_of_the_posterior(monkeypatch):
    model, (ids, mask) = made(), pad(SENTENCES)
    monkeypatch.setattr(vae, "reparameterize", lambda mean, *rest: mean)  # noise of zeros
    found = vae.evaluate(model, batches(SENTENCES, shuffle=False), samples=2)
    mean, log_variance = model.posterior(ids, mask)
    given = model.decoder(ids, mask, mean)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(mean).sum(-1)
    own = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(mean).sum(-1)
    assert found["reconstruction"] == pytest.approx(-given.mean().item(), rel=1e-5)
    weighted = -(given + prior - own).mean().item()  # both samples are the mean
    assert found["weighted loss"] == pytest.approx(weighted, rel=1e-5)


def test_the_weighted_bound_is_the_logarithm_of_the_mean_weight(monkeypatch):
    model, two = made(), torch.tensor([[1.0], [3.0]]).log()
    monkeypatch.setattr(model, "log_weights", lambda ids, mask, n: two.expand(n, len(ids)))
    found = vae.evaluate(model, batches(SENTENCES), samples=2)
    assert found["weighted loss"] == pytest.approx(-math.log(2))


def test_narrow_codes_far_apart_tell_which_sentence_it_was():
    model = made()
    with torch.no_grad():
        model.encoder.output.weight[:Z] *= 1e4
        model.encoder.output.bias[Z:] = -20
    found = vae.evaluate(model, batches(SENTENCES))
    assert found["information"] == pytest.approx(math.log(4), abs=1e-3)
    assert vae.evaluate(made(deterministic=True), batches(SENTENCES))["information"] == 0


def test_an_autoencoder_without_noise_has_no_weighted_bound():
    model, there = made(deterministic=True), batches(SENTENCES, shuffle=False)
    with pytest.raises(ValueError, match="no posterior"):
        vae.evaluate(model, there, samples=3)
    with pytest.raises(ValueError, match="at least one sample"):
        made().log_weights(*pad(SENTENCES), 0)


def test_codes_come_in_the_order_of_the_data():
    model = made()
    mean, log_variance = vae.codes(model, batches(SENTENCES, shuffle=True))
    expected = model.posterior(*pad(SENTENCES))
    torch.testing.assert_close((mean, log_variance), expected, rtol=1e-4, atol=1e-5)
