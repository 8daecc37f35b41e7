"""The first state of each figure says what the package and closed forms say; bad input is named."""

import math
import random
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
import torch
from torch.nn import functional as F

from tests.widgets.conftest import FIGURES, LOGITS, NASTY, TOKENS, VARIANCES, WEIGHTS
from tutorial_lib import cnn, widgets
from tutorial_lib.albert_config import AlbertConfig
from tutorial_lib.widgets import elbo, sizes


def numbers(figure) -> list[float]:
    """The numbers above the bars, or below the tokens."""
    found = re.findall(r'class="n"[^>]*>([^<]*)<|<small[^>]*>([^<]*)<', figure.source)
    return [float(re.search(r"-?[\d.]+", "".join(one))[0]) for one in found if "–" not in one]


def test_temperature_shows_softmax_and_its_entropy():
    p = scipy.special.softmax(list(LOGITS.values()))
    wanted = [*p, scipy.stats.entropy(p)]
    assert numbers(FIGURES["temperature"]) == pytest.approx(wanted, abs=6e-4)
    assert f"of at most {math.log(4):.3f} nats" in repr(FIGURES["temperature"])


def test_confidence_shows_the_losses_and_what_autograd_finds():
    z = torch.tensor([math.log(0.2), math.log(0.5), math.log(0.3)], requires_grad=True)
    loss = F.cross_entropy(z, torch.tensor(0))
    (gradient,) = torch.autograd.grad(loss, z)
    logit = torch.tensor(0.2).logit().requires_grad_()
    squared = (1 - logit.sigmoid()) ** 2
    (weaker,) = torch.autograd.grad(squared, logit)
    wanted = [-gradient[0].item(), -weaker.item()]
    assert numbers(FIGURES["confidence"]) == pytest.approx(wanted, abs=6e-4)
    said = [float(x) for x in re.findall(r"\d\.\d{3}", repr(FIGURES["confidence"]))]
    assert said == pytest.approx([loss.item(), wanted[0], squared.item(), wanted[1]], abs=6e-4)


def test_sliding_shows_the_answers_of_a_convolution_and_what_pooling_keeps():
    x, weight, bias = torch.randn(1, 6, 3), torch.randn(2, 3, 3), torch.randn(2)
    y = cnn.conv1d(x, weight, bias)  # [1 4 2]
    figure = widgets.sliding.show(
        list("abcdef"), y[0].T.numpy(), width=3, names=["one", "two"], caption="x"
    )
    kept = cnn.max_over_time(y, torch.ones(1, 4).bool())[0, 0].item()
    assert numbers(figure) == pytest.approx(y[0, :, 0].tolist(), abs=6e-3)
    assert f"Pooling keeps the largest, {kept:.2f}" in repr(figure)
    assert figure.source.count(">–<") == 2  # no window of three begins at the last two


def test_attention_shows_per_cent_and_names_the_strongest_three():
    row = WEIGHTS[0, 0]
    assert numbers(FIGURES["attention"]) == pytest.approx(100 * row, abs=0.06)
    names = [TOKENS[k] for k in np.argsort(-row)[:3]]
    said = repr(FIGURES["attention"])
    assert re.findall(r"“(.*?)”", said) == [TOKENS[0], *names]


def test_the_scripts_formulas_are_those_of_the_package():
    dice = random.Random(0)
    for _ in range(30):
        v, e, h, layers = (dice.randrange(s.low, s.high) for s in sizes.SLIDERS)
        config = AlbertConfig(
            vocab_size=v, embedding_size=e, hidden_size=h, num_hidden_layers=layers,
            num_attention_heads=1, intermediate_size=4 * h,
        )  # fmt: skip
        names = {"V": v, "E": e, "H": h, "L": layers}
        for row, wanted in sizes.counted(config).items():
            assert [eval(term, {}, names) for term in sizes.FORMULAS[row]] == wanted


def test_sizes_shows_the_published_counts():
    albert, bert, *_ = numbers(FIGURES["sizes"])  # Lan et al. 2020, table 1, in millions
    assert albert == pytest.approx(12, abs=0.5)
    assert bert == pytest.approx(108, abs=1.5)


def linear_vae(parameters, variance, beta):
    """Reconstruction and KL of one unit, as the means over x and z of their definitions."""
    w, v, log_s = parameters
    s = math.exp(log_s)
    error = variance * (1 - w * v) ** 2 + w**2 * s**2
    kl = 0.5 * (v**2 * variance + s**2 - 1 - 2 * log_s)
    return 0.5 * math.log(2 * math.pi) + 0.5 * error, kl


