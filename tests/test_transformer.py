"""Facts about scaled dot-product attention and the encoder: torch.nn with the weights copied."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tutorial_lib import transformer as tf

DTYPE = torch.float64


def random(*shape, seed=0, dtype=DTYPE):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=DTYPE).to(dtype)


@pytest.fixture
def qkv():
    """Five queries, seven keys of width 6, values of width 4; two texts, three heads."""
    return random(2, 3, 5, 6), random(2, 3, 7, 6, seed=1), random(2, 3, 7, 4, seed=2)


KEYS = torch.arange(7) < torch.tensor([7, 4])[:, None]  # [B T]: the second text has 4 tokens
MASKS = {
    "none": None,
    "keys": KEYS[:, None, None],  # [B 1 1 T]
    "queries": torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(3)) < 0.6,
}


@pytest.mark.equation("eq-dot-product")
def test_scores_are_inner_products_over_the_root_of_the_width(qkv):
    q, k, _ = qkv
    scores = tf.dot_product_scores(q, k)
    assert scores.shape == (2, 3, 5, 7)
    expected = sum(q[1, 2, 3, i] * k[1, 2, 6, i] for i in range(6)) / math.sqrt(6)
    torch.testing.assert_close(scores[1, 2, 3, 6], expected)


@pytest.mark.parametrize("width", [4, 64, 1024])
def test_the_root_keeps_the_variance_of_the_scores_at_one(width):
    q, k = random(300, width), random(300, width, seed=1)
    assert tf.dot_product_scores(q, k).var().item() == pytest.approx(1, rel=0.1)
    assert (q @ k.T).var().item() == pytest.approx(width, rel=0.1)


@pytest.mark.equation("eq-attention-weights")
@pytest.mark.parametrize("mask", MASKS)
def test_weights_are_the_softmax_over_the_keys_that_the_mask_leaves(mask):
    scores, mask = random(2, 3, 5, 7), MASKS[mask]
    _, weights = tf.weigh(scores, random(2, 3, 7, 4), mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5, dtype=DTYPE))
    allowed = torch.ones(2, 3, 5, 7, dtype=torch.bool) if mask is None else mask.expand(2, 3, 5, 7)
    assert weights[~allowed].eq(0).all()
    for place in ((0, 0, 0), (1, 2, 4)):
        torch.testing.assert_close(
            weights[place][allowed[place]], scores[place][allowed[place]].softmax(0)
        )


@pytest.mark.equation("eq-attention-output")
def test_the_output_is_the_weighted_sum_of_the_values():
    scores, values = random(2, 5, 7), random(2, 7, 4, seed=1)
    y, weights = tf.weigh(scores, values)
    expected = sum(weights[1, 3, t] * values[1, t] for t in range(7))
    torch.testing.assert_close(y[1, 3], expected)
    assert (y.amax(1) <= values.amax(1) + 1e-12).all()  # an average: within what it averages


@pytest.mark.equation("eq-attention")
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_attention_is_torchs_with_its_gradients(qkv, mask, fused):
    mask, leaves = MASKS[mask], [[x.clone().requires_grad_() for x in qkv] for _ in range(2)]
    ours, weights = tf.attention(*leaves[0], mask, fused=fused)
    assert (weights is None) == fused
    theirs = F.scaled_dot_product_attention(*leaves[1], attn_mask=mask)
    torch.testing.assert_close(ours, theirs)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    for a, b in zip(*leaves, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_both_paths_agree_with_double_precision_in_every_precision(qkv, fused, dtype):
    rounded = [(2 * x).to(dtype) for x in qkv]
    exact, _ = tf.attention(*(x.double() for x in rounded), MASKS["queries"])
    y, _ = tf.attention(*rounded, MASKS["queries"], fused=fused)
    assert y.dtype == dtype
    tolerance = {torch.float16: 2e-2, torch.bfloat16: 2e-1, torch.float32: 1e-5}[dtype]
    torch.testing.assert_close(y.double(), exact, atol=tolerance, rtol=0)


@pytest.mark.parametrize("time", [5, 512, 513])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_in_bfloat16_are_close_to_those_in_double_precision(time, masked):
    torch.manual_seed(0)
    exact = [torch.randn(2, 3, time, 8).bfloat16().double().requires_grad_() for _ in range(3)]
    rounded = [x.detach().bfloat16().requires_grad_() for x in exact]
    mask = torch.arange(time) < torch.tensor([3, time])[:, None, None, None] if masked else None
    for leaves in (exact, rounded):
        y, _ = tf.attention(*leaves, mask, fused=True)
        (y.double() ** 2).sum().backward()
    for x, close in zip(exact, rounded, strict=True):
        assert (x.grad - close.grad.double()).norm() < 0.02 * x.grad.norm()


@pytest.mark.parametrize("fused", [False, True])
def test_large_scores_do_not_overflow_half_precision(fused):
    # q · k is 64 · 50² = 160,000, beyond float16's 65,504; divided by 8 it is 20,000.
    q, k = torch.full((1, 1, 2, 64), 50.0), torch.full((1, 1, 3, 64), 50.0)
    values = torch.arange(3.0).view(1, 1, 3, 1).expand(1, 1, 3, 64)
    y, _ = tf.attention(q.half(), k.half(), values.half(), fused=fused)
    torch.testing.assert_close(y, torch.ones(1, 1, 2, 64).half())  # equal scores: the mean


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_query_without_any_key_gets_zeros_and_finite_gradients(qkv, fused, dtype):
    leaves = [x.to(dtype).requires_grad_() for x in qkv]
    mask = torch.ones(2, 1, 5, 7, dtype=torch.bool)
    mask[0, :, 2], mask[1] = False, False
    y, weights = tf.attention(*leaves, mask, fused=fused)
    assert y[0, :, 2].eq(0).all() and y[1].eq(0).all()
    assert y[0, :, [0, 1, 3, 4]].ne(0).any(-1).all()
    assert weights is None or weights[1].eq(0).all()
    y.float().square().sum().backward()
    for leaf in leaves:
        assert leaf.grad.isfinite().all()
        assert leaf.grad[1].eq(0).all() and leaf.grad[0].ne(0).any()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_dropout_thins_the_weights_and_keeps_their_mean(fused, dtype):
    torch.manual_seed(0)
    q, k, v = (torch.zeros(1, 1, n, 2, dtype=dtype) for n in (4000, 50, 50))
    y = tf.attention(q, k, v + 1, dropout=0.4, fused=fused)[0].float()
    # Each weight of 1/50 is kept with probability 0.6 and then divided by it.
    assert y.mean().item() == pytest.approx(1, abs=0.01)
    assert y[..., 0].var().item() == pytest.approx(0.4 / 0.6 / 50, rel=0.15)


def torchs_attention(ours: tf.MultiHeadAttention) -> nn.MultiheadAttention:
    """Return torch's module with the weights of ours."""
    dim = ours.output.in_features
    theirs = nn.MultiheadAttention(dim, ours.heads, batch_first=True, dtype=DTYPE)
    copy_attention(ours, theirs)
    return theirs


