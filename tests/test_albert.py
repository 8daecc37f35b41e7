"""Facts about ALBERT: `transformers` with the weights copied, published sizes, invariances."""

import dataclasses
import random
from types import SimpleNamespace

import pytest
import torch
import transformers
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from tutorial_lib import albert
from tutorial_lib.albert import Albert, AlbertClassifier, AlbertConfig, AlbertPretraining
from tutorial_lib.data.batches import batches
from tutorial_lib.hub_tensors import published_name
from tutorial_lib.training import TrainConfig, fit_classifier

SMALL = AlbertConfig(
    vocab_size=40, embedding_size=8, hidden_size=12, num_hidden_layers=4, num_attention_heads=3,
    intermediate_size=20, max_position_embeddings=16,
)  # fmt: skip
CONFIGURATIONS = 60
worst: dict[tuple[str, torch.dtype], float] = {}


def random_config(seed: int) -> AlbertConfig:
    draw = random.Random(seed)
    heads, groups = draw.randint(1, 4), draw.randint(1, 3)
    return AlbertConfig(
        vocab_size=draw.randint(20, 60),
        embedding_size=draw.randint(5, 16),
        hidden_size=heads * draw.randint(8, 12),
        num_hidden_layers=groups * draw.randint(1, 3),
        num_hidden_groups=groups,
        inner_group_num=draw.randint(1, 2),
        num_attention_heads=heads,
        intermediate_size=draw.randint(8, 40),
        hidden_act=draw.choice(["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"]),
        max_position_embeddings=draw.randint(6, 20),
        type_vocab_size=draw.randint(1, 3),
        layer_norm_eps=draw.choice([1e-12, 1e-5, 1e-2]),
        pad_token_id=draw.choice([0, 3, None]),
    )


def theirs_of(config: AlbertConfig, kind: str, labels: int = 2, prefix: str = "Albert"):
    """Return a model of `transformers` in evaluation mode, attention by the plain formula."""
    facts = dataclasses.asdict(config)
    if prefix == "Bert":
        for name in ("embedding_size", "num_hidden_groups", "inner_group_num"):
            del facts[name]
    facts = getattr(transformers, f"{prefix}Config")(**facts, num_labels=labels)
    facts._attn_implementation = "eager"
    return getattr(transformers, f"{prefix}{kind}")(facts).eval()


def copy_weights(ours, theirs):
    """Give theirs the weights of ours; every tensor has its place."""
    own = published(ours)
    result = theirs.load_state_dict(own, strict=False)
    assert not result.unexpected_keys
    # Tied to the word vectors and to the bias that is copied.
    assert set(result.missing_keys) <= {"predictions.decoder.weight", "predictions.decoder.bias"}


def published(ours, values=lambda parameter: parameter):
    return {published_name(name): values(p) for name, p in ours.named_parameters()}


