"""MIE: the gradient is that of two naive passes, weights are put back, and a turn spares what other modalities use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.batch import Batch
from equipoise.functional.flatness import flat_projector, joint_energy
from equipoise.methods.base import Method, Update, make_method
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.context import Context
from equipoise.training.selection import validate
from tests.contract.harness import toy_model, toy_part
from tests.methods.helpers import gradients_of, make_batch, make_context, step
from tests.methods.laziness import FAST, SLOW, lazy_part, train_lazy


def prepared(options: dict[str, Any] | None = None, missing: float = 0.0, **settings: Any) -> tuple[Method, Context, Batch]:
    part = toy_part(40, signal=1.0, missing=missing)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "entropy_gate")
    method = make_method({"name": "mie", **(options or {})})
    assert part.target is not None
    return method, make_context(model, method, **settings), make_batch(part.inputs, part.target, part.present)


def naive(ctx: Context, batch: Batch, name: str) -> dict[str, Tensor]:
    """The gradient of the modality's loss."""
    ctx.model.zero_grad(set_to_none=True)
    outputs, have = ctx.model(batch, only=[name]), batch.present[name]
    F.cross_entropy(outputs.unimodal[name][have], batch.labels[have]).backward()
    return {key: item.grad.clone() for key, item in ctx.model.named_parameters() if item.grad is not None}


@torch.no_grad()
def said(model: MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
    """What each modality says now: logits are computed when first asked for."""
    logits: Mapping[str, Tensor] = model(batch).unimodal
    return logits


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_gradient_is_that_of_two_passes(missing: float, accumulate: int) -> None:
    method, ctx, batch = prepared({"rho": 0.5, "kappa": 0.4}, missing, accumulate=accumulate)
    before = {key: value.clone() for key, value in ctx.model.state_dict().items()}
    first = naive(ctx, batch, "beta")
    length = torch.cat([value.flatten() for value in first.values()]).norm()
    with torch.no_grad():
        for key, item in ctx.model.named_parameters():
            if key in first:
                item.add_(0.5 * first[key] / length)
    second = naive(ctx, batch, "beta")
    ctx.model.load_state_dict(before)
    gradients_of(ctx, method, Update(batch, only=("beta",)))
    found = {key: item.grad for key, item in ctx.model.named_parameters() if item.grad is not None}
    assert found.keys() == first.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, 0.6 * first[key] + 0.4 * second[key], rtol=1e-4, atol=1e-6)
    assert max(float((first[key] - second[key]).abs().max()) for key in first) > 1e-3
    assert all(torch.equal(value, before[key]) for key, value in ctx.model.state_dict().items())
    assert ctx.take_log()["sharpness.beta"] > 0


def test_running_statistics_are_those_of_the_first_pass() -> None:
    found = []
    for kappa in (0.0, 0.9):
        method, ctx, batch = prepared({"rho": 5.0, "kappa": kappa})
        layers = ctx.model.encoders["alpha"].layers
        assert isinstance(layers, nn.Sequential)
        layers.append(nn.BatchNorm1d(8))
        gradients_of(ctx, method, Update(batch, only=("alpha",)))
        found.append({key: value for key, value in ctx.model.named_buffers() if "running" in key})
    assert len(found[0]) == 2
    for key, value in found[0].items():
        assert torch.equal(found[1][key], value)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_the_projector_is_made_of_the_features_of_the_others(missing: float) -> None:
    method, ctx, batch = prepared({"temperature": 2.0}, missing)
    for update in method.updates(ctx, batch):
        gradients_of(ctx, method, update)
    with torch.no_grad():
        features = ctx.model(batch).features
    energy = {}
    for name, value in features.items():
        rows = [value[row] for row in range(len(batch)) if bool(batch.present[name][row])]
        energy[name] = torch.stack([row.outer(row) for row in rows]).sum(0)
    ctx.epoch = 1
    method.on_epoch_start(ctx)
    for name in ctx.modalities:
        expected = flat_projector(joint_energy([energy[other] for other in energy if other != name]), 2.0)
        torch.testing.assert_close(method.state["projector"][name], expected, rtol=1e-4, atol=1e-4)
        assert float(method.state["energy"][name].abs().max()) == 0.0


def test_a_turn_disturbs_the_other_modality_less() -> None:
    """What the paper claims: predictions by the other, whose directions are damped, change less; the own ones still learn."""
    changes = {}
    for temperature in (0.0, 4.0):
        model = train_lazy("mie", epochs=3).ctx.model
        method = make_method({"name": "mie", "temperature": temperature})
        ctx = make_context(model, method, optimizer="sgd", learning_rate=0.05)
        (batch,) = lazy_part(120, 0).batches([torch.arange(120)], [120])
        before, fast = said(model, batch), model.encode(batch.inputs)[FAST].detach()
        method.state["projector"][SLOW] = flat_projector(fast.T @ fast, temperature)
        step(ctx, method, Update(batch, only=(SLOW,)))
        after = said(model, batch)
        better = F.cross_entropy(before[SLOW], batch.labels) - F.cross_entropy(after[SLOW], batch.labels)
        changes[temperature] = (float((after[FAST] - before[FAST]).norm()), float(better))
    assert changes[4.0][0] < 0.5 * changes[0.0][0], changes
    assert changes[4.0][1] > 0.5 * changes[0.0][1] > 0, changes


def test_a_turn_encodes_its_modality_twice() -> None:
    method, ctx, batch = prepared()
    counts = dict.fromkeys(ctx.modalities, 0)
    for name in ctx.modalities:

        def count(*_: object, name: str = name) -> None:
            counts[name] += 1

        ctx.model.encoders[name].register_forward_hook(count)
    for update in method.updates(ctx, batch):
        step(ctx, method, update)
    assert set(counts.values()) == {method.card.forwards}


def test_the_slow_modality_learns_more_than_in_joint_training() -> None:
    for seed in range(3):
        found = {}
        for name in ("joint", "mie"):
            run = train_lazy(name, fusion="entropy_gate", seed=seed)
            found[name] = validate(run.ctx, run.predictor)[SLOW]["accuracy"]
        assert found["mie"] > 0.9 > 0.7 > found["joint"]