@pytest.mark.parametrize("beta", [0.05, 0.5, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("variance", [0.5, 1.2, 4.0, 16.0])
def test_no_linear_vae_does_better_than_the_bound(variance, beta):
    def loss(parameters):
        reconstruction, kl = linear_vae(parameters, variance, beta)
        return reconstruction + beta * kl

    starts = [(w, v, 0.0) for w in (0.1, 1.0, 3.0) for v in (0.1, 0.5)]
    found = [scipy.optimize.minimize(loss, start, tol=1e-10) for start in starts]
    best = min(found, key=lambda one: one.fun)
    reconstruction, kl = elbo.bound([variance], beta)
    assert (reconstruction + beta * kl)[0] == pytest.approx(best.fun, abs=1e-6)
    assert (reconstruction[0], kl[0]) == pytest.approx(linear_vae(best.x, variance, beta), abs=2e-3)


def test_at_weight_1_the_bound_of_a_living_unit_is_the_likelihood_and_else_it_is_worse():
    for variance in (1.2, 4.0, 16.0):
        # The best w has w² + 1 = variance; the mean of -log N(x; 0, w² + 1) is then an entropy.
        exact = scipy.stats.norm(0, math.sqrt(variance)).entropy()
        at = {beta: sum(elbo.bound([variance], beta))[0] for beta in (0.1, 0.5, 1.0, 2.0, 20.0)}
        assert at[1.0] == pytest.approx(exact)
        assert at[0.1] > at[0.5] > at[1.0] < at[2.0] <= at[20.0]


def test_units_die_one_after_another():
    kl = [elbo.bound(VARIANCES, beta)[1] for beta in (0.4, 0.6, 1.5, 3.0, 5.0, 10.0, 17.0)]
    assert [int((one > 0).sum()) for one in kl] == [6, 5, 4, 3, 2, 1, 0]


def test_elbo_shows_the_bound():
    reconstruction, kl = (sum(part) for part in elbo.bound(VARIANCES, 1.0))
    wanted = [reconstruction, kl, reconstruction + kl]
    assert numbers(FIGURES["elbo"]) == pytest.approx(wanted, abs=6e-3)


def test_a_figure_is_small_and_needs_nothing_else(kind):
    source = FIGURES[kind].source
    assert len(source.encode()) < 20_000
    assert not re.search(r"\b(src|href|id)=|@import|url\(|https?:", source)


def test_every_control_has_a_label_and_every_tag_an_end(kind):
    open_tags, labelled = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag in ("input", "select"):
                labelled.append("label" in open_tags)
            if tag != "input":
                open_tags.append(tag)

        def handle_startendtag(self, tag, attributes):
            pass

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Reader().feed(FIGURES[kind].source)
    assert not open_tags and labelled and all(labelled)


@pytest.mark.parametrize(
    ("show", "wrong"),
    [
        (lambda: widgets.temperature.show({"a": 1.0}), "2 to 8 classes; got 1"),
        (lambda: widgets.temperature.show({"a": 1.0, "b": 7.0}), "between -6 and 6"),
        (lambda: widgets.temperature.show({"a": 1.0, "b": math.nan}), "between -6 and 6"),
        (lambda: sliding([], np.zeros((1, 0))), "1 to 60 tokens; got 0"),
        (lambda: sliding(["a"] * 61, np.zeros((1, 60))), "1 to 60 tokens; got 61"),
        (lambda: sliding(["a"], np.zeros((1, 1))), "window of 2 tokens does not fit into 1"),
        (lambda: sliding(["a", "b", "c"], np.zeros((1, 3))), r"shape \(1, 2\); got \(1, 3\)"),
        (lambda: sliding(["a", "b"], np.zeros((0, 1)), names=[]), "0 filters"),
        (lambda: sliding(["a", "b"], np.array([[math.nan]])), "finite"),
        (lambda: attention([], np.zeros((1, 0, 0))), "1 to 60 tokens; got 0"),
        (lambda: attention(["a", "b"], np.full((2, 2), 0.5)), r"\[K, 2, 2\]; got \(2, 2\)"),
        (lambda: attention(["a"], np.zeros((0, 1, 1))), r"\[K, 1, 1\]; got \(0, 1, 1\)"),
        (lambda: attention(["a", "b"], np.full((1, 2, 2), math.nan)), "finite"),
        (lambda: attention(["a", "b"], np.full((1, 2, 2), 0.6)), "sum to 1"),
        (lambda: attention(["a", "b"], np.array([[[1.5, -0.5], [0, 1]]])), "at least 0"),
        (lambda: widgets.elbo.show([]), "1 to 10 units; got 0"),
        (lambda: widgets.elbo.show([1.0, 0.0]), "positive and finite"),
        (lambda: widgets.elbo.show([math.inf]), "positive and finite"),
    ],
)
def test_what_cannot_be_shown_is_refused(show, wrong):
    with pytest.raises(ValueError, match=wrong):
        show()


def sliding(tokens, answers, names=("one",)):
    return widgets.sliding.show(tokens, answers, width=2, names=list(names), caption="x")


def attention(tokens, weights):
    return widgets.attention.show(tokens, weights, caption="x")


def test_texts_of_the_caller_do_not_end_the_script():
    for kind in ("temperature", "sliding", "attention"):
        source = FIGURES[kind].source
        assert NASTY not in source and source.count("</script>") == 2
