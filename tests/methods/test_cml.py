"""CML: one encoder pass, the paper's fine on every coalition, and predictions that get no surer by knowing less."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch.nn import functional as F

from equipoise.functional.coalitions import confidence_rises, members_of_all
from equipoise.methods.base import Update, make_method
from tests.contract.harness import NAMES, toy_model, toy_part, train_toy
from tests.methods.helpers import gradients_of, make_batch, make_context


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("fusion", ["concat", "gated"])
def test_losses_equal_a_naive_loop(fusion: str, missing: float) -> None:
    part = toy_part(20, signal=1.0, missing=missing)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, fusion)
    method = make_method({"name": "cml", "weight": 2.0})
    ctx = make_context(model, method)
    assert part.target is not None
    outputs, losses = gradients_of(ctx, method, Update(make_batch(part.inputs, part.target, part.present)))

    def sure(row: int, names: frozenset[str]) -> float:
        alone = {name: outputs.features[name][row : row + 1] for name in model.modalities if name in names}
        return float(model.fuse(alone).detach().softmax(1).max())

    means = []
    for row in range(20):
        have = frozenset(name for name in model.modalities if bool(part.present[name][row]))
        fines = []
        # Coalitions that differ only by modalities that the sample lacks are the same one, listed as often.
        for size in range(2, 4):
            for chosen in combinations(model.modalities, size):
                for removed in have & set(chosen):
                    richer = have & set(chosen)
                    if len(richer) > 1:
                        fines.append(max(0.0, sure(row, richer - {removed}) - sure(row, richer)))
        means.append(sum(fines) / max(len(fines), 1))
    assert max(means) > 0
    assert float(losses["rises"].detach()) == pytest.approx(2.0 * sum(means) / 20, rel=1e-4)
    torch.testing.assert_close(losses["fused"], F.cross_entropy(model.fuse(outputs.features, part.present), part.target))


def _rise(weight: float) -> float:
    """Mean rise of the confidence on held-out samples after training."""
    parts = {"train": toy_part(60, signal=1.5), "validation": toy_part(200, 1, signal=1.5)}
    run = train_toy("cml", {"weight": weight}, epochs=15, **parts)
    with torch.no_grad():
        features = run.ctx.outputs("validation").features
        confidence = run.ctx.model.fusion.coalitions(features, {}, members_of_all(3)).softmax(-1).amax(-1)
    return float(confidence_rises(confidence, torch.ones(3, 200, dtype=torch.bool)).mean())


def test_confidence_rises_less_than_after_joint_training() -> None:
    assert _rise(5.0) < 0.6 * _rise(0.0)


def test_encoders_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    part = toy_part(20)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    calls = []
    for name in NAMES[:3]:
        model.encoders[name].register_forward_hook(lambda *_, name=name: calls.append(name))
    method = make_method({"name": "cml"})
    ctx = make_context(model, method)
    assert part.target is not None
    gradients_of(ctx, method, Update(make_batch(part.inputs, part.target)))
    assert sorted(calls) == list(NAMES[:3])


def test_one_modality_is_joint_training() -> None:
    assert train_toy("cml", train=toy_part(names=("alpha",), signal=1.0)).ctx.inert