@torch.no_grad()
def copy_attention(ours, theirs):
    three = (ours.query, ours.key, ours.value)
    theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in three]))
    theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in three]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())


TOKENS = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
CAUSAL = torch.ones(7, 7).tril().bool().expand(3, 7, 7)


@pytest.mark.equation("eq-multi-head")
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("mask", ["none", "keys", "causal"])
def test_multi_head_attention_is_torchs(mask, need_weights):
    torch.manual_seed(0)
    ours = tf.MultiHeadAttention(12, 3).double()
    theirs, x = torchs_attention(ours), random(3, 7, 12)
    ours_mask = {"none": None, "keys": TOKENS, "causal": CAUSAL}[mask]
    theirs_mask = {
        "none": {}, "keys": {"key_padding_mask": ~TOKENS}, "causal": {"attn_mask": ~CAUSAL[0]},
    }[mask]  # fmt: skip
    leaves = [x.clone().requires_grad_() for _ in range(2)]
    y, weights = ours(leaves[0], ours_mask, need_weights=need_weights)
    z, expected = theirs(*[leaves[1]] * 3, average_attn_weights=False, **theirs_mask)
    torch.testing.assert_close(y, z)
    if need_weights:
        torch.testing.assert_close(weights, expected)
    y.square().sum().backward()
    z.square().sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)
    gradient = torch.cat([layer.weight.grad for layer in (ours.query, ours.key, ours.value)])
    torch.testing.assert_close(gradient, theirs.in_proj_weight.grad)
    torch.testing.assert_close(ours.output.bias.grad, theirs.out_proj.bias.grad)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_multi_head_attention_in_half_precision_is_close(dtype, tolerance, need_weights):
    torch.manual_seed(0)
    half, x = tf.MultiHeadAttention(12, 3).to(dtype), random(3, 7, 12, dtype=dtype)
    mask = TOKENS & torch.tensor([[True], [True], [False]])  # the third text has no token
    y, _ = half(x, mask, need_weights=need_weights)
    exact, _ = copy.deepcopy(half).double()(x.double(), mask)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), exact, atol=tolerance, rtol=0)
    torch.testing.assert_close(y[2], half.output.bias.expand(7, 12))


