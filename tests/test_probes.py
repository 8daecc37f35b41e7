"""What is asked of an ALBERT, on models and texts whose answer is known."""

import dataclasses

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional as F

from tutorial_lib import finetuning, probes
from tutorial_lib.albert import (
    SIZES,
    Albert,
    AlbertClassifier,
    AlbertConfig,
    AlbertPretraining,
    Pretrained,
)
from tutorial_lib.pretraining import CLS, SEP, Phase, PretrainConfig

NAMES = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "▁one", "▁two", "▁three", "▁four", "s", "."]
CONFIG = AlbertConfig(
    vocab_size=len(NAMES), embedding_size=8, hidden_size=16, num_hidden_layers=4,
    num_attention_heads=2, intermediate_size=32, max_position_embeddings=64,
    initializer_range=0.2,
)  # fmt: skip


@pytest.fixture
def tokenizer():
    made = Tokenizer(models.WordLevel({n: i for i, n in enumerate(NAMES)}, unk_token="<unk>"))
    made.add_special_tokens(NAMES[:5])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )  # fmt: skip
    return made


def a_model(kind=AlbertPretraining, *more):
    torch.manual_seed(0)
    return kind(CONFIG, *more)


def test_packed_texts_are_read_in_their_order_and_end_with_a_mark(tokenizer):
    plan = PretrainConfig(1, (Phase("causal", 1.0, 16),), tokens=64)
    packed = probes.pack(["one two.", "three four."] * 10, tokenizer, plan)
    assert packed.tokens[:8].tolist() == [5, 6, 10, SEP, 7, 8, 10, SEP]
    assert packed.starts[5:].tolist() == [True] * 4 + [False, True]  # "s" goes on with a word
    assert packed.batch(0)["ids"].shape == (4, 16)


def test_a_curve_has_the_measurements_among_all_lines(tmp_path):
    lines = [
        '{"tokens": 10, "loss": 3}',
        '{"tokens": 20, "nats": 2.5}',
        '{"tokens": 30, "nats": 2.0}',
    ]
    (tmp_path / "curve.jsonl").write_text("\n".join(lines) + "\n")
    assert probes.recorded_curve(tmp_path, "nats") == ([20, 30], [2.5, 2])


def test_a_blank_is_filled_with_probabilities_of_its_own_place(tokenizer):
    model = a_model()
    found = probes.fill_blank(model, tokenizer, "one [MASK] three.")
    ids = torch.tensor([tokenizer.encode("one [MASK] three.").ids])
    place = ids[0].tolist().index(4)
    torch.testing.assert_close(found, model(ids, None).words[0, place].softmax(0).detach())
    with pytest.raises(ValueError, match="one \\[MASK\\]"):
        probes.fill_blank(model, tokenizer, "one two.")


def test_halves_follow_one_another_and_hold_all_of_it():
    text = "This is one sentence. Here is another one! Is this the third? Now comes the fourth."
    (pair,) = probes.halves([text, "Too short. This one too.", "No. But this is longer. A. B."])
    assert pair == (text[: text.index(" Is")], text[text.index("Is") :])
    assert probes.halves([text + " And a fifth, for good."], 4) == [pair]


def test_a_model_that_always_says_as_it_stood_is_right_where_the_coin_let_it_stand(tokenizer):
    model, pairs = a_model(), [("one two.", "three."), ("four.", "one.")] * 50
    found = []
    for bias in ([1.0, 0.0], [0.0, 1.0]):
        with torch.no_grad():
            model.order.weight.zero_()
            model.order.bias.copy_(torch.tensor(bias))
        found.append(probes.order_told(model, tokenizer, pairs))
    assert (found[0] + found[1] == 1).all() and 30 < found[0].sum() < 70


def test_a_model_that_knows_the_order_is_always_right(tokenizer):
    class Knows(AlbertPretraining):
        def forward(self, ids, mask, types):
            assert types[0, 1] == 0 and types[0, -2] == 1
            swapped = (ids[:, 1] != 5).long()  # each first half begins with "one"
            return Pretrained(torch.zeros(1), F.one_hot(swapped, 2).float())

    pairs = [("one two.", "three."), ("one.", "four two.")] * 10
    assert probes.order_told(Knows(CONFIG), tokenizer, pairs).all()


def test_what_is_likely_at_several_blanks_is_compared_at_the_same_tokens(tokenizer):
    model, texts = a_model(), {"a": "one [MASK] three.", "b": "four [MASK]"}
    tokens, likely = probes.likeliest(model, tokenizer, texts, 2)
    assert 2 <= len(tokens) <= 4 and len(set(tokens)) == len(tokens)
    for name, text in texts.items():
        p = probes.fill_blank(model, tokenizer, text)
        assert likely[name] == [p[tokenizer.token_to_id(token)].item() for token in tokens]
        assert p.max().item() == max(likely[name])


