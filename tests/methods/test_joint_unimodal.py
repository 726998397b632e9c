"""The joint loss with unimodal ones equals a naive sum over modalities and present samples."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from equipoise.methods.base import Update, make_method
from equipoise.tasks import Classification
from tests.contract.harness import toy_model, toy_part
from tests.methods.helpers import gradients_of, make_batch, make_context


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 3.0]])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_losses_and_gradients_equal_a_naive_sum(missing: float, weights: list[float] | None) -> None:
    part = toy_part(20, signal=1.0, missing=missing)
    shapes = {name: tuple(value.shape[1:]) for name, value in part.inputs.items()}
    model = toy_model(shapes, task=Classification(3, weights))
    method = make_method({"name": "joint_unimodal", "weight": 0.7})
    ctx = make_context(model, method)
    assert part.target is not None
    update = Update(make_batch(part.inputs, part.target, part.present))
    _, losses = gradients_of(ctx, method, update)
    found = {name: item.grad.clone() for name, item in model.named_parameters() if item.grad is not None}
    assert len(found) == len(list(model.parameters()))

    model.zero_grad(set_to_none=True)
    outputs = model(update.batch)
    of_class = None if weights is None else torch.tensor(weights)
    expected = {"fused": F.cross_entropy(outputs.logits, part.target, weight=of_class)}
    assert model.heads is not None
    for name in model.modalities:
        rows = part.present[name]
        logits = model.heads[name](outputs.features[name][rows])
        expected[name] = 0.7 * F.cross_entropy(logits, part.target[rows], weight=of_class)
    assert {key: float(value.detach()) for key, value in losses.items()} == pytest.approx(
        {key: float(value.detach()) for key, value in expected.items()}, rel=1e-5
    )
    torch.stack(list(expected.values())).sum().backward()
    for name, item in model.named_parameters():
        torch.testing.assert_close(found[name], item.grad, rtol=1e-4, atol=1e-6)
