"""Low-rank changes against the formula and against peft."""

import copy

import pytest
import torch
from torch import nn

from tutorial_lib import lora
from tutorial_lib.albert import AlbertClassifier, AlbertConfig
from tutorial_lib.attention import TransformerClassifier
from tutorial_lib.softmax import cross_entropy

TARGETS = ["query", "value"]


def transformer():
    torch.manual_seed(0)
    return TransformerClassifier(30, 3, dim=16, heads=2, layers=2, feedforward=32, dropout=0.0)


def albert():
    torch.manual_seed(0)
    return AlbertClassifier(
        AlbertConfig(
            vocab_size=30, embedding_size=8, hidden_size=16, num_hidden_layers=3,
            num_attention_heads=2, intermediate_size=32, max_position_embeddings=16,
            classifier_dropout_prob=0.0, initializer_range=0.2,
        ),
        3,
    )  # fmt: skip


def batch(rows=6, time=7, seed=1):
    torch.manual_seed(seed)
    mask = torch.arange(time) < torch.randint(1, time + 1, (rows, 1))
    return torch.randint(2, 30, (rows, time)), mask, torch.randint(3, (rows,))


def factors(model):
    """The factors of each adapted layer, all drawn anew, so that no change is 0."""
    found = {n: p for n, p in model.named_modules() if isinstance(p, lora.LoRALinear)}
    torch.manual_seed(5)
    for part in found.values():
        nn.init.normal_(part.a)
        nn.init.normal_(part.b, std=0.1)
    return found


@pytest.mark.equation("eq-lora")
def test_the_layer_computes_the_changed_weight():
    torch.manual_seed(0)
    linear = nn.Linear(5, 4)
    layer = lora.LoRALinear(copy.deepcopy(linear), rank=2, alpha=6.0)
    x = torch.randn(3, 2, 5)
    torch.testing.assert_close(layer(x), linear(x), rtol=0, atol=0)  # b is 0: no change yet
    nn.init.normal_(layer.b)
    weight = linear.weight + 3.0 * layer.b @ layer.a
    torch.testing.assert_close(layer(x), nn.functional.linear(x, weight, linear.bias))
    assert torch.linalg.matrix_rank(weight - linear.weight) == 2


