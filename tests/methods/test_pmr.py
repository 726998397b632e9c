"""PMR: the paper's losses from means of features at hand; who lags is clustered better than in joint training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from equipoise.functional.class_means import class_mean_logits, class_sums, moved_means, spread_within
from equipoise.methods.base import Update, make_method
from tests.contract.harness import CLASSES, toy_model, toy_part, train_toy
from tests.methods.helpers import gradients_of, make_batch, make_context


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("scaled", [False, True])
def test_losses_equal_a_naive_loop(scaled: bool, missing: float) -> None:
    part = toy_part(40, signal=2.0, missing=missing)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "pmr", "alpha": 1.5, "mu": 0.2, "scaled": scaled})
    ctx = make_context(model, method)
    assert part.target is not None
    update = Update(make_batch(part.inputs, part.target, part.present))
    outputs, losses = gradients_of(ctx, method, update)
    assert set(losses) == {"fused"}
    means, scores, units = {}, {}, {}
    for name, features in outputs.features.items():
        rows = [row for row in range(40) if bool(part.present[name][row])]
        found = [[features[row].detach() for row in rows if int(part.target[row]) == code] for code in range(CLASSES)]
        means[name] = torch.stack([torch.stack(items).mean(0) for items in found])
        units[name] = 1.0
        if scaled:
            within = [(features[row].detach() - means[name][part.target[row]]).square().mean() for row in rows]
            units[name] = 2 * float(torch.stack(within).mean())
        logits = {row: -(features[row] - means[name]).square().sum(1) / units[name] for row in rows}
        sure = [float(value.detach().softmax(0)[part.target[row]]) for row, value in logits.items()]
        scores[name] = sum(sure) / len(sure)
    method.on_epoch_end(ctx)
    gradients_of(ctx, method, update)  # sets the coefficients of the next batch
    outputs, losses = gradients_of(ctx, method, update)
    expected = {}
    for name, features in outputs.features.items():
        rows = [row for row in range(40) if bool(part.present[name][row])]
        logits = torch.stack([-(features[row] - means[name]).square().sum(1) / units[name] for row in rows])
        pull, hold = min(max(scores.values()) / scores[name] - 1, 1), min(scores[name] / min(scores.values()) - 1, 1)
        if pull > 0:
            expected[f"pull.{name}"] = 1.5 * pull * F.cross_entropy(logits, part.target[rows])
        if hold > 0:
            entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
            expected[f"hold.{name}"] = -0.2 * hold * entropy
    assert set(losses) == {"fused", *expected}
    assert {name.split(".")[0] for name in expected} == {"pull", "hold"}
    for key, value in expected.items():
        torch.testing.assert_close(losses[key], value, rtol=1e-4, atol=1e-6)


def test_class_means_are_those_of_the_epoch() -> None:
    """Of every training sample once, whatever the batches, and none before the first epoch is over."""
    part = toy_part(50, missing=0.3)
    run = train_toy("pmr", train=part, epochs=1, learning_rate=1e-12)
    assert part.target is not None
    features = run.ctx.outputs("train").features
    for name, value in features.items():
        sums, counts = class_sums(value, part.present[name], part.target, CLASSES)
        means, seen = moved_means(torch.zeros_like(sums), torch.zeros(CLASSES, dtype=torch.bool), sums, counts, 0.5)
        torch.testing.assert_close(run.method.state["means"][name], means, rtol=1e-4, atol=1e-5)
        assert torch.equal(run.method.state["seen"][name], seen)
        assert not bool(run.method.state["counts"][name].any())
    assert run.ctx.inert


def test_the_leading_modality_is_held_only_at_first() -> None:
    run = train_toy("pmr", {"hold_epochs": 3}, train=toy_part(60, signal=3.0), epochs=5)
    held = [sum(value for name, value in line["coefficients"].items() if name.startswith("hold")) for line in run.lines]
    pulled = [sum(value for name, value in line["coefficients"].items() if name.startswith("pull")) for line in run.lines]
    assert held[0] == pulled[0] == held[3] == held[4] == 0.0
    assert min(held[1:3]) > 0
    assert min(pulled[1:]) > 0


def _weak_by_its_class_means(options: dict[str, Any]) -> float:
    """How surely the weak modality's features belong to their class by class means, on training samples."""
    part = toy_part(90, names=("alpha", "beta"), signal=5.0)
    run = train_toy("pmr", options, train=part, epochs=12)
    value = run.ctx.outputs("train").features["beta"]
    assert part.target is not None
    sums, counts = class_sums(value, part.present["beta"], part.target, CLASSES)
    spread = spread_within(value.square().sum(), sums, counts)
    logits = class_mean_logits(value, sums / counts[:, None], counts > 0, spread)
    return float(run.ctx.task.score(logits, part.target).mean())


def test_the_lagging_modality_is_clustered_better_than_in_joint_training() -> None:
    assert _weak_by_its_class_means({"alpha": 1.0}) > _weak_by_its_class_means({"alpha": 0.0, "mu": 0.0}) + 0.02
