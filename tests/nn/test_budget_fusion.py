"""The budget fusion: prior times gate, normalised over what a sample has."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from equipoise.errors import ConfigError
from equipoise.nn.fusion.budget import BudgetFusion
from equipoise.tasks import Classification

SIZES = {"a": 4, "b": 4, "c": 4}


def fusion(sizes: dict[str, int] = SIZES, *, gated: bool = True, hidden: int = 16) -> BudgetFusion:
    torch.manual_seed(0)
    made = BudgetFusion(sizes, Classification(3), gated=gated, hidden=hidden)
    made.prior.copy_(torch.tensor([0.5, 0.3, 0.2]))
    return made


def features(sizes: dict[str, int] = SIZES, samples: int = 6) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    return {name: torch.randn(samples, size, generator=random) for name, size in sizes.items()}


@pytest.mark.parametrize("sizes", [SIZES, {"a": 4, "b": 2, "c": 3}])
def test_equals_a_naive_loop(sizes: dict[str, int]) -> None:
    made, values = fusion(sizes), features(sizes)
    present = {"b": torch.tensor([True, False, True, False, True, True])}
    fused, weights = made(values, present), made.sample_weights(values, present)
    branches = made.weighted(values, present)
    for row in range(6):
        raw = {}
        for number, name in enumerate(sizes):
            p = made.heads[name](values[name][row]).softmax(0)
            uncertainty = -(p * p.log()).sum() / math.log(3)
            gate = torch.sigmoid(made.gates[name](uncertainty.reshape(1, 1)))[0, 0]
            there = name not in present or bool(present[name][row])
            raw[name] = made.prior[number] * gate if there else torch.zeros(())
        total = sum(raw.values(), torch.zeros(()))
        summed = torch.zeros(4)
        for number, name in enumerate(sizes):
            weight = raw[name] / total
            torch.testing.assert_close(weights[number, row], weight, rtol=1e-5, atol=1e-6)
            vector = weight * made.values[name](values[name][row])
            torch.testing.assert_close(branches[name][row], vector)
            summed = summed + vector
        torch.testing.assert_close(fused[row], made.classifier(summed))
    torch.testing.assert_close(weights.sum(0), torch.ones(6))
    assert weights[1, 1] == 0


def test_equal_gates_leave_the_prior() -> None:
    made, values = fusion(), features()
    same = dict.fromkeys(SIZES, values["a"])
    for kind in (made.heads, made.gates):
        for name in SIZES:
            kind[name].load_state_dict(kind["a"].state_dict())
    torch.testing.assert_close(made.sample_weights(same, {}), made.prior[:, None].expand(3, 6), rtol=1e-5, atol=1e-6)
    ungated = fusion(gated=False)
    torch.testing.assert_close(ungated.sample_weights(values, {}), ungated.prior[:, None].expand(3, 6))
    alone = ungated.sample_weights({"b": values["b"]}, {})
    torch.testing.assert_close(alone[1], torch.ones(6))


def test_gates_start_at_published_design_of_falling_with_uncertainty() -> None:
    """Our choice of numbers: 0.88 where a modality is sure, 0.12 where it knows nothing."""
    for hidden in (1, 16):
        gate = fusion(hidden=hidden).gates["a"]
        found = torch.sigmoid(gate(torch.tensor([[0.0], [0.5], [1.0]]))).squeeze(1)
        torch.testing.assert_close(found, torch.sigmoid(torch.tensor([2.0, 0.0, -2.0])), rtol=1e-5, atol=1e-6)


def test_a_modality_that_grows_unsure_loses_weight() -> None:
    made, values = fusion(), features()
    before = made.sample_weights(values, {})
    with torch.no_grad():
        made.heads["b"].weight.mul_(0.01)
        made.heads["b"].bias.zero_()
    after = made.sample_weights(values, {})
    assert bool((after[1] < before[1]).all())
    assert bool((after[0] > before[0]).all())


def test_the_fused_loss_does_not_reach_the_heads() -> None:
    """Or heads would become over-confident just to win weight; the gates do learn."""
    made, values = fusion(), features()
    made(values, {}).square().sum().backward()
    for name in SIZES:
        assert all(item.grad is None for item in made.heads[name].parameters())
        assert all(bool(item.grad.abs().sum() > 0) for item in list(made.gates[name].parameters())[-2:] if item.grad is not None)
        assert made.gates[name][-1].bias.grad is not None  # type: ignore[index]


def test_bad_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="fusion budget: hidden = 0"):
        fusion(hidden=0)