def jolt(model, seed: int = 0):
    """Add noise to all weights: norms of 1 and biases of 0 hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return model.eval()


def random_batch(config: AlbertConfig, seed: int) -> SimpleNamespace:
    """Ragged or full texts, with or without token types, and labels for every task."""
    draw, g = random.Random(seed), torch.Generator().manual_seed(seed)
    rows, time = draw.randint(1, 4), draw.randint(2, config.max_position_embeddings)
    lengths = torch.randint(1, time + 1, (rows, 1), generator=g)
    tokens = torch.arange(time) < lengths
    mask = draw.choice([None, tokens, tokens, torch.ones_like(tokens)])
    tokens = torch.ones_like(tokens) if mask is None else mask
    types = torch.randint(config.type_vocab_size, (rows, time), generator=g)
    ids = torch.randint(config.vocab_size, (rows, time), generator=g)
    chosen = tokens & (torch.rand(rows, time, generator=g) < 0.4)
    chosen[:, 0] = True
    return SimpleNamespace(
        ids=ids, mask=mask, tokens=tokens, types=draw.choice([None, types]), chosen=chosen,
        words=ids.flip(1).masked_fill(~chosen, -100),
        order=torch.randint(2, (rows,), generator=g),
        labels=torch.randint(3, (rows,), generator=g),
    )  # fmt: skip


def agree(what: str, ours, theirs, scale: float | None = None):
    """Check two tensors up to rounding and note the largest relative error."""
    scale = max(theirs.abs().max().item(), scale or 1e-30)
    error = (ours - theirs).abs().max().item() / scale
    key = what, theirs.dtype
    worst[key] = max(worst.get(key, 0), error)
    # Sums in another order: in float32 the noise of deep random layers grows on its way back.
    single = 1e-3 if what == "gradients" else 1e-4
    assert error < {torch.float32: single, torch.float64: 1e-12}[theirs.dtype], (what, error)


def agree_with_gradients(ours, theirs, loss, their_loss):
    agree("loss", loss, their_loss)
    ours.zero_grad()
    theirs.zero_grad()
    loss.backward()
    their_loss.backward()
    own, its = published(ours, lambda p: p.grad), dict(theirs.named_parameters())
    # A bias of the keys shifts all scores alike: its gradient is 0 but for rounding. So errors are
    # relative to the tensor's largest element or to a hundredth of the largest of all.
    largest = max(p.grad.abs().max().item() for p in its.values() if p.grad is not None)
    for name, parameter in its.items():
        gradient = own[name]
        if parameter.grad is None:
            assert gradient is None or gradient.eq(0).all()
        else:
            agree("gradients", gradient, parameter.grad, 0.01 * largest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("seed", range(CONFIGURATIONS))
def test_everything_is_as_in_transformers(seed, dtype):
    config = random_config(seed)
    batch = random_batch(config, seed)
    inputs = dict(
        attention_mask=None if batch.mask is None else batch.mask.long(),
        token_type_ids=batch.types, output_hidden_states=True, output_attentions=True,
    )  # fmt: skip

    ours = jolt(AlbertPretraining(config).to(dtype), seed)
    theirs = theirs_of(config, "ForPreTraining").to(dtype)
    copy_weights(ours, theirs)
    encoded = ours.albert(batch.ids, batch.mask, batch.types, need_states=True, need_weights=True)
    words, order = ours(batch.ids, batch.mask, batch.types)
    out = theirs(batch.ids, labels=batch.words, sentence_order_label=batch.order, **inputs)
    agree("pre-training logits", words[batch.tokens], out.prediction_logits[batch.tokens])
    agree("pre-training logits", order, out.sop_logits)
    for mine, its in zip(encoded.all_states, out.hidden_states, strict=True):
        agree("states", mine[batch.tokens], its[batch.tokens])
    for mine, its in zip(encoded.weights, out.attentions, strict=True):
        rows = batch.tokens[:, None, :, None].expand_as(mine)
        agree("attention weights", mine[rows], its[rows])
    loss = F.cross_entropy(words.flatten(0, 1), batch.words.flatten())
    agree_with_gradients(ours, theirs, loss + F.cross_entropy(order, batch.order), out.loss)

    theirs = theirs_of(config, "ForMaskedLM").to(dtype)
    known = {name for name, _ in theirs.named_parameters()}
    theirs.load_state_dict({k: v for k, v in published(ours).items() if k in known}, strict=False)
    out = theirs(batch.ids, labels=batch.words, **inputs)
    chosen = ours(batch.ids, batch.mask, batch.types, positions=batch.chosen).words
    agree("masked-word logits", chosen, out.logits[batch.chosen])
    loss = F.cross_entropy(chosen, batch.words[batch.chosen])
    agree_with_gradients(ours, theirs, loss, out.loss)

    ours = jolt(AlbertClassifier(config, 3).to(dtype), seed)
    theirs = theirs_of(config, "ForSequenceClassification", labels=3).to(dtype)
    copy_weights(ours, theirs)
    logits = ours(batch.ids, batch.mask, batch.types)
    out = theirs(batch.ids, labels=batch.labels, **inputs)
    agree("class logits", logits, out.logits)
    agree_with_gradients(ours, theirs, F.cross_entropy(logits, batch.labels), out.loss)

    encoder = theirs.albert(batch.ids, **inputs)
    encoded = ours.albert(batch.ids, batch.mask, batch.types)
    agree("states", encoded.states[batch.tokens], encoder.last_hidden_state[batch.tokens])
    agree("pooled", ours.albert.pool(encoded.states), encoder.pooler_output)


def test_the_largest_relative_errors_of_all_configurations():
    """Shown by `pytest -s tests/test_albert.py`."""
    if not worst:
        pytest.skip("the comparisons were not run")
    print(f"\nlargest relative errors over {CONFIGURATIONS} configurations")
    for (what, dtype), error in sorted(worst.items(), key=str):
        print(f"  {what:20} {str(dtype)[6:]} {error:.1e}")


@pytest.fixture
def texts():
    """Three texts of 7, 4 and 1 tokens."""
    ids = torch.randint(40, (3, 7), generator=torch.Generator().manual_seed(1))
    return ids, torch.arange(7) < torch.tensor([7, 4, 1])[:, None]


def test_padding_has_no_influence(texts):
    ids, mask = texts
    model = jolt(AlbertClassifier(SMALL, 3).double())
    together = model(ids, mask)
    # Ids that do not exist, as some libraries mark what has no label, are no error there.
    torch.testing.assert_close(model(ids.masked_fill(~mask, -100), mask), together)
    for row, length in enumerate((7, 4, 1)):
        alone = ids[row : row + 1, :length]
        torch.testing.assert_close(model(alone, None), together[row : row + 1])
        torch.testing.assert_close(model(alone, torch.ones_like(alone).bool()), model(alone, None))


def test_a_mask_left_out_changes_the_prediction(texts):
    ids, mask = texts
    model = jolt(AlbertClassifier(SMALL, 3))
    assert not torch.allclose(model(ids, mask)[1], model(ids, None)[1])


def test_chosen_positions_are_rows_of_all_logits(texts):
    ids, mask = texts
    model = jolt(AlbertPretraining(SMALL).double())
    words, order = model(ids, mask)
    assert words.shape == (3, 7, 40) and order.shape == (3, 2)
    chosen = mask & (ids % 2 == 0)
    torch.testing.assert_close(model(ids, mask, positions=chosen).words, words[chosen])
    places = torch.tensor([8, 0, 8])  # flat: text 1's second token, text 0's first, again
    torch.testing.assert_close(
        model(ids, mask, positions=places).words, torch.stack([words[1, 1], words[0, 0]] * 2)[:3]
    )
    assert model(ids, mask, positions=torch.zeros_like(mask)).words.shape == (0, 40)


def test_word_head_and_embedding_are_one_matrix():
    model = AlbertPretraining(SMALL)
    shapes = [tuple(p.shape) for p in model.parameters()]
    assert shapes.count((40, 8)) == 1
    states = torch.zeros(1, 12)
    with torch.no_grad():
        model.word_norm.bias.copy_(torch.arange(8.0))
        model.word_norm.weight.zero_()
    expected = model.albert.words.weight @ torch.arange(8.0)
    torch.testing.assert_close(model.score_words(states)[0], expected)


@pytest.mark.parametrize("padded", [False, True])
def test_a_causal_model_does_not_see_what_follows(texts, padded):
    ids, mask = texts
    mask = mask if padded else None
    model = jolt(Albert(SMALL).double())
    before = model(ids, mask, causal=True).states
    changed = ids.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 40
    after = model(changed, mask, causal=True).states
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert not torch.allclose(after[0, 3:], before[0, 3:])
    assert not torch.allclose(model(changed, mask).states[0, :3], model(ids, mask).states[0, :3])
    torch.testing.assert_close(before[:1, :5], model(ids[:1, :5], None, causal=True).states)


@pytest.mark.parametrize("causal", [False, True])
def test_no_token_attends_to_one_that_the_mask_leaves_out(texts, causal):
    ids, mask = texts
    mask = mask.clone()
    mask[0, 2] = False  # amid the text
    maps = jolt(Albert(SMALL))(ids, mask, causal=causal, need_weights=True).weights
    allowed = mask[:, None].expand(3, 7, 7)
    allowed = allowed.tril() if causal else allowed
    for weights in maps:
        assert weights.gt(0).equal(allowed[:, None].expand_as(weights))


def test_a_shared_layers_gradient_is_the_sum_over_its_places(texts):
    ids, mask = texts
    shared = jolt(Albert(SMALL).double())
    apart = Albert(dataclasses.replace(SMALL, num_hidden_groups=4)).double().eval()
    for name, parameter in shared.named_parameters():
        for group in range(4):
            apart.get_parameter(
                name.replace("groups.0.", f"groups.{group}.")
            ).data = parameter.data.clone()
    assert len({id(layer) for layer in shared.layers}) == 1 and len(shared.layers) == 4
    assert len({id(layer) for layer in apart.layers}) == 4
    for model in (shared, apart):
        model(ids, mask).states[mask].square().sum().backward()
    for name, parameter in shared.groups[0].named_parameters():
        total = sum(apart.groups[g].get_parameter(name).grad for g in range(4))
        torch.testing.assert_close(parameter.grad, total)


def test_layers_stand_group_by_group():
    model = Albert(
        dataclasses.replace(
            SMALL, num_hidden_layers=6, num_hidden_groups=3, inner_group_num=2
        )
    )  # fmt: skip
    order = [(g, i) for g in range(3) for _ in range(2) for i in range(2)]
    assert [id(layer) for layer in model.layers] == [id(model.groups[g][i]) for g, i in order]


def parameters(model) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.equation("eq-factorised")
@pytest.mark.equation("eq-shared-parameters")
@pytest.mark.parametrize("config", [*albert.SIZES.values(), *map(random_config, range(20))])
def test_parameters_are_counted_as_in_transformers(config):
    with torch.device("meta"):
        theirs, bert = theirs_of(config, "Model"), theirs_of(config, "Model", prefix="Bert")
        ours = Albert(config)
    assert albert.parameter_count(config) == parameters(theirs) == parameters(ours)
    embedding = parameters(theirs.embeddings)
    embedding += parameters(theirs.encoder.embedding_hidden_mapping_in)
    assert albert.embedding_parameters(config) == embedding
    assert albert.embedding_parameters(config, factorised=False) == parameters(bert.embeddings)
    groups = theirs.encoder.albert_layer_groups
    assert albert.layer_parameters(config) == parameters(groups)
    layers = albert.layer_parameters(config, shared=False)
    assert layers == config.inner_group_num * parameters(bert.encoder)
    if config.inner_group_num == 1:
        count = albert.parameter_count(config, factorised=False, shared=False)
        assert count == parameters(bert)


# Lan et al. 2020, table 1, in millions. The largest two were rounded up there, or counted with
# more than the encoder: 60 for 58.7, and 235 for 222.6.
PUBLISHED = {"base": 12, "large": 18, "xlarge": 60, "xxlarge": 235}
PUBLISHED_BERT = {"base": 108, "large": 334}


def test_the_published_numbers_of_parameters():
    for size, millions in PUBLISHED.items():
        assert albert.parameter_count(albert.SIZES[size]) / 1e6 == pytest.approx(millions, rel=0.06)
    for size, millions in PUBLISHED_BERT.items():
        count = albert.parameter_count(albert.SIZES[size], factorised=False, shared=False)
        assert count / 1e6 == pytest.approx(millions, rel=0.011)


@pytest.mark.equation("eq-flops")
@pytest.mark.parametrize("seed", range(5))
def test_operations_are_those_that_torch_counts(seed):
    config = random_config(seed)
    time = config.max_position_embeddings - 1
    ids = torch.ones(1, time, dtype=torch.long)
    model, counter = Albert(config), FlopCounterMode(display=False)
    with counter:
        model.pool(model(ids, None, need_weights=True).states)
    assert albert.flops(config, time) == counter.get_total_flops()
    apart = dataclasses.replace(config, num_hidden_groups=config.num_hidden_layers)
    assert albert.flops(apart, time) == albert.flops(config, time)  # sharing saves none
    bert, counter = theirs_of(config, "Model", prefix="Bert"), FlopCounterMode(display=False)
    with counter:
        bert(ids)
    once = dataclasses.replace(config, inner_group_num=1)
    assert albert.flops(once, time, factorised=False) == counter.get_total_flops()


@pytest.mark.parametrize("time", [0, 17])
def test_operations_of_an_impossible_text(time):
    with pytest.raises(ValueError, match="1 to 16 tokens"):
        albert.flops(SMALL, time)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 0}, "at least 1"),
        ({"num_hidden_layers": -1}, "at least 1"),
        ({"num_attention_heads": 5}, "num_attention_heads=5 cannot share hidden_size=12"),
        ({"num_hidden_groups": 3}, "num_hidden_groups=3 cannot share num_hidden_layers=4"),
        ({"hidden_act": "swish"}, "hidden_act is one of gelu, .*got 'swish'"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob"),
        ({"attention_probs_dropout_prob": -0.1}, "attention_probs_dropout_prob"),
        ({"classifier_dropout_prob": float("nan")}, "classifier_dropout_prob"),
        ({"layer_norm_eps": 0.0}, "above 0"),
        ({"initializer_range": -0.02}, "above 0"),
        ({"pad_token_id": 40}, "pad_token_id=40 is not in a vocabulary of 40"),
    ],
)
def test_configurations_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)


ONES = torch.ones(2, 3, dtype=torch.long)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ONES[:0], None), "at least one token"),
        ((ONES[:, :0], None), "at least one token"),
        ((torch.ones(1, 17, dtype=torch.long), None), "17 tokens, but max_position_embeddings=16"),
        ((40 * ONES, None), r"0 to 39; got 40 … 40"),
        ((-ONES, ONES.bool()), r"0 to 39; got -1 … -1"),
        ((ONES, torch.tensor([[1, 1, 1], [0, 0, 0]]).bool()), "drop empty texts"),
        ((ONES, torch.tensor([[1, 1, 1], [0, 1, 1]]).bool()), "pad on the right"),
        ((ONES, None, 2 * ONES), r"token types run from 0 to 1; got 2 … 2"),
    ],
)
def test_texts_that_cannot_be_read_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AlbertClassifier(SMALL, 2)(*arguments)


def test_shapes_and_types_that_do_not_fit_are_refused():
    # The test run's own check of shapes would come first: call what stands behind it.
    check = Albert(SMALL)._checked
    with pytest.raises(ValueError, match=r"ids and mask are both \[B, T\]; got \[2, 3\] and \[2"):
        check(ONES, ONES[:, :2].bool(), None)
    with pytest.raises(ValueError, match="ids and token_types are both"):
        check(ONES, None, ONES[:1])
    with pytest.raises(TypeError, match="boolean, not torch.int64"):  # as tokenizers give it
        check(ONES, ONES, None)
    with pytest.raises(ValueError, match="at least 1"):
        AlbertClassifier(SMALL, 0)


def test_the_start_is_as_configured():
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL, vocab_size=2000, hidden_size=96, initializer_range=0.05)
    model = AlbertClassifier(config, 50)
    assert model.albert.words.weight[0].eq(0).all()
    for weight in (model.albert.words.weight[1:], model.albert.pooler.weight, model.output.weight):
        assert weight.std().item() == pytest.approx(0.05, rel=0.05)
        assert weight.mean().item() == pytest.approx(0, abs=0.003)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert parameter.eq(0).all()
        elif "norm" in name:
            assert parameter.eq(1).all()


def test_the_heads_of_pretraining_start_as_configured():
    torch.manual_seed(0)
    model = AlbertPretraining(dataclasses.replace(SMALL, hidden_size=120, initializer_range=0.5))
    for head in (model.word_dense, model.order):
        assert head.weight.std().item() == pytest.approx(0.5, rel=0.15) and head.bias.eq(0).all()


@pytest.mark.parametrize(
    "share", ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob"]
)
def test_each_dropout_acts_in_training_only(texts, share):
    none = {"classifier_dropout_prob": 0.0}
    model = jolt(AlbertClassifier(dataclasses.replace(SMALL, **(none | {share: 0.5})), 3))
    exact = AlbertClassifier(dataclasses.replace(SMALL, **none), 3).eval()
    exact.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(*texts), exact(*texts))
    model.train()
    assert not torch.allclose(model(*texts), model(*texts))
    exact.train()
    torch.testing.assert_close(exact(*texts), exact(*texts))


def test_dropout_of_the_embedding_and_of_the_order_head(texts):
    config = dataclasses.replace(SMALL, hidden_dropout_prob=0.5, embedding_size=400)
    torch.manual_seed(0)
    dropped = jolt(Albert(config)).train().embed(texts[0]).eq(0).double().mean()
    assert dropped.item() == pytest.approx(0.5, abs=0.03)
    model = jolt(AlbertPretraining(dataclasses.replace(SMALL, classifier_dropout_prob=0.5))).train()
    (words, order), (same, other) = model(*texts), model(*texts)
    torch.testing.assert_close(words, same)
    assert not torch.allclose(order, other)


def test_dropout_stands_before_the_heads_and_within_the_layers(texts):
    one, two = jolt(AlbertClassifier(SMALL, 3)).train(), jolt(AlbertPretraining(SMALL)).train()
    one.dropout.p = two.dropout.p = 1.0
    torch.testing.assert_close(one(*texts), one.output.bias.expand(3, 3))
    torch.testing.assert_close(two(*texts).order, two.order.bias.expand(3, 2))
    encoder = jolt(Albert(dataclasses.replace(SMALL, hidden_dropout_prob=0.5))).train()
    encoder.dropout.p = 0.0  # of the embedding; the layers' is left
    assert not torch.allclose(encoder(*texts).states, encoder(*texts).states)


def test_a_text_is_learned_with_the_common_loop():
    draw = random.Random(0)
    rows = [[2, *draw.choices(range(6, 40), k=draw.randint(2, 9)), 3] for _ in range(600)]
    labels = [int(n % 3 == 0) for n in range(600)]
    for row, label in zip(rows, labels, strict=True):
        row[draw.randrange(1, len(row) - 1)] = 4 + label
    torch.manual_seed(0)
    config = dataclasses.replace(
        SMALL, hidden_size=32, num_attention_heads=4, num_hidden_layers=2, initializer_range=0.1
    )
    model = AlbertClassifier(config, 2)
    data = [batches(rows[part], labels[part], token_budget=200)
            for part in (slice(500), slice(500, 600))]  # fmt: skip
    recipe = TrainConfig(epochs=5, lr=2e-3)
    history = fit_classifier(model, *data, recipe, progress=False)
    # Guessing the frequent class gives 0.67.
    assert max(history.validation["accuracy"]) > 0.95


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_the_exact_logits(texts, dtype):
    torch.manual_seed(0)
    model = AlbertClassifier(dataclasses.replace(SMALL, initializer_range=0.2), 3).eval().to(dtype)
    half = model(*texts)
    assert half.dtype == dtype
    torch.testing.assert_close(half.double(), model.double()(*texts), atol=0.05, rtol=0)
