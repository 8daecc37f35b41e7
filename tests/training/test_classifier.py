"""Fitting and predicting with any model of (ids, mask) to logits."""

import numpy as np
import pytest
import torch
from torch import nn

from tutorial_lib import data
from tutorial_lib.text import UNK
from tutorial_lib.training import TrainConfig, fit_classifier, predict_classes

TEXTS = [
    [2 + row % 3, *[5] * ((row % 3) ** 2 + row % 5)] for row in range(90)
]  # the first token is the class
LABELS = [row % 3 for row in range(90)]


class Bag(nn.Module):
    """The sum of a text's token scores; keeps the ids that it was trained on."""

    def __init__(self):
        super().__init__()
        self.scores, self.seen = nn.Embedding(6, 3), []
        nn.init.zeros_(self.scores.weight)

    def forward(self, ids, mask):
        if self.training:
            self.seen.append(ids[mask])
        return (self.scores(ids) * mask[..., None]).sum(1)


def both():
    return data.batches(TEXTS, LABELS, token_budget=60), data.batches(TEXTS, LABELS, shuffle=False)


def test_a_set_that_can_be_learned_is_learned_and_predicted_in_order():
    model, (train, validation) = Bag(), both()
    config = TrainConfig(epochs=10, lr=0.1, monitor="min loss")
    history = fit_classifier(model, train, validation, config, progress=False)
    assert history.validation["accuracy"][history.best_epoch] == 1.0
    predicted = predict_classes(model, data.batches(TEXTS, token_budget=30))
    assert predicted.dtype == np.int64
    assert predicted.tolist() == LABELS


def test_the_loss_is_the_smoothed_cross_entropy():
    whole = data.batches(TEXTS, LABELS, token_budget=10_000)
    config = TrainConfig(epochs=2, lr=0.1, weight_decay=0.01, precision="no")
    history = fit_classifier(Bag(), whole, whole, config, smoothing=0.3, progress=False)
    assert history.loss[0] == pytest.approx(np.log(3), rel=1e-5)  # all scores are 0
    expected, batch = Bag(), next(iter(whole))
    optimizer = torch.optim.AdamW(expected.parameters(), lr=0.1, weight_decay=0.01)

    def loss():
        logits = expected(batch["ids"], batch["mask"])
        return nn.functional.cross_entropy(logits, batch["labels"], label_smoothing=0.3)

    loss().backward()
    optimizer.step()
    assert history.loss[1] == pytest.approx(loss().item(), rel=1e-5)


def test_in_half_precision_the_loss_is_that_of_its_logits_in_float32():
    class Linear(Bag):
        def forward(self, ids, mask):
            return nn.functional.linear(super().forward(ids, mask), torch.eye(3))

    model, (train, _) = Linear(), both()
    nn.init.normal_(model.scores.weight)
    batch = next(iter(train))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(batch["ids"], batch["mask"])
    assert logits.dtype == torch.bfloat16
    expected = nn.functional.cross_entropy(logits.float(), batch["labels"])
    config = TrainConfig(epochs=1, precision="bf16")
    history = fit_classifier(model, [batch], None, config, progress=False)
    assert history.loss[0] == pytest.approx(expected.item(), rel=1e-6)


def test_word_dropout_hides_that_share_of_tokens_in_training_only():
    model, (train, validation) = Bag(), both()
    fit_classifier(
        model, train, validation, TrainConfig(epochs=30), word_dropout=0.25, progress=False
    )
    seen = torch.cat(model.seen)
    hidden = (seen == UNK).float().mean().item()
    assert abs(hidden - 0.25) < 5 * (0.25 * 0.75 / len(seen)) ** 0.5
    assert UNK not in np.concatenate(TEXTS)  # so every hidden token comes from the dropout


def test_without_validation_texts_the_weights_are_those_of_the_last_step():
    def weights(epochs, validation):
        model = Bag()
        config = TrainConfig(epochs=epochs, lr=0.1, schedule="constant", precision="no")
        history = fit_classifier(model, both()[0], validation, config, progress=False)
        return model.scores.weight.detach(), history

    kept, history = weights(3, both()[1])
    assert history.best_epoch == 0
    torch.testing.assert_close(kept, weights(1, None)[0])
    assert not torch.allclose(kept, weights(3, None)[0])


def test_groups_of_parameters_keep_their_own_rate():
    model, whole = Bag(), data.batches(TEXTS, LABELS, token_budget=10_000)
    groups = [{"params": [model.scores.weight], "lr": 0.3, "weight_decay": 0.0}]
    config = TrainConfig(epochs=1, lr=0.1, precision="no")
    history = fit_classifier(model, whole, None, config, optimizer=groups, progress=False)
    assert history.lr == [0.3]
    # Adam's first step moves each weight that has a gradient by the rate.
    moved = model.scores.weight.detach()[2:5].abs()
    torch.testing.assert_close(moved, torch.full((3, 3), 0.3), rtol=1e-3, atol=0)
