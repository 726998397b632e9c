"""Gradients equal those of a naive double backward pass; the faster modality is slowed and the fused gradient is turned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.batch import Batch
from equipoise.functional.guidance import guided_factors
from equipoise.methods.base import Method, Update, make_method
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.context import Context
from tests.contract.harness import toy_model, toy_part
from tests.methods.helpers import gradients_of, make_batch, make_context, step
from tests.methods.laziness import FAST, SLOW, lazy_part

Gradients = dict[str, Tensor]


def prepared(
    options: dict[str, Any] | None = None, missing: float = 0.0, **settings: Any
) -> tuple[MultimodalModel, Method, Context, Batch]:
    part = toy_part(30, signal=1.0, missing=missing)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "cggm", **(options or {})})
    ctx = make_context(model, method, **{"optimizer": "sgd", **settings})
    assert part.target is not None
    return model, method, ctx, make_batch(part.inputs, part.target, part.present)


def gradients(model: MultimodalModel) -> Gradients:
    return {key: item.grad.clone() for key, item in model.named_parameters() if item.grad is not None}


def naive(model: MultimodalModel, batch: Batch, rho: float) -> tuple[dict[str, float], Gradients, Gradients]:
    """Factors in a first update, the gradients of joint training, and those of the direction term in the fusion."""
    features = {
        name: torch.where(batch.present[name][:, None], value, 0.0)
        for name, value in model.encode(batch.inputs, batch.present).items()
    }
    weight, bias, heads = model.fusion.linear.weight, model.fusion.linear.bias, model.heads
    assert heads is not None
    fixed = {name: value.detach() for name, value in features.items()}
    loss = F.cross_entropy(torch.cat(list(features.values()), 1) @ weight.T + bias, batch.labels)
    keys = [key for key, _ in model.named_parameters() if not key.startswith("heads.")]
    items = dict(model.named_parameters())
    plain = dict(zip(keys, torch.autograd.grad(loss, [items[key] for key in keys]), strict=True))
    loss = F.cross_entropy(torch.cat(list(fixed.values()), 1) @ weight.T + bias, batch.labels)
    (whole,) = torch.autograd.grad(loss, weight, create_graph=True)
    metric, cosines = [], []
    for number, name in enumerate(features):
        own = batch.present[name]
        logits = heads[name](fixed[name][own])
        metric.append(float(logits.softmax(1)[range(len(logits)), batch.labels[own]].detach().mean()))
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, batch.labels[own]), heads[name].weight)
        block = whole[:, 8 * number : 8 * number + 8]
        cosines.append((block * gradient).sum() / (block.norm() * gradient.norm()))
    factors = [rho * (sum(metric) - value) / sum(metric) for value in metric]
    pairs = zip(factors, cosines, strict=True)
    term = sum((abs(factor) - factor * cosine for factor, cosine in pairs), torch.zeros(())) / len(factors)
    turned = torch.autograd.grad(term, [weight, bias])
    return dict(zip(features, factors, strict=True)), plain, dict(zip(("weight", "bias"), turned, strict=True))


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_gradients_equal_a_naive_double_backward_pass(missing: float) -> None:
    model, method, ctx, batch = prepared({"direction": 0.03, "rho": 1.6}, missing)
    gradients_of(ctx, method, Update(batch))
    found = gradients(model)
    factors, plain, turned = naive(model, batch, 1.6)
    log = ctx.take_log()
    for name, factor in factors.items():
        assert log[f"coefficient.{name}"] == pytest.approx(factor, rel=1e-5)
        for key, value in plain.items():
            if f"of_{name}." in key:
                torch.testing.assert_close(found[key], value * factor, rtol=1e-4, atol=1e-7)
    for key, value in turned.items():
        whole = f"fusion.linear.{key}"
        assert float(value.norm()) > 0
        torch.testing.assert_close(found[whole], plain[whole] + 0.03 * value, rtol=1e-4, atol=1e-7)


def test_the_direction_term_never_outweighs_the_loss() -> None:
    model, method, ctx, batch = prepared({"direction": 1e4})
    gradients_of(ctx, method, Update(batch))
    found = gradients(model)
    _, plain, turned = naive(model, batch, 1.3)
    keys = [f"fusion.linear.{key}" for key in turned]
    added = torch.cat([(found[key] - plain[key]).flatten() for key in keys])
    length = torch.cat([plain[key].flatten() for key in keys]).norm()
    torch.testing.assert_close(added.norm(), length, rtol=1e-3, atol=0)
    direction = torch.cat([value.flatten() for value in turned.values()])
    assert float(F.cosine_similarity(added, direction, dim=0)) > 0.999


def test_classifiers_learn_and_send_nothing_to_the_encoders() -> None:
    model, method, ctx, batch = prepared({"direction": 0.0})
    _, losses = gradients_of(ctx, method, Update(batch))
    assert model.heads is not None
    for name in model.modalities:
        alone = torch.autograd.grad(
            F.cross_entropy(model.heads[name](model.encode(batch.inputs)[name]), batch.labels), model.heads[name].weight
        )
        torch.testing.assert_close(model.heads[name].weight.grad, alone[0])
    total = torch.stack([losses[f"classifier.{name}"] for name in model.modalities]).sum()
    assert all(item is None for item in torch.autograd.grad(total, model.parameters_of("alpha"), allow_unused=True))


def test_changes_are_from_update_to_update_and_a_missing_modality_keeps_its_metric() -> None:
    _, method, ctx, batch = prepared({"direction": 0.0})
    outputs, _ = gradients_of(ctx, method, Update(batch))
    before = dict(method.state["metric"])
    for name, logits in outputs.unimodal.items():
        rows = [float(logits[row].detach().softmax(0)[batch.labels[row]]) for row in range(len(batch))]
        assert before[name] == pytest.approx(sum(rows) / len(rows), rel=1e-5)
    ctx.take_log()
    method.state["metric"] = {"alpha": before["alpha"] - 0.02, "beta": 0.9, "gamma": before["gamma"] - 0.06}
    without = batch.masked({"beta": torch.zeros(len(batch), dtype=torch.bool)})
    gradients_of(ctx, method, Update(without))
    expected = guided_factors([0.02, float("nan"), 0.06], 1.3)
    log = ctx.take_log()
    assert [log[f"coefficient.{name}"] for name in ("alpha", "beta", "gamma")] == pytest.approx(expected, rel=1e-4)
    assert expected[1] == 1.0
    assert method.state["metric"]["beta"] == 0.9


def distance(new: Sequence[Tensor], old: Sequence[Tensor]) -> float:
    return float(torch.cat([(one.detach() - other).flatten() for one, other in zip(new, old, strict=True)]).norm())


def test_the_modality_that_learns_faster_is_slowed() -> None:
    """What the paper claims of the magnitude, on samples of which joint training learns one modality first."""
    moved = {}
    for name in ("joint", "cggm"):
        part = lazy_part(120, 0)
        model = toy_model({key: tuple(value.shape[1:]) for key, value in part.inputs.items()})
        method = make_method({"name": name, **({"rho": 2.0, "direction": 0.0} if name == "cggm" else {})})
        ctx = make_context(model, method, optimizer="sgd", learning_rate=0.05)
        start = {key: [item.detach().clone() for item in model.parameters_of(key)] for key in model.modalities}
        assert part.target is not None
        for _ in range(30):
            step(ctx, method, Update(make_batch(part.inputs, part.target)))
        moved[name] = {key: distance(model.parameters_of(key), old) for key, old in start.items()}
    log = ctx.take_log()
    assert log[f"coefficient.{FAST}"] < 0.8 < 1.2 < log[f"coefficient.{SLOW}"]
    assert moved["cggm"][SLOW] > 1.05 * moved["joint"][SLOW]
    assert moved["cggm"][FAST] < moved["joint"][FAST]


def test_the_fused_gradient_is_turned_towards_the_classifiers() -> None:
    """What the paper claims of the direction. Encoders rest, so that the classifiers of both runs are the same."""
    angles = []
    for direction in (1e-9, 1.0):  # at 0 nothing is measured
        model, method, ctx, batch = prepared({"direction": direction}, learning_rate=1e-2, optimizer="adamw")
        for name in model.modalities:
            for item in model.parameters_of(name):
                item.requires_grad_(False)
        for _ in range(100):
            step(ctx, method, Update(batch))
        ctx.take_log()
        gradients_of(ctx, method, Update(batch))
        angles.append(ctx.take_log()["misalignment"])
    assert 0 < angles[1] < 0.6 * angles[0]
