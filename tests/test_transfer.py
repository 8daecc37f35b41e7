"""What is carried from one task to another, and exactly which parameters then learn."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from torch import nn

from tutorial_lib import data, transfer
from tutorial_lib.albert import AlbertClassifier, AlbertConfig
from tutorial_lib.attention import TransformerClassifier
from tutorial_lib.cnn import TextCNN
from tutorial_lib.finetuning import depths, parameter_groups
from tutorial_lib.rnn import RecurrentClassifier
from tutorial_lib.training import TrainConfig, predict_classes
from tutorial_lib.vocabulary import SPECIAL, Vocabulary

OLD = Vocabulary((*SPECIAL, "good", "bad", "film", "actor"))
NEW = Vocabulary((*SPECIAL, "knife", "bad", "sharp", "good", "blade"))
EXACT = {"rtol": 0, "atol": 0}


def lstm(words=12, classes=2):
    return RecurrentClassifier(words, classes, cell="lstm", embedding=6, hidden=5, dropout=0.0)


def transformer(words=12, classes=2):
    return TransformerClassifier(
        words, classes, dim=8, heads=2, layers=2, feedforward=16, dropout=0.0
    )


def cnn(words=12, classes=2):
    return TextCNN(words, classes, embedding=6, filters=4, dropout=0.0)


def albert(words=12, classes=2):
    return AlbertClassifier(
        AlbertConfig(
            vocab_size=words, embedding_size=8, hidden_size=16, num_hidden_layers=2,
            num_hidden_groups=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=16, classifier_dropout_prob=0.0, initializer_range=0.2,
        ),
        classes,
    )  # fmt: skip


FAMILIES = [cnn, lstm, transformer, albert]


def texts(rows=24, words=12, classes=2, seed=0):
    dice = np.random.default_rng(seed)
    ids = [dice.integers(2, words, dice.integers(1, 9)).astype(np.int32) for _ in range(rows)]
    return ids, np.arange(rows) % classes


def batches(rows=24, classes=2, **more):
    return data.batches(*texts(rows, classes=classes), token_budget=40, **more)


CONFIG = TrainConfig(2, lr=0.05, precision="no")


# Vocabulary


@pytest.mark.equation("eq-move-words")
@pytest.mark.parametrize("make", [cnn, lstm, transformer])
def test_each_word_keeps_its_vector_whatever_its_id(make):
    torch.manual_seed(0)
    model = make(len(OLD))
    rest = {n: p.clone() for n, p in model.state_dict().items() if not n.startswith("embedding")}
    table = next(part for part in model.modules() if isinstance(part, nn.Embedding))
    before = table.weight.detach().clone()
    found = transfer.move_words(model, OLD, NEW)
    assert found == transfer.Overlap(shared=2, new=3, lost=2)
    assert table.weight.shape == (len(NEW), before.shape[1])
    for token in (*SPECIAL, "good", "bad"):
        (to,), (origin,) = NEW.encode([token]), OLD.encode([token])
        torch.testing.assert_close(table.weight[to], before[origin], **EXACT)
    for name, old in rest.items():
        torch.testing.assert_close(model.state_dict()[name], old, **EXACT)
    model.eval()
    alone = model(torch.tensor([[6]]), torch.tensor([[True]]))  # the last new id is accepted
    padded = model(torch.tensor([[6, 0]]), torch.tensor([[True, False]]))
    torch.testing.assert_close(alone, padded)


def test_the_same_text_has_the_same_logits_in_both_vocabularies():
    torch.manual_seed(0)
    model = lstm(len(OLD)).eval()
    words = ["bad", "good", "never seen", "bad"]
    mask = torch.ones(1, 4, dtype=torch.bool)
    before = model(torch.tensor([OLD.encode(words)]), mask)
    transfer.move_words(model, OLD, NEW)
    torch.testing.assert_close(model(torch.tensor([NEW.encode(words)]), mask), before, **EXACT)
    wrong = model(torch.tensor([OLD.encode(words)]), mask)  # the old ids name other words now
    assert (wrong - before).abs().max() > 1e-3


@pytest.mark.equation("eq-move-words")
def test_new_words_are_drawn_like_the_old_ones():
    torch.manual_seed(0)
    old = Vocabulary((*SPECIAL, *(f"old{i}" for i in range(3000))))
    new = Vocabulary((*SPECIAL, *(f"new{i}" for i in range(3000))))
    model = lstm(len(old))
    with torch.no_grad():
        model.embedding.weight[2:] = 0.3 * torch.randn(3000, 6) + torch.arange(6.0)
    transfer.move_words(model, old, new)
    rows = model.embedding.weight[2:]
    torch.testing.assert_close(rows.mean(0), torch.arange(6.0), rtol=0, atol=0.03)
    torch.testing.assert_close(rows.std(0), torch.full((6,), 0.3), rtol=0.1, atol=0)


def test_a_frozen_table_stays_frozen_when_its_words_move():
    model = lstm(len(OLD))
    model.embedding.weight.requires_grad_(False)
    transfer.move_words(model, OLD, NEW)
    assert not model.embedding.weight.requires_grad and model.layer.weight_ih_l0.requires_grad


def test_another_models_vocabulary_is_refused():
    with pytest.raises(ValueError, match="not trained with this vocabulary"):
        transfer.move_words(lstm(9), OLD, NEW)
    with pytest.raises(ValueError, match="no word vectors"):
        transfer.move_words(albert(), OLD, NEW)


# Heads and features


@pytest.mark.parametrize("make", FAMILIES)
def test_the_head_on_the_features_gives_the_logits(make):
    torch.manual_seed(0)
    model = make(classes=3)
    model.train()
    head, ids = model.output, texts()[0]
    found = transfer.features(model, batches(classes=3))
    assert model.output is head and model.training
    model.eval()
    model.cpu()
    for sequence, row in zip(ids, head(found), strict=True):
        alone = torch.from_numpy(sequence)[None].long()
        torch.testing.assert_close(model(alone, alone > 0)[0], row)


def test_a_borrowed_head_is_given_back_after_an_error():
    model = lstm()
    own = model.output
    with pytest.raises(KeyError), transfer.another_head(model, nn.Identity()):
        raise KeyError
    assert model.output is own


def test_a_new_head_leaves_the_rest():
    model = lstm()
    before = {n: p.clone() for n, p in model.state_dict().items() if "output" not in n}
    assert transfer.new_head(model, 5) is model
    assert model.output.weight.shape == (5, 10)
    for name, old in before.items():
        torch.testing.assert_close(model.state_dict()[name], old, **EXACT)
    with pytest.raises(ValueError, match="two classes"):
        transfer.new_head(model, 1)


def test_kept_classes_have_the_old_logits_in_the_new_order():
    torch.manual_seed(0)
    model, (ids, mask) = (
        lstm(classes=4).eval(),
        (torch.randint(2, 12, (3, 5)), torch.ones(3, 5) > 0),
    )
    before = model(ids, mask)
    assert transfer.keep_classes(model, [2, 0]) is model
    torch.testing.assert_close(model(ids, mask), before[:, [2, 0]])
    for rows in ([0], [0, 0], [0, 2], [0, -1]):
        with pytest.raises(ValueError, match="of the classes 0 … 1"):
            transfer.keep_classes(model, rows)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_fitted_head_is_scikit_learns_logistic_regression(classes):
    torch.manual_seed(0)
    head = nn.Linear(10, classes)
    x, labels = torch.randn(60, 10) * torch.arange(1, 11) + 3, np.arange(60) % classes
    assert transfer.fit_head(head, x, labels, c=0.5) is head
    exact = x.double()
    scaled = ((exact - exact.mean(0)) / exact.std(0, correction=0)).numpy()
    reference = LogisticRegression(C=0.5, max_iter=1000).fit(scaled, labels)
    np.testing.assert_allclose(
        head(x).softmax(-1).detach().numpy(), reference.predict_proba(scaled), atol=1e-4
    )


def test_a_feature_that_is_the_same_in_all_texts_changes_nothing():
    torch.manual_seed(0)
    x, labels = torch.randn(60, 3), np.arange(60) % 2
    x[:, 1] = 3.0
    head = transfer.fit_head(nn.Linear(3, 2), x, labels, c=0.5)
    rest = transfer.fit_head(nn.Linear(2, 2), x[:, [0, 2]], labels, c=0.5)
    torch.testing.assert_close(head(x), rest(x[:, [0, 2]]), rtol=1e-4, atol=1e-4)


def test_few_labels_and_many_features_get_the_penalty_that_generalises():
    torch.manual_seed(0)
    labels = np.arange(1200) % 2
    x = torch.randn(1200, 200)
    x[:, :100] += 0.1 * torch.from_numpy(labels * 2.0 - 1)[:, None]  # half of them tell a little
    right = {}
    for c in (1.0, None):
        head = transfer.fit_head(nn.Linear(200, 2), x[:200], labels[:200], c)
        right[c] = (head(x[200:]).argmax(1).numpy() == labels[200:]).mean()
    assert right[None] > right[1.0] + 0.01
    with pytest.raises(ValueError, match="two examples of each"):
        transfer.fit_head(nn.Linear(200, 2), x[:3], labels[:3])


@pytest.mark.parametrize(
    ("labels", "got"),
    [
        ([0, 1], "2 with the classes 0, 1$"),
        ([0] * 4, "4 with the classes 0$"),
        ([0, 1, 2, 1], "4 with the classes 0, 1, 2$"),
    ],
)
def test_labels_that_do_not_fit_the_head_are_refused(labels, got):
    with pytest.raises(
        ValueError, match=f"need 4 labels with each of the classes 0 … 1; got {got}"
    ):
        transfer.fit_head(nn.Linear(10, 2), torch.randn(4, 10), labels)


def test_features_that_do_not_fit_the_head_are_refused():
    x, labels = torch.randn(4, 10), [0, 1, 0, 1]
    head = nn.Linear(9, 2)
    with pytest.raises(ValueError, match="reads 9 features, a text has 10"):
        transfer.fit_head(head, x, labels)
    for value in (torch.nan, torch.inf):
        x[2, 3] = value
        with pytest.raises(ValueError, match="NaN or infinite"):
            transfer.fit_head(nn.Linear(10, 2), x, labels)


def test_a_model_without_a_head_is_refused():
    bare = nn.Sequential(nn.Embedding(5, 3))
    without = lstm()
    without.output = nn.Identity()
    unbiased = lstm()
    unbiased.output = nn.Linear(10, 2, bias=False)
    for model in (bare, without, unbiased):
        with pytest.raises(ValueError, match="no linear layer called `output`"):
            transfer.features(model, batches())
        with pytest.raises(ValueError, match="no linear layer called `output`"):
            transfer.new_head(model, 2)
        with pytest.raises(ValueError, match="no linear layer called `output`"):
            transfer.keep_classes(model, [0, 1])
        with pytest.raises(ValueError, match="no linear layer called `output`"):
            transfer.adapt(model, "features", batches(), CONFIG)
    with pytest.raises(ValueError, match="no bias"):
        transfer.fit_head(unbiased.output, torch.randn(4, 10), [0, 1, 0, 1])


# What learns


@pytest.mark.parametrize("make", FAMILIES)
def test_unfreezing_goes_from_the_head_down(make):
    model = make()
    depth = depths(model)
    top = max(depth.values())
    assert {n for n, d in depth.items() if d == 0} >= {n for n in depth if "embedding" in n}
    for count in range(1, top + 2):
        names = transfer.unfreeze(model, count)
        learning = {n for n, p in model.named_parameters() if p.requires_grad}
        assert set(names) == learning == {n for n, d in depth.items() if d > top - count}
    assert learning == set(depth)
    for count in (0, top + 2):
        with pytest.raises(ValueError, match="depths"):
            transfer.unfreeze(model, count)


def test_depths_of_each_family():
    """Embedding, then layers as the forward pass runs through them, then the head."""
    assert max(depths(cnn()).values()) == max(depths(lstm()).values()) == 2
    two = depths(transformer())
    assert two["embedding.weight"] == 0 and two["encoder.layers.0.inner.weight"] == 1
    assert two["encoder.layers.1.inner.weight"] == two["encoder.norm.weight"] == 2
    assert two["output.weight"] == 3
    groups = depths(albert())
    assert groups["albert.mapping.weight"] == groups["albert.words.weight"] == 0
    assert groups["albert.groups.1.0.inner.weight"] == 2
    assert groups["albert.pooler.weight"] == groups["output.bias"] == 3
    with pytest.raises(ValueError, match="output"):
        depths(nn.Linear(2, 2))


@pytest.mark.parametrize("make", FAMILIES)
def test_frozen_parameters_are_bit_identical_after_training(make):
    torch.manual_seed(0)
    model = make()
    before = copy.deepcopy(dict(model.named_parameters()))
    learning = set(transfer.unfreeze(model, 2))
    optimizer = torch.optim.AdamW(model.parameters(), 0.1, weight_decay=0.5)  # even so
    for batch in batches():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch["ids"], batch["mask"]), batch["labels"]).backward()
        optimizer.step()
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == learning


@pytest.mark.equation("eq-layer-rates")
@pytest.mark.parametrize("make", FAMILIES)
def test_each_depth_moves_by_its_own_rate(make):
    """Adam's first step is the rate times the gradient's sign, where that is not tiny."""
    torch.manual_seed(0)
    model = make()
    before = copy.deepcopy(dict(model.named_parameters()))
    depth, lr, decay = depths(model), 1e-3, 0.5
    top = max(depth.values())
    groups = parameter_groups(model, lr, decay=decay, weight_decay=0.0)
    optimizer = torch.optim.AdamW(groups, eps=1e-12)
    (batch,) = data.batches(*texts(), token_budget=400)
    nn.functional.cross_entropy(model(batch["ids"], batch["mask"]), batch["labels"]).backward()
    optimizer.step()
    seen = set()
    for name, parameter in model.named_parameters():
        felt = parameter.grad.abs() > 1e-6
        step = (parameter - before[name]).abs()[felt]
        if len(step):
            seen.add(depth[name])
            expected = torch.full_like(step, lr * decay ** (top - depth[name]))
            torch.testing.assert_close(step, expected, rtol=1e-2, atol=1e-7, msg=name)
    assert seen == set(range(top + 1))


# Strategies


def recorded(monkeypatch):
    """What learns in each training that `adapt` starts, and for how many epochs.

    In each, all that learns must move, and all else must stay bit for bit.
    """
    stages = []
    real = transfer.training.fit_classifier

    def spy(model, batches, validation, config, **more):
        names = {n for n, p in model.named_parameters() if p.requires_grad}
        rates = {p: g["lr"] for g in more["optimizer"] for p in g["params"]}
        stages.append((names, config.epochs, rates))
        before = copy.deepcopy(dict(model.named_parameters()))
        real(model, batches, validation, config, **more)
        assert names == {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}

    monkeypatch.setattr(transfer.training, "fit_classifier", spy)
    return stages


@pytest.mark.parametrize("make", FAMILIES)
def test_gradual_unfreezing_adds_a_depth_after_each_pass(make, monkeypatch):
    torch.manual_seed(0)
    model, stages = make(), recorded(monkeypatch)
    depth = depths(model)
    top = max(depth.values())
    transfer.adapt(model, "gradual", batches(), CONFIG, decay=0.5)
    assert [epochs for _, epochs, _ in stages] == [1] * top + [2]
    for count, (names, _, rates) in enumerate(stages, 1):
        assert names == {n for n, d in depth.items() if d > top - count}
        expected = {p: 0.05 * 0.5 ** (top - depth[n]) for n, p in model.named_parameters()}
        assert set(rates) == {p for n, p in model.named_parameters() if n in names}
        for parameter, rate in rates.items():
            assert rate == pytest.approx(expected[parameter])
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("make", FAMILIES)
def test_the_full_strategy_moves_everything(make):
    torch.manual_seed(0)
    model = make()
    before = copy.deepcopy(dict(model.named_parameters()))
    transfer.adapt(model, "full", batches(), CONFIG)
    still = {n for n, p in model.named_parameters() if torch.equal(p, before[n])}
    assert not still


@pytest.mark.parametrize("make", FAMILIES)
def test_features_move_the_head_only(make):
    torch.manual_seed(0)
    model = make()
    before = copy.deepcopy(dict(model.named_parameters()))
    transfer.adapt(model, "features", batches(), CONFIG)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"output.weight", "output.bias"}
    x, labels = transfer.features(model, batches()).double(), texts()[1]
    right = (predict_classes(model, batches()) == labels).mean()
    own = GridSearchCV(
        LogisticRegression(max_iter=1000), {"C": [1e-4, 1e-3, 1e-2, 0.1, 1.0]},
        scoring="neg_log_loss",
    )  # fmt: skip
    scaled = ((x - x.mean(0)) / x.std(0, correction=0)).numpy()
    own.fit(scaled, labels)
    assert right == (own.predict(scaled) == labels).mean()


@pytest.mark.parametrize("make", [transformer, albert])
def test_low_rank_changes_have_their_rank_and_are_merged(make):
    torch.manual_seed(0)
    model = make()
    before = copy.deepcopy(dict(model.named_parameters()))
    transfer.adapt(model, "lora", batches(), CONFIG, rank=2)
    changes = {
        n: p - before[n] for n, p in model.named_parameters() if not torch.equal(p, before[n])
    }
    adapted = {n for n in before if n.endswith(("query.weight", "value.weight"))}
    assert set(changes) == adapted | {"output.weight", "output.bias"}
    for name in adapted:
        assert torch.linalg.matrix_rank(changes[name], rtol=1e-4) <= 2, name
    assert all(p.requires_grad for p in model.parameters())


def test_an_interrupted_adaptation_leaves_a_plain_model_that_can_learn(monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer.training, "fit_classifier", stop)
    model = transformer()
    names = [name for name, _ in model.named_parameters()]
    for strategy in ("lora", "gradual"):
        with pytest.raises(KeyboardInterrupt):
            transfer.adapt(model, strategy, batches(), CONFIG)
        assert [name for name, _ in model.named_parameters()] == names
        assert all(p.requires_grad for p in model.parameters())


def test_what_was_frozen_before_stays_frozen_after_an_error():
    model = lstm()
    model.embedding.weight.requires_grad_(False)
    with pytest.raises(ValueError, match="no linear layer"):
        transfer.adapt(model, "lora", batches(), CONFIG)
    with pytest.raises(ValueError, match="strategy is one of full"):
        transfer.adapt(model, "everything", batches(), CONFIG)
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"embedding.weight"}


@pytest.mark.parametrize("strategy", ["full", "gradual"])
def test_what_was_frozen_before_does_not_move(strategy):
    torch.manual_seed(0)
    model = lstm()
    model.embedding.weight.requires_grad_(False)
    before = {name: p.clone() for name, p in model.named_parameters()}
    transfer.adapt(model, strategy, batches(), CONFIG)
    same = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    assert same == {"embedding.weight"}


def test_unfreezing_passes_over_a_depth_that_is_frozen_for_good(monkeypatch):
    torch.manual_seed(0)
    model, stages = lstm(), recorded(monkeypatch)
    model.output.requires_grad_(False)
    transfer.adapt(model, "gradual", batches(), CONFIG)
    layer = {name for name in depths(model) if depths(model)[name] == 1}
    assert [names for names, _, _ in stages] == [layer, layer | {"embedding.weight"}]


def test_one_alpha_serves_all_ranks(monkeypatch):
    scales = []
    merge = transfer.lora.merge

    def noting(model):
        scales.extend({m.scale for m in model.modules() if hasattr(m, "scale")})
        merge(model)

    monkeypatch.setattr(transfer.lora, "merge", noting)
    for rank in (2, 4):
        transfer.adapt(transformer(), "lora", batches(), CONFIG, rank=rank, alpha=4.0)
    assert scales == [2.0, 1.0]


# Forgetting and distance


@pytest.mark.equation("eq-forgetting")
def test_forgetting_is_measured_with_the_sources_head():
    torch.manual_seed(0)
    before = lstm()
    transfer.adapt(before, "full", batches(), TrainConfig(30, lr=0.05, precision="no"))
    right = (predict_classes(before, batches()) == texts()[1]).mean()
    assert right > 0.8  # learned by heart
    same = transfer.new_head(copy.deepcopy(before), 2)
    assert transfer.forgetting(before, same, batches()) == 0  # whatever its own head says
    gone = copy.deepcopy(before)
    with torch.no_grad():
        for parameter in gone.layer.parameters():
            parameter.zero_()  # one answer for every text
    head, ordered = gone.output, batches()
    assert transfer.forgetting(before, gone, ordered) == pytest.approx(right - 0.5)
    assert gone.output is head


@pytest.mark.equation("eq-proxy-a-distance")
def test_the_distance_at_its_ends():
    assert transfer.proxy_a_distance(0.0) == 2 and transfer.proxy_a_distance(0.5) == 0
    assert transfer.proxy_a_distance(0.25) == 1
    assert transfer.proxy_a_distance(0.6) == 0  # worse than chance is chance
    with pytest.raises(ValueError, match="error rate"):
        transfer.proxy_a_distance(1.5)


def test_domains_with_words_of_their_own_are_far_and_one_domain_is_near_itself():
    dice = np.random.default_rng(0)

    def write(words, count=200):
        return [" ".join(dice.choice(words, 8)) for _ in range(count)]

    common = [f"c{i}" for i in range(40)]
    film, kitchen = [f"f{i}" for i in range(40)], [f"k{i}" for i in range(40)]
    assert transfer.domain_distance(write(film), write(kitchen)) > 1.95
    assert transfer.domain_distance(write(common), write(common)) < 0.35
    escaped = [f"&#39;{string}&#39;" for string in write(common)]  # other spellings are no domain
    assert transfer.domain_distance(escaped, [f"'{s}'" for s in write(common)]) < 0.35
    some = transfer.domain_distance(write(common + film[:4]), write(common + kitchen[:4]))
    assert 0.5 < some < 1.9
    many, few = write(common, 800), write(common, 200)
    assert transfer.domain_distance(many, few) < 0.35  # the greater share alone tells nothing
    pair = write(common + film[:4]), write(common + kitchen[:4], 100)
    one, again, two = (transfer.domain_distance(*pair, seed=seed) for seed in (1, 1, 2))
    assert one == again != two
    with pytest.raises(ValueError, match="ten texts"):
        transfer.domain_distance(write(film), write(film, 5))


def test_low_rank_changes_and_head_have_one_rate(monkeypatch):
    model, stages = transformer(), recorded(monkeypatch)
    transfer.adapt(model, "lora", batches(), CONFIG, decay=0.5, rank=2)
    ((_, epochs, rates),) = stages
    assert epochs == CONFIG.epochs and set(rates.values()) == {CONFIG.lr}


def test_the_weight_decay_is_that_of_the_configuration(monkeypatch):
    groups = []
    monkeypatch.setattr(
        transfer.training, "fit_classifier", lambda *_, optimizer, **__: groups.extend(optimizer)
    )
    config = dataclasses.replace(CONFIG, weight_decay=0.3)
    transfer.adapt(lstm(), "full", batches(), config)
    assert {group["weight_decay"] for group in groups} == {0.0, 0.3}


def test_each_stage_of_unfreezing_has_its_own_dropout(monkeypatch):
    seeds = []
    monkeypatch.setattr(
        transfer.training, "fit_classifier", lambda m, b, v, config, **_: seeds.append(config.seed)
    )
    transfer.adapt(lstm(), "gradual", batches(), CONFIG)
    assert len(set(seeds)) == len(seeds) == 3