def test_attention_to_another_text_is_torchs():
    ours, x, context = tf.MultiHeadAttention(12, 4).double(), random(3, 5, 12), random(3, 7, 12)
    y, weights = ours(x, TOKENS, context=context, need_weights=True)
    z, expected = torchs_attention(ours)(
        x, context, context, key_padding_mask=~TOKENS, average_attn_weights=False
    )
    torch.testing.assert_close(y, z)
    torch.testing.assert_close(weights, expected)


def test_shapes_that_do_not_fit_are_refused():
    for heads in (0, 5):
        with pytest.raises(ValueError, match="evenly"):
            tf.MultiHeadAttention(12, heads)
    module = tf.MultiHeadAttention(12, 3)
    with pytest.raises(ValueError, match=r"must be \[3, 7\] or \[3, 7, 7\]"):
        module(torch.zeros(3, 7, 12), CAUSAL[:, 0, :6])
    with pytest.raises(ValueError, match="activation is one of"):
        tf.EncoderLayer(12, 3, 24, activation="tanh")
    for dim in (-2, 0, 5):
        with pytest.raises(ValueError, match="even"):
            tf.sinusoidal(3, dim)


@pytest.mark.equation("eq-layer-norm")
def test_layer_norm_is_torchs():
    x, weight, bias = 5 + 3 * random(4, 6, 8), random(8, seed=1), random(8, seed=2)
    for epsilon in (1e-5, 0.5):
        expected = F.layer_norm(x, (8,), weight, bias, epsilon)
        torch.testing.assert_close(tf.layer_norm(x, weight, bias, epsilon), expected)


def torchs_layer(ours: tf.EncoderLayer, activation) -> nn.TransformerEncoderLayer:
    dim, feedforward = ours.inner.in_features, ours.inner.out_features
    theirs = nn.TransformerEncoderLayer(
        dim, ours.attention.heads, feedforward, activation=activation, batch_first=True,
        norm_first=ours.norm_first, layer_norm_eps=ours.norm1.eps, dropout=0.0, dtype=DTYPE,
    )  # fmt: skip
    copy_attention(ours.attention, theirs.self_attn)
    for mine, its in (
        ("inner", "linear1"),
        ("outer", "linear2"),
        *[("norm1",) * 2, ("norm2",) * 2],
    ):
        theirs.get_submodule(its).load_state_dict(ours.get_submodule(mine).state_dict())
    return theirs


def random_layer(**options):
    torch.manual_seed(0)
    layer = tf.EncoderLayer(12, 3, 20, dropout=0.0, **options).double()
    with torch.no_grad():
        for parameter in layer.parameters():  # norms too: their start hides mistakes
            parameter += 0.3 * torch.randn_like(parameter)
    return layer


ACTIVATIONS = {
    "relu": F.relu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}  # fmt: skip


@pytest.mark.parametrize(
    "norm_first",
    [
        pytest.param(True, marks=pytest.mark.equation("eq-pre-norm")),
        pytest.param(False, marks=pytest.mark.equation("eq-post-norm")),
    ],
)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("need_weights", [False, True])
def test_an_encoder_layer_is_torchs(norm_first, activation, need_weights):
    ours = random_layer(norm_first=norm_first, activation=activation, epsilon=1e-3)
    theirs, x = torchs_layer(ours, ACTIVATIONS[activation]), random(3, 7, 12)
    leaves = [x.clone().requires_grad_() for _ in range(2)]
    y, weights = ours(leaves[0], TOKENS, need_weights=need_weights)
    z = theirs(leaves[1], src_key_padding_mask=~TOKENS)
    torch.testing.assert_close(y[TOKENS], z[TOKENS])
    assert weights is None or weights.shape == (3, 3, 7, 7)
    y[TOKENS].square().sum().backward()
    z[TOKENS].square().sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)
    for mine, its in (("inner.weight", "linear1.weight"), ("norm1.weight", "norm1.weight")):
        pair = (module.get_parameter(n).grad for module, n in ((ours, mine), (theirs, its)))
        torch.testing.assert_close(*pair)


