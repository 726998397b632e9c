"""MMCosine: what is trained is what predicts, and length gives no modality more say."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from equipoise.methods.base import Update, make_method
from tests.contract.harness import predict, toy_model, toy_part, train_toy
from tests.methods.helpers import gradients_of, make_batch, make_context


def test_loss_equals_a_naive_loop_over_present_modalities() -> None:
    part = toy_part(20, signal=1.0, missing=0.4)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "cosine")
    method = make_method({"name": "mmcosine", "scaling": 12.0})
    ctx = make_context(model, method)
    assert part.target is not None
    outputs, losses = gradients_of(ctx, method, Update(make_batch(part.inputs, part.target, part.present)))
    rows = []
    for row in range(20):
        total = torch.zeros(3)
        for name in model.modalities:
            if bool(part.present[name][row]):
                total = total + 12.0 * F.cosine_similarity(outputs.features[name][row], model.fusion.heads[name].weight)
        rows.append(total)
    torch.testing.assert_close(outputs.logits, torch.stack(rows), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(losses["fused"], F.cross_entropy(torch.stack(rows), part.target))


def test_what_is_trained_predicts() -> None:
    """Differs from the published code, which trains cosines and validates a linear layer."""
    part = toy_part(30, missing=0.3)
    run = train_toy("mmcosine", train=part)
    model = run.ctx.model.eval()
    assert part.target is not None
    with torch.no_grad():
        trained = model(make_batch(part.inputs, part.target, part.present)).logits
    torch.testing.assert_close(predict(run.predictor, part), trained)
    assert float(model.fusion.scaling) == 10.0
    assert float(trained.abs().max()) <= 10.0 * len(part.inputs)


@torch.no_grad()
def _gain(fusion: str, factor: float) -> float:
    """By how much a modality's share in the logits grows when its features get longer."""
    part = toy_part(30, names=("alpha", "beta"), signal=2.0)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, fusion)
    features = model.encode(part.inputs)
    shares = []
    for length in (1.0, factor):
        logits = model.unimodal({"alpha": features["alpha"] * length, "beta": features["beta"]})
        shares.append(float(logits["alpha"].norm() / logits["beta"].norm()))
    return shares[1] / shares[0]


def test_a_modality_with_long_features_does_not_take_over() -> None:
    assert _gain("cosine", 50.0) == pytest.approx(1.0, rel=1e-5)
    assert _gain("sum", 50.0) > 5.0


def test_scaling_lets_probabilities_near_one() -> None:
    """With cosines alone the true class of three gets at most e^M / (e^M + 2 e^-M) in M modalities."""
    parts = {"train": toy_part(names=("alpha",), signal=8.0), "validation": toy_part(40, 1, names=("alpha",), signal=8.0)}
    plain, scaled = (train_toy("mmcosine", {"scaling": scaling}, epochs=10, **parts) for scaling in (1.0, 10.0))
    bound = math.e / (math.e + 2 / math.e)
    assert float(plain.logits().softmax(1).max()) <= bound + 1e-6
    assert float(scaled.logits().softmax(1).max()) > bound
