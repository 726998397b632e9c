"""OPM: features of the leading modality are dropped, on average nothing is lost, and OGM can act on the same batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.batch import Batch
from equipoise.functional.dropping import drop_probability
from equipoise.methods.base import Method, Update, make_method
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.context import Closure, Context
from tests.contract.harness import toy_model, toy_part
from tests.methods.helpers import gradients_of, make_batch, make_context, step

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "opm.json").read_text())["cases"]
ALWAYS = {"start": 0, "probability": 1.0}


def prepared(
    options: dict[str, Any] | None = None,
    drop: dict[str, float] | None = None,
    missing: float = 0.0,
    count: int = 3,
    **settings: Any,
) -> tuple[MultimodalModel, Method, Context, Batch]:
    part = toy_part(40, signal=3.0, missing=missing, names=("alpha", "beta", "gamma")[:count])
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "opm", **ALWAYS, **(options or {})})
    ctx = make_context(model, method, **settings)
    if drop is not None:
        method.state["drop"] = drop
    assert part.target is not None
    return model, method, ctx, make_batch(part.inputs, part.target, part.present)


def kept(ctx: Context, batch: Batch, drop: dict[str, float]) -> dict[str, Tensor]:
    """What the draws of the samples say, modality by modality."""
    return {name: ctx.uniform(batch, 1, f"opm {name}")[:, 0] >= drop.get(name, 0.0) for name in ctx.modalities}


def test_loss_equals_a_naive_loop() -> None:
    drop = {"alpha": 0.6, "gamma": 0.3}
    model, method, ctx, batch = prepared(drop=drop)
    _, losses = Closure(ctx, method, Update(batch))()
    keep = kept(ctx, batch, drop)
    assert all(0 < int(keep[name].sum()) < len(batch) for name in drop)
    weight, bias = model.fusion.linear.weight, model.fusion.linear.bias
    rows = []
    for row in range(len(batch)):
        total = bias
        for number, (name, features) in enumerate(model.encode(batch.inputs).items()):
            if bool(keep[name][row]):
                total = total + weight[:, 8 * number : 8 * number + 8] @ features[row] / (1 - drop.get(name, 0.0))
        rows.append(total)
    torch.testing.assert_close(losses["fused"], F.cross_entropy(torch.stack(rows), batch.labels))


def test_nothing_reaches_the_encoder_of_a_dropped_sample() -> None:
    drop = {"alpha": 0.6}
    _, method, ctx, batch = prepared(drop=drop)
    outputs, losses = Closure(ctx, method, Update(batch))()
    (gradient,) = torch.autograd.grad(losses["fused"], outputs.features["alpha"])
    keep = kept(ctx, batch, drop)["alpha"]
    assert bool((gradient[~keep] == 0).all())
    assert bool((gradient[keep] != 0).any(1).all())


def test_a_sample_never_loses_everything() -> None:
    """Samples that lack the weak modality keep one that leads (published code: they are removed)."""
    drop = {"alpha": 0.9, "beta": 0.9}
    _, method, ctx, batch = prepared(drop=drop, missing=0.5)
    outputs, losses = Closure(ctx, method, Update(batch))()
    gradients = torch.autograd.grad(losses["fused"], list(outputs.features.values()))
    used = torch.stack([(gradient != 0).any(1) for gradient in gradients])
    assert bool(used.any(0).all())
    assert int(used.sum()) < int(torch.stack(list(batch.present.values())).sum()) / 1.5


def test_expected_logits_are_those_of_all_features() -> None:
    """Differs from the published code, which divides by one share for all and so makes the weak modality too loud."""
    drop = {"alpha": 0.5}
    model, method, ctx, batch = prepared(drop=drop, count=2)
    seen: list[Tensor] = []
    fuse = model.fuse
    model.fuse = lambda features, present=None: seen.append(fuse(features, present)) or seen[-1]  # type: ignore[assignment, func-returns-value]
    for epoch in range(400):
        ctx.epoch = epoch
        with torch.no_grad():
            Closure(ctx, method, Update(batch))()
    mean, plain = torch.stack(seen).mean(0), fuse(model.encode(batch.inputs)).detach()
    spread = torch.stack(seen).std(0) / 20
    assert float(((mean - plain).abs() / spread.clamp_min(1e-6)).max()) < 5.0
    for case in CASES:
        golden = case["outputs"]["unequal_dims"]
        (first, second), (_, q) = golden["dims"], case["outputs"]["drop_prob_q"]["q_base0.5_lam0.5"]
        assert golden["rescale_factor"] == pytest.approx(1 / (1 - q * second / (first + second)), rel=1e-6)
        assert golden["rescale_factor"] != pytest.approx(1 / (1 - q), rel=0.1)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_the_ratio_of_a_batch_sets_the_next_one(missing: float) -> None:
    model, method, ctx, batch = prepared({"base": 0.4, "strength": 0.8}, missing=missing)
    outputs, _ = gradients_of(ctx, method, Update(batch))
    scores = {}
    for name, logits in outputs.unimodal.items():
        rows = [row for row in range(len(batch)) if bool(batch.present[name][row])]
        scores[name] = sum(float(logits[row].detach().softmax(0)[batch.labels[row]]) for row in rows) / len(rows)
    expected = {}
    for name, score in scores.items():
        others = [value for other, value in scores.items() if other != name]
        ratio = score / (sum(others) / len(others))
        if ratio > 1:
            expected[name] = drop_probability(ratio, 0.4, 0.8)
    assert 0 < len(expected) < 3
    assert method.state["drop"] == pytest.approx(expected, rel=1e-5)
    assert ctx.take_log() == dict.fromkeys([f"dropped.{name}" for name in model.modalities], 0.0)  # the first batch has no q yet
    gradients_of(ctx, method, Update(batch))
    assert ctx.take_log() == pytest.approx({f"dropped.{name}": expected.get(name, 0.0) for name in model.modalities}, rel=1e-5)


def test_batches_are_spared_at_random_and_before_the_start() -> None:
    _, method, ctx, batch = prepared({"probability": 0.5, "start": 2}, drop={"alpha": 0.5})
    ctx.epoch = 2
    found = []
    for ctx.update in range(200):
        Closure(ctx, method, Update(batch))()
        found.append(ctx.take_log()["dropped.alpha"] > 0)
    assert 70 < sum(found) < 130
    ctx.epoch = 1
    Closure(ctx, method, Update(batch))()
    assert ctx.take_log()["dropped.alpha"] == 0.0


def test_the_weak_modality_gets_more_of_the_gradient_than_in_joint_training() -> None:
    """What the paper claims: while the leading one is dropped, the loss depends on the other."""
    norms = []
    for options in ({"base": 0.0}, {"base": 0.8}):
        model, method, ctx, batch = prepared(options, learning_rate=5e-3, count=2)
        total = 0.0
        for _ in range(30):
            step(ctx, method, Update(batch))
            total += float(
                torch.stack([item.grad.norm() for item in model.parameters_of("beta") if item.grad is not None]).norm()
            )
        norms.append(total)
    assert norms[1] > 1.1 * norms[0]


def test_both_at_once() -> None:
    """opm+ogm: OPM drops features of a batch, and OGM slows the same leading encoder by the ratio of that batch."""
    gradients = {}
    for name in ("opm", "opm+ogm"):
        model, _, _, batch = prepared()
        options = {"opm": ALWAYS, "ogm": {"alpha": 0.7, "noise": False}} if "+" in name else ALWAYS
        method = make_method({"name": name, **options})
        ctx = make_context(model, method, optimizer="sgd")
        method.load_state_dict(ctx, {"opm": {"drop": {"alpha": 0.5}}, "ogm": {}} if "+" in name else {"drop": {"alpha": 0.5}})
        gradients_of(ctx, method, Update(batch))
        gradients[name] = {key: item.grad for key, item in model.named_parameters()}
        log = ctx.take_log()
        assert log["dropped.alpha"] == 0.5
    assert min(log[f"coefficient.{name}"] for name in model.modalities) < 0.6
    for key, value in gradients["opm"].items():
        factor = next((log[f"coefficient.{name}"] for name in model.modalities if f"of_{name}." in key), 1.0)
        torch.testing.assert_close(gradients["opm+ogm"][key], value * factor)
