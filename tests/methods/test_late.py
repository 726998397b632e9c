"""Late fusion: separate losses, averaged log-probabilities, and no modality touches another."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from equipoise.methods.base import Update, make_method
from tests.contract.harness import toy_model, toy_part
from tests.methods.helpers import gradients_of, make_batch, make_context


def test_loss_is_the_sum_of_losses_over_present_samples() -> None:
    part = toy_part(20, signal=1.0, missing=0.4)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "logit")
    method = make_method({"name": "late"})
    ctx = make_context(model, method)
    assert part.target is not None
    outputs, losses = gradients_of(ctx, method, Update(make_batch(part.inputs, part.target, part.present)))
    for name in model.modalities:
        rows = part.present[name]
        naive = F.cross_entropy(outputs.unimodal[name][rows], part.target[rows])
        assert float(losses[name].detach()) == pytest.approx(float(naive.detach()), rel=1e-5)
    assert set(losses) == set(model.modalities)


def test_prediction_is_the_mean_of_log_probabilities() -> None:
    part = toy_part(20, signal=1.0, missing=0.4)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "logit")
    assert part.target is not None
    with torch.no_grad():
        outputs = model(make_batch(part.inputs, part.target, part.present))
        for row in range(20):
            terms = [outputs.unimodal[name][row].log_softmax(0) for name in model.modalities if bool(part.present[name][row])]
            torch.testing.assert_close(outputs.logits[row], torch.stack(terms).mean(0), rtol=1e-5, atol=1e-6)


def test_gradient_of_a_modality_knows_nothing_of_the_others() -> None:
    part = toy_part(20, signal=1.0)
    found = []
    for other in (0.0, 5.0):
        model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "logit")
        method = make_method({"name": "late"})
        ctx = make_context(model, method)
        inputs = {name: value + (other if name != "alpha" else 0.0) for name, value in part.inputs.items()}
        assert part.target is not None
        gradients_of(ctx, method, Update(make_batch(inputs, part.target)))
        found.append({name: item.grad for name, item in model.named_parameters()})
    for key, value in found[0].items():
        assert value is not None
        assert torch.equal(value, found[1][key]) == ("of_alpha." in key), key
