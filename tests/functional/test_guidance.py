"""Factors are the paper's where metrics rise and stay bounded where they fall; gradients and their angles are autograd's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.functional.guidance import direction_loss, guided_factors, head_gradient


def numbers(count: int, seed: int) -> list[float]:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_factors_are_the_papers_while_all_metrics_rise(count: int) -> None:
    rises = [abs(value) for value in numbers(count, count)]
    expected = []
    for modality in range(count):
        others = sum(rises[other] for other in range(count) if other != modality)
        expected.append(1.3 * others / sum(rises))
    assert guided_factors(rises, 1.3) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(20))
def test_factors_are_bounded_and_slow_who_rises_more(seed: int) -> None:
    changes = numbers(4, seed)
    factors = guided_factors(changes, 2.0)
    assert all(0.0 <= factor <= 2.0 for factor in factors)
    for one in range(4):
        for other in range(4):
            if changes[one] > max(changes[other], 0.0):
                assert factors[one] < factors[other]


def test_a_metric_that_fell_counts_as_one_that_stood_still() -> None:
    # The paper's own ratio would be -2 and 3: it turns the gradient of the first encoder round.
    assert guided_factors([0.3, -0.2], 1.0) == [0.0, 1.0]


def test_where_nothing_rises_all_are_alike() -> None:
    for changes in ([0.0, 0.0, 0.0], [-0.1, -0.2, 0.0], [1e-9, 0.0, -1.0]):
        assert guided_factors(changes, 1.5) == pytest.approx([1.0, 1.0, 1.0])


def test_what_is_not_known_is_left_alone() -> None:
    assert guided_factors([0.1, math.nan, 0.3], 2.0) == pytest.approx([1.5, 1.0, 0.5])
    for changes in ([0.2], [math.nan, 0.2], [math.nan, math.nan], [0.0]):
        assert guided_factors(changes, 2.0) == [1.0] * len(changes)


def test_gradient_of_a_head_is_autograds() -> None:
    random = torch.Generator().manual_seed(0)
    features = torch.randn(7, 4, generator=random, dtype=torch.float64)
    target = torch.arange(7) % 3
    head = nn.Linear(4, 3).double()
    logits = head(features)
    (slope,) = torch.autograd.grad(F.cross_entropy(logits, target), logits, retain_graph=True)
    (expected,) = torch.autograd.grad(F.cross_entropy(logits, target), head.weight)
    torch.testing.assert_close(head_gradient(slope, features), expected)


def test_direction_loss_equals_a_naive_loop() -> None:
    random = torch.Generator().manual_seed(1)
    shapes, factors = ((3, 2), (3, 5), (3, 1)), [0.2, 1.1, 0.7]

    def some() -> list[Tensor]:
        return [torch.randn(*shape, generator=random, dtype=torch.float64) for shape in shapes]

    fused, unimodal = some(), some()
    total = 0.0
    for factor, first, second in zip(factors, fused, unimodal, strict=True):
        pairs = list(zip(first.flatten().tolist(), second.flatten().tolist(), strict=True))
        product = sum(one * other for one, other in pairs)
        lengths = math.sqrt(sum(one**2 for one, _ in pairs) * sum(other**2 for _, other in pairs))
        total += abs(factor) - factor * product / lengths
    assert float(direction_loss(factors, fused, unimodal)) == pytest.approx(total / 3)
    assert float(direction_loss(factors, fused, fused)) == pytest.approx(0.0, abs=1e-12)
    assert float(direction_loss(factors, fused, [-item for item in fused])) == pytest.approx(2 / 3 * sum(factors))
    # Only directions count.
    assert float(direction_loss(factors, [1e-9 * item for item in fused], unimodal)) == pytest.approx(total / 3)


def test_gradients_of_length_zero_do_no_harm() -> None:
    nothing = torch.zeros(2, 3, requires_grad=True)
    loss = direction_loss([0.5, 1.0], [nothing, torch.ones(2)], [torch.zeros(2, 3), torch.ones(2)])
    assert float(loss.detach()) == pytest.approx(0.25)
    (gradient,) = torch.autograd.grad(loss, nothing)
    assert bool((gradient == 0).all())