@pytest.mark.equation("eq-feed-forward")
def test_the_feed_forward_network_is_two_linear_layers_at_each_position():
    layer, x = random_layer(activation="relu"), random(2, 4, 12)
    inner = (x[1, 2] @ layer.inner.weight.T + layer.inner.bias).clamp(min=0)
    expected = inner @ layer.outer.weight.T + layer.outer.bias
    torch.testing.assert_close(layer.feed_forward(x)[1, 2], expected)


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_encoder_is_torchs(norm_first):
    ours = tf.Encoder([random_layer(norm_first=norm_first) for _ in range(3)]).double()
    last = nn.LayerNorm(12, dtype=DTYPE) if norm_first else None
    theirs = nn.TransformerEncoder(
        torchs_layer(ours.layers[0], F.gelu), 3, norm=last, enable_nested_tensor=False
    )
    x = random(3, 7, 12)
    y, maps = ours(x, CAUSAL, need_weights=True)
    torch.testing.assert_close(y, theirs(x, mask=~CAUSAL[0]))
    assert len(maps) == 3 and all(m.shape == (3, 3, 7, 7) for m in maps)
    torch.testing.assert_close(ours(x, CAUSAL)[0], y)


def test_a_layer_that_stands_twice_shares_its_weights():
    layer = random_layer()
    shared = tf.Encoder([layer] * 4)
    count = [sum(p.numel() for p in module.parameters()) for module in (layer, shared)]
    assert count[0] == count[1]
    x = random(1, 5, 12)
    expected = x
    for _ in range(4):
        expected, _ = layer(expected)
    torch.testing.assert_close(shared(x)[0], expected)


def test_an_encoder_without_layers_is_refused():
    with pytest.raises(ValueError, match="needs a layer"):
        tf.Encoder([])


def test_dropout_of_everything_leaves_the_input():
    layer = tf.EncoderLayer(12, 3, 20, norm_first=True, dropout=1.0).double()
    x = random(2, 5, 12)
    torch.testing.assert_close(layer(x)[0], x)
    assert not torch.allclose(layer.eval()(x)[0], x)


def test_dropout_of_everything_leaves_the_norms_of_a_post_norm_layer():
    layer, x = random_layer(norm_first=False), random(2, 5, 12)
    layer.dropout.p = 1.0
    torch.testing.assert_close(layer(x)[0], layer.norm2(layer.norm1(x)))


@pytest.mark.parametrize("need_weights", [False, True])
def test_attention_dropout_acts_in_training_only(need_weights):
    module, x = tf.MultiHeadAttention(12, 3, dropout=0.5).double(), random(2, 5, 12)
    a, b = (module(x, need_weights=need_weights)[0] for _ in range(2))
    assert not torch.allclose(a, b)
    module.eval()
    a, b = (module(x, need_weights=need_weights)[0] for _ in range(2))
    torch.testing.assert_close(a, b)


@pytest.mark.equation("eq-sinusoidal")
def test_positions_are_sines_and_cosines_of_falling_frequency():
    p = tf.sinusoidal(50, 8)
    for t, pair in ((0, 0), (7, 1), (49, 3)):
        angle = t / 10_000 ** (2 * pair / 8)
        expected = torch.tensor([math.sin(angle), math.cos(angle)])
        torch.testing.assert_close(p[t, 2 * pair : 2 * pair + 2], expected)
    torch.testing.assert_close(p.norm(dim=1), torch.full((50,), 2.0))  # root of 8 / 2
    torch.testing.assert_close(tf.sinusoidal(5, 8, start=45), p[45:])


@pytest.mark.equation("eq-shift-positions")
@pytest.mark.parametrize("shift", [0, 1, -3, 250])
def test_a_shift_of_positions_is_a_rotation(shift):
    rotation = tf.shift_matrix(shift, 16)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(16))
    start = 300
    shifted = tf.sinusoidal(20, 16, start=start + shift)
    torch.testing.assert_close(
        tf.sinusoidal(20, 16, start=start) @ rotation.T, shifted, atol=1e-5, rtol=0
    )


def test_the_product_of_two_positions_depends_on_their_distance_alone():
    p = tf.sinusoidal(200, 32)
    products = p @ p.T
    for distance in (0, 1, 17):
        same = products.diagonal(distance)
        torch.testing.assert_close(same, same[0].expand_as(same), atol=1e-4, rtol=0)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_positions_are_the_same_on_an_accelerator(device):
    if not getattr(torch, "cuda" if device == "cuda" else "mps").is_available():
        pytest.skip(f"no {device} here")
    there = tf.sinusoidal(100, 8, device=torch.device(device)).cpu()
    torch.testing.assert_close(there, tf.sinusoidal(100, 8), atol=1e-4, rtol=0)
