"""Texts cut to head and tail, rates by depth, and the model that ships with the package."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from tutorial_lib import data, hub
from tutorial_lib.albert import AlbertClassifier, AlbertConfig
from tutorial_lib.finetuning import encode, parameter_groups, set_dropout
from tutorial_lib.training import TrainConfig, fit_classifier, predict_classes

SPECIAL = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
CLS, SEP = 2, 3


def tokenizer(special=SPECIAL):
    """Words 0 to 99; the id of word i is 5 + i."""
    names = [*special, *map(str, range(100))]
    vocabulary = {name: place for place, name in enumerate(names)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def numbers(count):
    return " ".join(map(str, range(count)))


def config(**more):
    return AlbertConfig(
        vocab_size=105, embedding_size=8, hidden_size=16, num_hidden_layers=4,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=16,
        classifier_dropout_prob=0.0, initializer_range=0.2, **more,
    )  # fmt: skip


def test_a_text_that_fits_stays_whole_between_its_marks():
    short, full, empty = encode([numbers(3), numbers(8), ""], tokenizer(), 10)
    assert short.tolist() == [CLS, 5, 6, 7, SEP] and short.dtype == np.int32
    assert full.tolist() == [CLS, *range(5, 13), SEP]
    assert empty.tolist() == [CLS, SEP]


@pytest.mark.parametrize("head, first", [(0.25, 2), (0.5, 4), (1.0, 8), (0.0, 0)])
def test_of_a_long_text_the_middle_goes(head, first):
    (ids,) = encode([numbers(100)], tokenizer(), 10, head=head)
    words = [*range(100)[:first], *range(100)[100 - (8 - first) :]]
    assert ids.tolist() == [CLS, *(5 + word for word in words), SEP]


def test_the_published_lengths_are_those_of_the_paper():
    # Sun et al. 2019, section 5.3.1: the first 128 and the last 382 of 510 tokens.
    (ids,) = encode([" ".join(["1"] * 600 + ["2"] * 382)], tokenizer(), 512)
    assert (ids == 6).sum() == 128 and (ids == 7).sum() == 382


def test_marks_of_a_page_are_no_words():
    plain, page = encode(["1 2 3", "1<br /><br />2&nbsp;3"], tokenizer(), 10)
    assert plain.tolist() == page.tolist()


def test_many_texts_keep_their_order():
    ids = encode((str(row % 100) for row in range(2500)), tokenizer(), 5)
    assert [row[1] - 5 for row in ids] == [row % 100 for row in range(2500)]


@pytest.mark.parametrize(
    "change, says",
    [
        ({"max_length": 2}, "3 or more"),
        ({"head": 1.5}, "a share"),
        ({"tokenizer": tokenizer(["<pad>", "<unk>"])}, "no \\[CLS\\]"),
    ],
)
def test_what_cannot_be_encoded_is_named(change, says):
    arguments = {"tokenizer": tokenizer(), "max_length": 10} | change
    with pytest.raises(ValueError, match=says):
        encode(["1 2"], **arguments)


def test_one_string_is_not_taken_for_a_list_of_letters():
    with pytest.raises(TypeError, match="list of one"):
        encode("1 2", tokenizer(), 10)


def test_a_tokenizer_that_cuts_by_itself_is_refused():
    cuts = tokenizer()
    cuts.enable_truncation(4)  # it would drop the end before we see it
    with pytest.raises(ValueError, match="no_truncation"):
        encode([numbers(9)], cuts, 6)


@pytest.mark.equation("eq-layer-rates")
def test_the_rate_falls_from_each_depth_to_the_one_below():
    model = AlbertClassifier(config(num_hidden_groups=2), 3)
    groups = parameter_groups(model, 1e-3, decay=0.5)
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    expected = {"words": 1.25e-4, "mapping": 1.25e-4, "groups.0": 2.5e-4, "groups.1": 5e-4}
    expected = {f"albert.{name}": value for name, value in expected.items()}
    for name, parameter in model.named_parameters():
        wanted = [value for start, value in expected.items() if name.startswith(start)] or [
            1e-3 if name.startswith(("albert.pooler", "output")) else 1.25e-4
        ]
        assert rate[id(parameter)] == pytest.approx(wanted[0]), name


@pytest.mark.equation("eq-layer-rates")
def test_shared_layers_have_one_rate_however_many_they_are():
    rates = {g["lr"] for g in parameter_groups(AlbertClassifier(config(), 2), 1e-3, decay=0.1)}
    assert sorted(rates) == pytest.approx([1e-5, 1e-4, 1e-3])


def test_each_parameter_is_in_one_group_and_vectors_do_not_decay():
    model = AlbertClassifier(config(), 2)
    model.albert.positions.requires_grad_(False)
    groups = parameter_groups(model, 1e-3, weight_decay=0.1)
    listed = [id(p) for group in groups for p in group["params"]]
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    assert len(listed) == len(set(listed)) and set(listed) == trainable
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            assert decay[id(module.weight)] == decay[id(module.bias)] == 0
        if isinstance(module, torch.nn.Linear):
            assert (decay[id(module.weight)], decay[id(module.bias)]) == (0.1, 0)


@pytest.mark.parametrize("lr, decay", [(0.0, 1.0), (1e-3, 0.0), (1e-3, 1.5)])
def test_rates_that_cannot_be_are_named(lr, decay):
    with pytest.raises(ValueError, match="at most 1"):
        parameter_groups(AlbertClassifier(config(), 2), lr, decay=decay)


def test_a_wholly_frozen_model_is_named():
    with pytest.raises(ValueError, match="no parameter"):
        parameter_groups(AlbertClassifier(config(), 2).requires_grad_(False), 1e-3)


def test_dropout_is_set_for_training_and_off_in_evaluation():
    model, ids = AlbertClassifier(config(), 2), torch.tensor([[2, 5, 6, 3]])
    assert torch.equal(model(ids, None), model(ids, None))  # the configuration has none
    assert set_dropout(model, 0.5) is model
    assert not torch.equal(model(ids, None), model(ids, None))
    model.eval()
    assert torch.equal(model(ids, None), model(ids, None))
    with pytest.raises(ValueError, match="below 1"):
        set_dropout(model, 1.0)


def test_what_stands_at_the_end_of_long_texts_is_learned_with_it_and_lost_without():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 300)
    texts = [
        " ".join(map(str, [*random.integers(10, 100, 40), label])) for label in labels
    ]  # the last word decides
    right = {}
    for head in (1.0, 0.25):
        ids = encode(texts, tokenizer(), 12, head=head)
        torch.manual_seed(0)
        model = AlbertClassifier(config(), 2)
        train = data.batches(ids[:200], labels[:200], token_budget=240)
        settings = TrainConfig(epochs=15, schedule="linear", warmup=0.1, precision="no")
        groups = parameter_groups(model, 3e-3, decay=0.7)
        fit_classifier(model, train, None, settings, optimizer=groups, progress=False)
        says = predict_classes(model, data.batches(ids[200:], shuffle=False))
        right[head] = (says == labels[200:]).mean()
    assert right[1.0] < 0.7 < 0.95 < right[0.25]


def test_the_models_own_name_loads_it_with_its_tokenizer():
    loaded = hub.load("mini-albert", AlbertClassifier, classes=3)
    assert loaded.new == ("classifier",)
    (ids,) = encode(["A fine film."], loaded.tokenizer, 32)
    assert (ids[0], ids[-1]) == (CLS, SEP) and len(ids) > 4
    assert loaded.model(torch.tensor(ids[None], dtype=torch.int64), None).shape == (1, 3)
    size = sum(file.stat().st_size for file in hub.MINI.iterdir())
    assert size <= 12e6


def test_rows_of_its_training_reached_every_position_of_the_model():
    plan = json.loads((hub.MINI / "training.json").read_text(encoding="utf-8"))["plan"]
    longest = max(phase["length"] for phase in plan["text"]["phases"])
    assert longest == hub.load("mini-albert").model.config.max_position_embeddings
