"""Adapted layers compute what the formula says, start as what they were, and merge into it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.nn.adapters import adaptable_layers, adapter_size, adapters_of, add_adapters, merge_adapters

LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (4, 6)),
    "no bias": (lambda: nn.Linear(6, 5, bias=False), (4, 6)),
    "convolution": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, padding_mode="reflect"), (2, 4, 8, 8)),
    "convolution over time": (lambda: nn.Conv1d(4, 6, 3, dilation=2, groups=2), (2, 4, 8)),
}


def adapted(kind: str, rank: int = 2, scale: float = 0.5) -> tuple[nn.Module, Tensor]:
    """A model with one adapted layer whose change is not zero, and inputs for it."""
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    model = nn.Sequential(make())
    add_adapters(model, adaptable_layers(model), rank, scale)
    inputs = torch.randn(shape)
    return model, inputs


@pytest.mark.parametrize("kind", LAYERS)
def test_an_adapted_layer_is_the_formula(kind: str) -> None:
    model, inputs = adapted(kind)
    layer = model[0]
    torch.manual_seed(0)
    plain = nn.Sequential(LAYERS[kind][0]())
    assert torch.equal(model(inputs), plain(inputs))  # at first the change is zero
    nn.init.normal_(layer.up)
    assert float(adapter_size(model)) > 0
    change = torch.zeros_like(layer.weight).flatten(1)
    for row in range(len(change)):
        for column in range(change.shape[1]):
            change[row, column] = 0.5 * sum(layer.up[row, k] * layer.down[k, column] for k in range(2)).detach()
    with torch.no_grad():
        plain[0].weight += change.view_as(layer.weight)
    torch.testing.assert_close(model(inputs), plain(inputs))
    size = change.norm() / layer.weight.detach().norm()
    torch.testing.assert_close(adapter_size(model), size)


@pytest.mark.parametrize("kind", LAYERS)
def test_merging_changes_no_output_and_leaves_a_plain_layer(kind: str) -> None:
    model, inputs = adapted(kind)
    layer = model[0]
    nn.init.normal_(layer.up)
    before, start, names = model(inputs), layer.weight.detach().clone(), list(nn.Sequential(LAYERS[kind][0]()).state_dict())
    merge_adapters(model)
    assert torch.equal(model(inputs), before)
    assert list(model.state_dict()) == names
    assert model[0] is layer
    assert type(layer) in (nn.Linear, nn.Conv1d, nn.Conv2d)
    assert adapters_of(model) == []
    assert float(adapter_size(model)) == 0.0
    assert torch.linalg.matrix_rank((layer.weight.detach() - start).flatten(1)) == 2
    merge_adapters(model)  # nothing is left to merge
    assert torch.equal(model(inputs), before)


def test_what_is_frozen_gets_no_gradient_and_the_adapters_do() -> None:
    model, inputs = adapted("linear")
    for item in model[0].weight, model[0].bias:
        item.requires_grad_(False)
    F.mse_loss(model(inputs), torch.ones(4, 5)).backward()
    assert model[0].weight.grad is None
    assert model[0].up.grad.abs().sum() > 0
    assert not model[0].down.grad.any()  # not before the other factor has left zero
    assert {id(item) for item in adapters_of(model)} == {id(model[0].up), id(model[0].down)}


def test_only_plain_trainable_layers_are_adapted() -> None:
    class Own(nn.Linear):
        """A layer that may do anything with its weight."""

    frozen = nn.Linear(3, 3)
    frozen.weight.requires_grad_(False)
    inner = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    model = nn.Sequential(inner, Own(3, 3), frozen, nn.LayerNorm(3), nn.Conv2d(3, 3, 1), nn.Conv3d(3, 3, 1))
    assert adaptable_layers(model) == ["0.0", "4"]


def test_no_rank_is_larger_than_that_of_the_weight() -> None:
    model, _ = adapted("linear", rank=50)
    assert model[0].down.shape == (5, 6)
    assert model[0].up.shape == (5, 5)


def test_a_saved_adapted_model_loads_into_another() -> None:
    model, inputs = adapted("convolution")
    nn.init.normal_(model[0].up)
    torch.manual_seed(1)
    other = nn.Sequential(LAYERS["convolution"][0]())
    add_adapters(other, adaptable_layers(other), 2, 0.5)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(inputs), model(inputs))
