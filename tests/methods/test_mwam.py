"""The weights are a naive loop's, each variant weighs what it says, and the modality that joint training neglects learns more."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.data.loader import MemoryPart
from equipoise.functional.frequency import frequency_ratios
from equipoise.methods.base import Update, make_method
from tests.contract.harness import Trained, toy_model, toy_part, train_toy
from tests.methods.helpers import gradients_of, make_batch, make_context


def test_weights_equal_a_naive_loop_over_updates() -> None:
    part = toy_part(30, signal=2.0, missing=0.4)
    part.present["beta"][:10] = False  # the first batch has none of it
    assert part.target is not None
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "mwam", "memory": 0.75, "slope": 3.0})
    ctx = make_context(model, method, part)
    method.on_epoch_start(ctx)
    bank: dict[str, float] = {}
    for rows in (range(10), range(10, 18), range(18, 30)):
        (batch,) = part.batches([torch.tensor(rows)], [len(rows)])
        assert method.transform_batch(ctx, batch) is batch
        now = {}
        for name, value in part.inputs.items():
            single = [float(frequency_ratios(value[row : row + 1])) for row in rows if bool(part.present[name][row])]
            if single:
                now[name] = sum(single) / len(single)
                bank[name] = 0.75 * bank[name] + 0.25 * now[name] if name in bank else now[name]
        mean = sum(bank.values()) / len(bank)
        expected = [1.5 - 1 / (1 + math.exp(-3.0 * (now[name] / mean - 1))) if name in now else 1.0 for name in model.modalities]
        assert method.state["weights"].tolist() == pytest.approx(expected)
    assert set(bank) == set(model.modalities)


@pytest.mark.parametrize("variant", ["gradient", "loss", "hybrid"])
def test_each_variant_weighs_what_it_says(variant: str) -> None:
    part = toy_part(30, signal=2.0)
    assert part.target is not None
    shapes = {name: tuple(value.shape[1:]) for name, value in part.inputs.items()}
    batch = make_batch(part.inputs, part.target)
    runs = {}
    for name in (variant, "plain"):
        # Equal weights: what hybrid and loss are without them is the sum of fused and unimodal losses.
        options = {"variant": variant} | ({"span": 0.0, "highest": 1.0} if name == "plain" else {"slope": 3.0})
        model = toy_model(shapes)
        method = make_method({"name": "mwam", **options})
        ctx = make_context(model, method, part, optimizer="sgd")
        method.on_epoch_start(ctx)
        method.transform_batch(ctx, batch)
        _, losses = gradients_of(ctx, method, Update(batch))
        gradients = {key: item.grad for key, item in model.named_parameters()}
        runs[name] = (dict(zip(model.modalities, method.state["weights"].tolist(), strict=True)), losses, gradients)
    (weights, losses, gradients), (ones, plain, before) = runs[variant], runs["plain"]
    assert set(ones.values()) == {1.0}
    assert max(weights.values()) - min(weights.values()) > 0.1
    torch.testing.assert_close(losses["fused"], plain["fused"])
    assert set(losses) == {"fused"} | (set() if variant == "gradient" else set(weights))
    for name, weight in weights.items():
        if variant != "gradient":
            torch.testing.assert_close(losses[name], plain[name] * weight)
            torch.testing.assert_close(gradients[f"heads.of_{name}.weight"], before[f"heads.of_{name}.weight"] * weight)
        if variant == "gradient":
            key = f"encoders.of_{name}.layers.0.weight"
            torch.testing.assert_close(gradients[key], before[key] * weight)
    assert torch.equal(gradients["fusion.linear.weight"], before["fusion.linear.weight"])


def pictures(samples: int, seed: int) -> MemoryPart:
    """Two classes; one modality shows them as a smooth wave, the other as a faint chequerboard."""
    random = torch.Generator().manual_seed(seed)
    target, axis = torch.arange(samples) % 2, torch.arange(16)
    sign = (2.0 * target - 1)[:, None, None, None]
    wave = torch.cos(torch.pi * (2 * axis + 1) / 32).expand(16, 16)
    board = 0.2 * (-1.0) ** (axis[:, None] + axis)
    inputs = {
        name: sign * pattern + torch.randn(samples, 1, 16, 16, generator=random)
        for name, pattern in (("smooth", wave), ("rough", board))
    }
    return MemoryPart(inputs, {name: torch.ones(samples, dtype=torch.bool) for name in inputs}, target)


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.02), ("adamw", 1e-3)])
def test_the_modality_poor_in_low_frequencies_learns_more_than_in_joint_training(optimizer: str, rate: float) -> None:
    """The paper's claim: joint training prefers what is rich in low frequencies, so that the model fails when that is missing."""

    def run(name: str, variant: str | None = None) -> Trained:
        parts = {"train": pictures(200, 0), "validation": pictures(500, 50)}
        options = {"variant": variant} if variant else {}
        return train_toy(name, options, optimizer=optimizer, learning_rate=rate, epochs=8, **parts)

    def alone(trained: Trained) -> float:
        return float(trained.lines[-1]["validation"]["rough"]["loss"])

    joint, modulated, hybrid = run("joint"), run("mwam", "gradient"), run("mwam", "hybrid")
    assert joint.lines[-1]["validation"]["smooth"]["loss"] < 0.1 < 0.6 < alone(joint)
    weights = modulated.lines[-1]["coefficients"]
    assert weights["weight.smooth"] < 1 < weights["weight.rough"]
    assert alone(modulated) < 0.9 * alone(joint)
    assert alone(hybrid) < 0.7 * alone(run("joint_unimodal"))
    assert modulated.lines[-1]["validation"]["fused"]["accuracy"] == hybrid.lines[-1]["validation"]["fused"]["accuracy"] == 1.0
