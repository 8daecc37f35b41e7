"""Predictions in the input's order."""

import pytest
import torch
from torch import nn

from tutorial_lib.data.batches import batches
from tutorial_lib.training import predict


def mean_id(model, batch):
    return (batch["ids"] * batch["mask"]).sum(1) / batch["mask"].sum(1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_order_and_padding_do_not_matter(shuffle):
    texts = [list(range(1, 2 + row % 7)) for row in range(50)]
    model = nn.Dropout()
    data = batches(texts, token_budget=40, shuffle=shuffle, pad_id=9)
    found = predict(model, mean_id, data)
    assert found.tolist() == [sum(text) / len(text) for text in texts]
    assert model.training


def test_evaluation_mode_without_gradients():
    model = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.5))
    model.eval()
    model[0].train()

    def forward(model, batch):
        assert not model[0].training and not torch.is_grad_enabled()
        return model(batch["ids"][:, :1].float())

    data = batches([[1], [2], [3]])
    found = predict(model, forward, data)
    assert found.shape == (3, 4) and torch.equal(found, predict(model, forward, data))
    assert [module.training for module in model] == [True, False]


def test_bad_shapes_and_rows_are_refused():
    data = list(batches([[1], [2], [3]]))
    with pytest.raises(ValueError, match=r"gave shape \(1,\) for 3 rows"):
        predict(nn.Identity(), lambda m, b: torch.ones(1), data)
    with pytest.raises(ValueError, match="not 0, 1, 2"):
        predict(nn.Identity(), mean_id, data * 2)
    with pytest.raises(ValueError, match="no batches"):
        predict(nn.Identity(), mean_id, [])