@pytest.mark.equation("eq-lora-merged")
@pytest.mark.parametrize("bias", [True, False])
def test_a_merged_layer_is_plain_and_equal(bias):
    torch.manual_seed(0)
    layer = lora.LoRALinear(nn.Linear(5, 4, bias=bias).double(), rank=2, alpha=1.0)
    nn.init.normal_(layer.b)
    plain, x = layer.merged(), torch.randn(3, 5, dtype=torch.float64)
    assert type(plain) is nn.Linear and (plain.bias is None) is (not bias)
    torch.testing.assert_close(plain(x), layer(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [transformer, albert])
def test_merging_keeps_every_logit(make):
    model = make().eval()
    names = lora.add(model, rank=4)
    factors(model)
    ids, mask, _ = batch()
    before = model(ids, mask)
    assert lora.merge(model) == names
    assert not any(isinstance(part, lora.LoRALinear) for part in model.modules())
    torch.testing.assert_close(model(ids, mask), before)


@pytest.mark.parametrize(("make", "layers"), [(transformer, 2), (albert, 1)])
def test_only_factors_and_head_learn(make, layers):
    model = make()
    before = {n: p.clone() for n, p in model.state_dict().items()}
    names = lora.add(model, rank=4)
    assert len(names) == 2 * layers  # ALBERT's shared layer has one change for all depths
    learning = [p for p in model.parameters() if p.requires_grad]
    count = 2 * layers * 4 * (16 + 16) + 16 * 3 + 3
    assert sum(p.numel() for p in learning) == count == lora.size(make(), rank=4)
    ids, mask, labels = batch()
    optimizer = torch.optim.AdamW(learning, 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(model(ids, mask), labels).backward()
        optimizer.step()
    after = {n.replace(".linear.", "."): p for n, p in model.state_dict().items()}
    moved = {n for n, old in before.items() if not torch.equal(old, after[n])}
    assert moved == {"output.weight", "output.bias"}
    assert all(part.b.abs().sum() > 0 for part in model.modules() if hasattr(part, "b"))


@pytest.mark.parametrize("make", [transformer, albert])
def test_logits_gradients_and_training_equal_peft(make):
    import peft

    ours, plain = make(), make()
    names = lora.add(ours, rank=4, alpha=8.0)
    config = peft.LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.0, target_modules=TARGETS, modules_to_save=["output"],
        exclude_modules=r".*attention\.output",
    )  # fmt: skip
    theirs = peft.get_peft_model(plain, config)
    mine = factors(ours)
    inner = theirs.base_model.model
    with torch.no_grad():
        for name, part in mine.items():
            other = inner.get_submodule(name)
            other.lora_A["default"].weight.copy_(part.a)
            other.lora_B["default"].weight.copy_(part.b)
    ids, mask, labels = batch()
    pairs = [
        (part.a, inner.get_submodule(name).lora_A["default"].weight) for name, part in mine.items()
    ] + [
        (part.b, inner.get_submodule(name).lora_B["default"].weight) for name, part in mine.items()
    ]
    heads = inner.output.modules_to_save["default"]
    pairs += [(ours.output.weight, heads.weight), (ours.output.bias, heads.bias)]
    torch.testing.assert_close(ours(ids, mask), theirs(ids, mask))
    optimizers = [torch.optim.AdamW(side, 0.01) for side in zip(*pairs, strict=True)]
    for _ in range(5):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            cross_entropy(model(ids, mask), labels).backward()
        for a, b in pairs:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)
        for optimizer in optimizers:
            optimizer.step()
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    lora.merge(ours)
    merged = theirs.merge_and_unload()
    assert names
    for name in names:
        torch.testing.assert_close(
            ours.get_submodule(name).weight, merged.get_submodule(name).weight, rtol=1e-4, atol=1e-5
        )
    torch.testing.assert_close(ours(ids, mask), merged(ids, mask), rtol=1e-4, atol=1e-5)


def test_what_is_stored_is_said_in_kilobytes():
    assert lora.stored(1_538).split() == ["1,538", "numbers,", "6.2", "kB"]


def test_what_cannot_be_adapted_is_named_and_left_as_it_was():
    model = transformer()
    with pytest.raises(ValueError, match="no linear layer .* nothing"):
        lora.add(model, rank=2, targets=["nothing"])
    for rank in (17, 0, -1):
        for ask in (lora.add, lora.size):
            with pytest.raises(ValueError, match=f"rank is from 1 to 16, .* got {rank} "):
                ask(model, rank)
    for alpha in (-1.0, 0.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="alpha above 0"):
            lora.add(model, rank=2, alpha=alpha)
    model.encoder.second = nn.Linear(16, 3)  # too narrow, and the last to be found
    with pytest.raises(ValueError, match="rank is from 1 to 3, .* got 4 "):
        lora.add(model, rank=4, targets=["query", "second"])
    assert all(p.requires_grad for p in model.parameters())
    assert not any(isinstance(part, lora.LoRALinear) for part in model.modules())
    lora.add(model, rank=2)
    with pytest.raises(ValueError, match="merge it first"):
        lora.add(model, rank=2)


def test_without_alpha_the_scale_is_one_and_a_begins_as_in_its_authors_code():
    """Their kaiming_uniform_ with a = √5 draws between ±1/√inputs."""
    torch.manual_seed(0)
    model = TransformerClassifier(30, 3, dim=64, heads=2, layers=1)
    lora.add(model, rank=4)
    for part in (p for p in model.modules() if isinstance(p, lora.LoRALinear)):
        assert part.scale == 1.0 and not part.b.any()
        assert 0.9 < part.a.abs().max() * 64**0.5 <= 1.0
