"""Prototypes, their losses and switches equal naive loops; gradients go where they should."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.errors import ConfigError, DataError
from equipoise.functional.prototypes import (
    below_budget,
    posterior_weights,
    prototype_losses,
    sample_switch,
    update_prototypes,
)


def unit(*shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


@pytest.mark.parametrize("rate", [0.0, 0.7, 1.0])
def test_update_equals_a_naive_loop(rate: float) -> None:
    prototypes, features = unit(5, 3), unit(12, 3)
    seen, target = torch.tensor([True, True, False, False, True]), torch.randint(0, 4, (12,))  # class 4 is absent
    target[:4] = torch.arange(4)
    found, now_seen = update_prototypes(prototypes, seen, features, target, rate)
    for k in range(5):
        rows = [features[i] for i in range(12) if target[i] == k]
        if not rows:
            expected = prototypes[k]
        else:
            mean = sum(rows, torch.zeros(3, dtype=torch.float64)) / len(rows)
            expected = rate * prototypes[k] + (1 - rate) * mean if seen[k] else mean
            expected = expected / expected.norm()
        torch.testing.assert_close(found[k], expected)
    assert now_seen.tolist() == [True] * 5
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5, dtype=torch.float64))


def test_update_is_pure_and_detached() -> None:
    prototypes, seen, features = torch.zeros(3, 2), torch.zeros(3, dtype=torch.bool), unit(4, 2).requires_grad_()
    found, now_seen = update_prototypes(prototypes, seen, features, torch.tensor([0, 0, 2, 2]))
    assert not prototypes.any()
    assert not seen.any()
    assert now_seen.tolist() == [True, False, True]
    assert not found[1].any()
    assert not found.requires_grad
    assert found.dtype == torch.float32


@pytest.mark.parametrize("seen", [[True] * 4, [True, False, True, True]])
def test_losses_equal_a_naive_loop(seen: list[bool]) -> None:
    prototypes, features, target = unit(4, 3), unit(9, 3), torch.arange(9) % 4
    losses = prototype_losses(features, prototypes, torch.tensor(seen), target, 0.3)
    for i in range(9):
        scores = [torch.exp(features[i] @ prototypes[k] / 0.3) for k in range(4)]
        total = sum(score for score, known in zip(scores, seen, strict=True) if known)
        expected = -torch.log(scores[target[i]] / total).item() if seen[target[i]] else 0.0
        assert losses[i].item() == pytest.approx(expected)


def test_gradients_reach_the_weak_modality_alone() -> None:
    prototypes, features = unit(4, 3).requires_grad_(), unit(6, 3).requires_grad_()
    seen, target = torch.tensor([True, True, False, True]), torch.tensor([0, 1, 2, 3, 2, 0])
    prototype_losses(features, prototypes, seen, target).sum().backward()
    assert prototypes.grad is None
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert features.grad.abs().sum(1).gt(0).tolist() == [True, True, False, True, False, True]


def test_nothing_seen_is_no_loss() -> None:
    features = unit(3, 2).float().requires_grad_()
    losses = prototype_losses(features, torch.zeros(2, 2), torch.zeros(2, dtype=torch.bool), torch.tensor([0, 1, 1]))
    assert losses.tolist() == [0, 0, 0]
    losses.sum().backward()
    assert features.grad is not None
    assert not features.grad.any()


def test_one_class_seen_is_no_loss() -> None:
    losses = prototype_losses(unit(2, 3), unit(2, 3), torch.tensor([True, False]), torch.tensor([0, 1]))
    torch.testing.assert_close(losses, torch.zeros(2, dtype=torch.float64))


def test_switches() -> None:
    budgets = torch.tensor([1.0, 0.4, 0.0])
    assert below_budget(torch.tensor([0.94, 0.39, 0.0]), budgets).tolist() == [True, False, False]
    assert below_budget(budgets, budgets).tolist() == [False] * 3
    assert below_budget(torch.tensor([0.94]), torch.tensor([1.0]), slack=0.1).tolist() == [False]
    mine, its = torch.tensor([0.19, 0.21, 0.9]), torch.tensor([0.4, 0.4, 0.95])
    assert sample_switch(mine, its, 0.5, 1.0).tolist() == [True, False, False]
    assert sample_switch(mine, its, 1.0, 1.0).tolist() == [True, True, True]
    assert sample_switch(mine, its, 3.0, 1.0).tolist() == [True, True, True]
    assert sample_switch(mine, its, 0.0, 1.0).tolist() == [False] * 3
    assert sample_switch(mine, its, 0.0, 0.0).tolist() == [True, True, True]


def test_switch_scores_are_probabilities_of_the_loss() -> None:
    prototypes, features, target = unit(3, 4), unit(5, 4), torch.tensor([0, 1, 2, 1, 0])
    losses = prototype_losses(features, prototypes, torch.ones(3, dtype=torch.bool), target)
    scores = (features @ prototypes.T / 0.1).softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close((-losses).exp(), scores)


@pytest.mark.parametrize("modalities", [1, 2, 4])
def test_posterior_equals_a_naive_loop(modalities: int) -> None:
    shares = torch.rand(modalities, dtype=torch.float64).softmax(0)
    gates, present = torch.rand(8, modalities, dtype=torch.float64), torch.rand(8, modalities) < 0.6
    present[0], present[1] = False, True
    found = posterior_weights(shares, gates, present)
    for i in range(8):
        total = sum((shares[m] * gates[i, m]).item() for m in range(modalities) if present[i, m])
        for m in range(modalities):
            expected = (shares[m] * gates[i, m]).item() / total if present[i, m] else 0.0
            assert found[i, m].item() == pytest.approx(expected)
    torch.testing.assert_close(found.sum(1), present.any(1).double())


def test_posterior_of_equal_gates_is_the_prior_and_falls_with_a_gate() -> None:
    shares = torch.tensor([0.5, 0.3, 0.2])
    torch.testing.assert_close(posterior_weights(shares, torch.full((2, 3), 0.7)), shares.expand(2, 3))
    torch.testing.assert_close(posterior_weights(shares, torch.zeros(1, 3)), shares.expand(1, 3))
    lower = posterior_weights(shares, torch.tensor([[0.7, 0.1, 0.7]]))
    assert lower[0, 1] < 0.3
    assert (lower[0, [0, 2]] > shares[[0, 2]]).all()


def test_posterior_gradients_are_finite() -> None:
    shares = torch.tensor([0.5, 0.5], dtype=torch.float64)
    gates = torch.tensor([[0.2, 0.3], [0.4, 0.1], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    present = torch.tensor([[True, True], [False, False], [True, True]])
    posterior_weights(shares, gates, present)[:, 0].sum().backward()
    assert gates.grad is not None
    assert gates.grad.isfinite().all()
    assert not gates.grad[1].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: update_prototypes(torch.zeros(2, 3), torch.ones(2) > 0, torch.zeros(4, 2), torch.zeros(4).long()),
            "features, proto",
        ),
        (
            lambda: prototype_losses(torch.zeros(4, 3), torch.zeros(2, 3), torch.ones(3) > 0, torch.zeros(4).long()),
            "features, proto",
        ),
        (lambda: below_budget(torch.zeros(2), torch.zeros(3)), "expected one shape"),
        (lambda: sample_switch(torch.zeros(2), torch.zeros(3), 1.0, 1.0), "expected one shape"),
        (lambda: posterior_weights(torch.zeros(2), torch.zeros(4, 3)), "one prior for each"),
        (lambda: posterior_weights(torch.zeros(3), torch.zeros(4, 3), torch.zeros(3, 3) > 0), "one prior for each"),
    ],
)
def test_bad_data_is_named(call: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()


def test_bad_options_are_named() -> None:
    good = torch.zeros(2, 3), torch.ones(2) > 0
    with pytest.raises(ConfigError, match=r"rate is 1\.5"):
        update_prototypes(*good, torch.zeros(4, 3), torch.zeros(4).long(), 1.5)
    with pytest.raises(ConfigError, match="temperature is 0"):
        prototype_losses(torch.zeros(4, 3), *good, torch.zeros(4).long(), 0)
