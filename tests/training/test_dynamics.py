"""Gradients that are watched: what is measured, and that watching changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import equipoise
from equipoise.methods.base import Update
from equipoise.methods.joint import Joint
from equipoise.nn.fusion.linear import ConcatFusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.tasks import Classification
from equipoise.training import loop
from equipoise.training.dynamics import EVERY, Probe, due, measure_gradients
from tests.methods.helpers import gradients_of, make_batch, make_context


def model() -> MultimodalModel:
    encoders = {name: nn.Sequential(nn.Linear(3, 4), nn.Tanh()) for name in "ab"}
    fusion = ConcatFusion({"a": 4, "b": 4}, Classification(3))
    return MultimodalModel(encoders, fusion)


def batch_of(missing: bool = False) -> Any:
    present = {"b": torch.arange(12) % 3 > 0} if missing else None
    return make_batch({name: torch.randn(12, 3) for name in "ab"}, torch.arange(12) % 3, present)


@pytest.mark.parametrize("missing", [False, True])
def test_cosines_are_those_of_gradients_taken_one_by_one(missing: bool) -> None:
    method = Joint()
    ctx = make_context(model(), method)
    batch = batch_of(missing)
    outputs, _ = gradients_of(ctx, method, Update(batch))
    found = measure_gradients(ctx, Update(batch), outputs)
    present = {name: batch.present[name] for name in "ab" if name not in batch.complete}
    for name in "ab":

        def gradient(loss: Any, name: str = name) -> Tensor:
            features = {key: value.detach().clone().requires_grad_() for key, value in outputs.features.items()}
            loss(features).backward()
            value = features[name].grad
            assert value is not None
            return value.flatten()

        joint = gradient(lambda features: ctx.task_loss(ctx.model.fusion(features, present), batch))
        own = gradient(
            lambda features, name=name: ctx.task_loss(ctx.model.fusion.contributions(features, present)[name], batch, name)
        )
        assert found[name] == pytest.approx(float(torch.cosine_similarity(joint, own, dim=0)), abs=1e-5)


def test_lengths_are_those_of_gradients_and_steps() -> None:
    method = Joint()
    ctx = make_context(model(), method, optimizer="sgd", momentum=0.0, learning_rate=0.5)
    batch = batch_of()
    outputs, _ = gradients_of(ctx, method, Update(batch))
    norms = {
        name: float(torch.cat([item.grad.flatten() for item in ctx.model.parameters_of(name) if item.grad is not None]).norm())
        for name in "ab"
    }
    probe = Probe(ctx)
    ctx.optimizer.step()
    found = probe.result(Update(batch), outputs)
    for name in "ab":
        assert found[name]["norm"] == pytest.approx(norms[name], rel=1e-5)
        assert found[name]["step"] == pytest.approx(0.5 * norms[name], rel=1e-4)
        assert found[name]["share"] == pytest.approx(norms[name] / sum(norms.values()), rel=1e-4)
        assert -1 <= found[name]["cosine"] <= 1


def test_an_update_of_one_modality_has_no_cosine() -> None:
    method = Joint()
    ctx = make_context(model(), method)
    update = Update(batch_of(), only=("a",))
    outputs, _ = gradients_of(ctx, method, update)
    probe = Probe(ctx)
    ctx.optimizer.step()
    found = probe.result(update, outputs)
    assert list(found) == ["a"]
    assert "cosine" not in found["a"]
    assert found["a"]["share"] == 1.0


def test_about_one_batch_in_many_is_measured() -> None:
    for batches in (1, 5, 64, 1000):
        measured = sum(due(epoch, batches) for epoch in range(1000))
        assert measured == pytest.approx(min(1000, 1000 * batches / EVERY), abs=2)
        assert due(0, batches)


@pytest.mark.parametrize("fusion", ["concat", "gated", "attention", "film", "entropy_gate"])
def test_watching_changes_nothing(fusion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {
        "fusion": fusion,
        "encoder": {"name": "mlp", "dropout": 0.5},
        "epochs": 3,
        "batch_size": 16,
        "progress": False,
        "device": "cpu",
    }
    watched = equipoise.fit("wisconsin", **options)
    monkeypatch.setattr(loop, "due", lambda epoch, batches: False)
    plain = equipoise.fit("wisconsin", **options)
    for first, second in zip(watched.predictor.module.parameters(), plain.predictor.module.parameters(), strict=True):
        assert torch.equal(first, second)