def test_questions_are_put_without_dropout_and_leave_the_mode_as_it_was(tokenizer):
    model, ids = finetuning.set_dropout(a_model(), 0.5), torch.tensor([[2, 5, 6, 3]])
    pairs = [("one two.", "three."), ("four.", "one.")] * 20
    for ask in (
        lambda: probes.fill_blank(model, tokenizer, "one [MASK] three."),
        lambda: torch.stack(probes.layer_changes(model.albert, ids, ids > 0)),
        lambda: torch.from_numpy(probes.order_told(model, tokenizer, pairs)),
    ):
        assert torch.equal(ask(), ask()) and model.training


def test_layers_that_add_nothing_change_nothing_but_the_norm():
    encoder = a_model(Albert)
    layer = encoder.layers[0]
    with torch.no_grad():
        for part in (layer.attention.output, layer.outer):
            part.weight.zero_()
            part.bias.zero_()
    ids = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
    changes = probes.layer_changes(encoder, ids, ids > 0)
    # The first layer brings the states to length 4, the root of H; the others find them so.
    assert changes.distance[0] > 0.1
    torch.testing.assert_close(changes.distance[1:], torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(changes.cosine[1:], torch.ones(3))
    alt = probes.layer_picture({"still": changes}, caption="c").alt
    assert "still: distance" in alt and "cosine" in alt


def test_padding_has_no_part_in_what_layers_change():
    encoder, ids = a_model(Albert), torch.tensor([[2, 7, 3, 0, 0]])
    short, long = (probes.layer_changes(encoder, i, i > 0) for i in (ids[:, :3], ids))
    torch.testing.assert_close(short, long)


def test_likeness():
    assert probes.likeness(torch.tensor([[1.0, 1.0], [3.0, 3.0], [0.1, 0.1]])) == pytest.approx(1)
    assert probes.likeness(torch.eye(5)) == pytest.approx(0)
    assert probes.likeness(torch.tensor([[1.0, 0.0], [1.0, 1.0]])) == pytest.approx(2**-0.5)
    with pytest.raises(ValueError, match="two vectors"):
        probes.likeness(torch.eye(1))


def test_attention_matrices_get_the_rank_and_the_model_stays():
    model = a_model(AlbertClassifier, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cut = probes.with_attention_of_rank(model, 3)
    attention = cut.albert.layers[0].attention
    for part in (attention.query, attention.key, attention.value, attention.output):
        assert torch.linalg.matrix_rank(part.weight, rtol=1e-4) == 3
    whole = probes.with_attention_of_rank(model, CONFIG.hidden_size)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
        torch.testing.assert_close(whole.state_dict()[name], tensor, atol=1e-5, rtol=1e-4)


def test_no_matrix_of_that_rank_is_nearer():
    model = a_model(AlbertClassifier, 2)
    cut = probes.with_attention_of_rank(model, 3)
    for part in ("query", "key", "value", "output"):
        name = f"albert.groups.0.0.attention.{part}.weight"
        whole, low = (m.get_parameter(name).detach() for m in (model, cut))
        rest = torch.linalg.svdvals(whole)[3:]  # Eckart and Young: what has to be lost
        torch.testing.assert_close((whole - low).norm(), rest.norm())


def test_a_deeper_model_takes_longer_and_keeps_a_state_for_each_layer_though_all_are_shared():
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 2}
    costs = [
        probes.step_cost(AlbertConfig(vocab_size=50, num_hidden_layers=n, **sizes))
        for n in (1, 2, 24)
    ]
    assert 0 < 3 * costs[0].seconds < costs[2].seconds
    one, two, many = (cost.states for cost in costs)
    assert many - one == 23 * (two - one)
    # At least what enters a layer, the feed-forward's inner states before and after the
    # activation, and what its second part reads, in two bytes each.
    assert two - one > 2 * 128 * (128 + 512 + 512 + 128)


def test_the_states_are_as_many_whether_layers_share_their_weights_or_not():
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 2}
    shared, own = (
        probes.step_cost(AlbertConfig(vocab_size=50, num_hidden_layers=4, **sizes, **groups), 32)
        for groups in ({}, {"num_hidden_groups": 4})
    )
    assert shared.states == own.states
    longer = probes.step_cost(AlbertConfig(vocab_size=50, num_hidden_layers=4, **sizes), 64)
    # Nothing that is there whatever the length; the attention maps grow with its square.
    assert 2 <= longer.states / shared.states < 2.1


def test_a_size_is_one_line_with_the_counts_of_both_models():
    line = probes.size_line("base", SIZES["base"], measured=False)
    # Lan et al. 2020, table 1: 12 and 108 million, within what the paper rounds.
    own, bert = (int(n.replace(",", "")) / 1e6 for n in line.split()[1:3])
    assert own == pytest.approx(12, abs=0.5) and bert == pytest.approx(108, abs=1.5)
    assert line.endswith("not measured")
    longer = dataclasses.replace(CONFIG, max_position_embeddings=128)
    assert probes.size_line("tiny", longer, measured=True).endswith(" MB")
