"""AGM: contributions from one encoder pass equal the definition, and who gets ahead is slowed."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.functional.contributions import agm_coefficient, contribution_ratios
from equipoise.methods.base import Update, make_method
from tests.contract.harness import toy_model, toy_part, weights
from tests.methods.helpers import gradients_of, make_batch, make_context, step


def naive_scores(model: Any, features: dict[str, Tensor], present: dict[str, Tensor], target: Tensor) -> dict[str, float]:
    """The mean loss of each modality's Shapley value, sample by sample and coalition by coalition."""
    losses: dict[str, list[float]] = {name: [] for name in model.modalities}
    count = len(model.modalities)

    def value(row: int, names: tuple[str, ...]) -> Tensor:
        one = {name: item[row : row + 1] for name, item in features.items()}
        have = {name: present[name][row : row + 1] & (name in names) for name in model.modalities}
        return model.fuse(one, have)[0].detach()

    for row in range(len(target)):
        for name in model.modalities:
            if not bool(present[name][row]):
                continue
            others = [other for other in model.modalities if other != name]
            total = torch.zeros(model.task.outputs)
            for size in range(count):
                share = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
                for chosen in combinations(others, size):
                    total = total + share * (value(row, (*chosen, name)) - value(row, chosen))
            losses[name].append(float(F.cross_entropy(total, target[row])))
    return {name: sum(items) / len(items) for name, items in losses.items()}


@pytest.mark.parametrize("fusion", ["concat", "gated"])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_coefficients_equal_a_naive_loop(fusion: str, missing: float) -> None:
    part = toy_part(12, signal=4.0, missing=missing)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, fusion)
    method = make_method({"name": "agm", "alpha": 0.7})
    ctx = make_context(model, method, optimizer="sgd", learning_rate=0.3)
    assert part.target is not None
    batch = make_batch(part.inputs, part.target, part.present)
    history: list[dict[str, float]] = []
    for _ in range(3):
        outputs, _ = gradients_of(ctx, method, Update(batch))
        scores = naive_scores(model, {name: item.detach() for name, item in outputs.features.items()}, part.present, part.target)
        before = [sum(item[name] for item in history) / max(len(history), 1) for name in model.modalities]
        ratios, usual = contribution_ratios(list(scores.values())), contribution_ratios(before)
        expected = {
            f"coefficient.{name}": agm_coefficient(ratio, tau, 0.7)
            for name, ratio, tau in zip(model.modalities, ratios, usual, strict=True)
        }
        assert ctx.take_log() == pytest.approx(expected, rel=1e-4)
        history.append(scores)
        ctx.optimizer.step()
    assert min(expected.values()) < 1 < max(expected.values())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_who_gets_ahead_is_slowed_whatever_the_optimizer(optimizer: str) -> None:
    """The loudest modality learns fastest; its encoder then moves less than in joint training, by the logged factor."""
    part = toy_part(60, signal=6.0, names=("alpha", "beta"))
    assert part.target is not None
    moved = {}
    for alpha in (0.0, 2.0):
        model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
        joint = make_method({"name": "joint"})
        warm = make_context(model, joint, optimizer="sgd", learning_rate=0.3)
        method = make_method({"name": "agm", "alpha": alpha})
        ctx = make_context(model, method, optimizer=optimizer, learning_rate=1e-2)
        update = Update(make_batch(part.inputs, part.target))
        for _ in range(10):
            step(warm, joint, update)
        start = weights(model)
        step(ctx, method, update)
        moved[alpha] = {key: value - start[key] for key, value in weights(model).items()}
        log = ctx.take_log()
    assert log["coefficient.alpha"] < 0.8 < 1.0 < log["coefficient.beta"]
    for key, value in moved[0.0].items():
        factor = next((log[f"coefficient.{name}"] for name in ("alpha", "beta") if f"of_{name}." in key), 1.0)
        torch.testing.assert_close(moved[2.0][key], value * factor, rtol=1e-3, atol=3e-7)


def test_encoders_run_once() -> None:
    part = toy_part(20)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    calls: list[str] = []
    for name in model.modalities:
        model.encoders[name].register_forward_hook(lambda *_, name=name: calls.append(name))
    method = make_method({"name": "agm"})
    ctx = make_context(model, method)
    assert part.target is not None
    gradients_of(ctx, method, Update(make_batch(part.inputs, part.target)))
    assert sorted(calls) == sorted(model.modalities)
