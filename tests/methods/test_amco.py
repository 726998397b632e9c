"""The dependent modality of the batch before is masked, more and more; the other one learns, and nothing is lost."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from equipoise.batch import Batch
from equipoise.methods.base import Method, Update, make_method
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.context import Closure, Context
from tests.contract.harness import toy_model, toy_part
from tests.methods.helpers import gradients_of, make_batch, make_context
from tests.methods.laziness import FAST, SLOW, train_lazy


def prepared(options: dict[str, Any] | None = None, missing: float = 0.0) -> tuple[MultimodalModel, Method, Context, Batch]:
    part = toy_part(40, signal=3.0, missing=missing)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "amco", **(options or {})})
    ctx = make_context(model, method, epochs=20)
    assert part.target is not None
    return model, method, ctx, make_batch(part.inputs, part.target, part.present)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_losses_equal_a_naive_loop(missing: float) -> None:
    model, method, ctx, batch = prepared({"most": 0.6, "unimodal": 0.4}, missing)
    method.state["dependent"] = ["alpha", "gamma"]
    ctx.epoch = 3  # 3 of 20 epochs are half of the share 0.3
    share = 0.6 * math.sin(math.pi / 4)
    _, losses = Closure(ctx, method, Update(batch))()
    features = model.encode(batch.inputs, batch.present)
    weight, bias, heads = model.fusion.linear.weight, model.fusion.linear.bias, model.heads
    assert heads is not None
    draws = {name: ctx.uniform(batch, 8, f"amco {name}") for name in features}
    rows, hidden = [], 0
    for row in range(len(batch)):
        total = bias
        for number, name in enumerate(features):
            for place in range(8):
                value = features[name][row, place]
                if name != "beta":
                    lost = bool(draws[name][row, place] < share)
                    hidden += lost
                    value = value * 0.0 if lost else value / (1 - share)
                total = total + weight[:, 8 * number + place] * value
        rows.append(total)
    assert 0.3 < hidden / (2 * 8 * len(batch)) < 0.55
    torch.testing.assert_close(losses["fused"], F.cross_entropy(torch.stack(rows), batch.labels))
    for name, value in features.items():
        own = batch.present[name]
        torch.testing.assert_close(losses[name], 0.4 * F.cross_entropy(heads[name](value[own]), batch.labels[own]))
    log = ctx.take_log()
    assert [log[f"masked.{name}"] for name in features] == pytest.approx([share, 0.0, share])


@pytest.mark.parametrize(("unimodal", "missing"), [(1.0, 0.0), (1.0, 0.4), (0.0, 0.0)])
def test_the_batch_before_says_who_is_dependent(unimodal: float, missing: float) -> None:
    """A share in the softmax over all logits above that of equal modalities; without heads, of the fusion's own split."""
    model, method, ctx, batch = prepared({"unimodal": unimodal}, missing)
    assert method.state["dependent"] == []
    assert (model.heads is None) == (unimodal == 0)
    outputs, _ = gradients_of(ctx, method, Update(batch))
    values: dict[str, list[float]] = {name: [] for name in model.modalities}
    for row in range(len(batch)):
        own = [name for name in model.modalities if bool(batch.present[name][row])]
        masses = {name: float(outputs.unimodal[name][row].detach().exp().sum()) for name in own}
        if len(own) > 1:
            for name in own:
                values[name].append(masses[name] / sum(masses.values()) * len(own) / 2)
    expected = [name for name, items in values.items() if sum(items) / len(items) > 0.5]
    assert 0 < len(expected) < 3
    assert method.state["dependent"] == expected


def test_nothing_is_masked_at_first_nor_without_dependence() -> None:
    _, method, ctx, batch = prepared({"threshold": 10.0})
    for ctx.epoch in (0, 19):
        gradients_of(ctx, method, Update(batch))
        assert method.state["dependent"] == []
    _, method, ctx, batch = prepared({"threshold": 0.0})
    for ctx.epoch, share in ((0, 0.0), (19, 0.5)):
        for _ in range(2):
            ctx.take_log()
            gradients_of(ctx, method, Update(batch))
        assert ctx.take_log() == pytest.approx({f"masked.{name}": share for name in ctx.modalities})


def test_expected_features_are_the_unmasked_ones_and_each_epoch_draws_anew() -> None:
    model, method, ctx, batch = prepared({"warmup": 0.0})
    method.state["dependent"] = ["alpha"]
    found = []
    for ctx.epoch in range(400):
        with torch.no_grad():
            found.append(Closure(ctx, method, Update(batch))()[0].features["alpha"])
    values = torch.stack(found)
    plain = model.encode(batch.inputs)["alpha"].detach()
    used = plain.abs() > 1e-3
    kept = (values != 0).float().mean(0)[used]
    assert 0.35 < float(kept.min()) < float(kept.max()) < 0.65
    torch.testing.assert_close(values.mean(0)[used], plain[used], rtol=0.25, atol=0)


def test_the_neglected_modality_learns_and_co_optimization_keeps_the_dependent_one() -> None:
    """What the paper claims of the mask, and of the losses beside it."""

    def alone(name: str, options: dict[str, Any] | None = None) -> dict[str, float]:
        run = train_lazy(name, options)
        if name == "amco":
            masked = run.lines[-1]["coefficients"]
            assert masked[f"masked.{FAST}"] > 2 * masked[f"masked.{SLOW}"]
        return {key: run.lines[-1]["validation"][key]["loss"] for key in (FAST, SLOW)}

    joint, mask, both = alone("joint"), alone("amco", {"most": 0.8, "unimodal": 0.0}), alone("amco", {"most": 0.8})
    assert mask[SLOW] < 0.6 * joint[SLOW]
    assert mask[FAST] > 2 * joint[FAST]  # what the mask alone costs
    assert both[FAST] < 0.5 * joint[FAST]
