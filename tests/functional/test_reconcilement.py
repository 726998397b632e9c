"""Residual losses have the gradient of boosting; the authors' numbers, and where their code departs from their paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.functional.boosting import residual_weight
from equipoise.functional.reconcilement import disagreement, residual_losses
from equipoise.tasks import Classification

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "reconboost.json").read_text())["cases"]


def loaded(case: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    names = ("logits_trained", "logits_other")
    own, others = (torch.tensor(case["inputs"][name], dtype=torch.float64) for name in names)
    return own.requires_grad_(), others.requires_grad_(), torch.tensor(case["inputs"]["labels"])


def loss_of(own: Tensor, others: Tensor, labels: Tensor, strength: float) -> Tensor:
    losses = F.cross_entropy(own, labels, reduction="none")
    return residual_losses(losses, Classification(own.shape[1]).divergence(others.detach(), own), strength)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"seed {case['seed']}")
@pytest.mark.parametrize("strength", [0.0, 0.2, 1.0])
def test_gradient_is_minus_the_residual_of_boosting(case: dict[str, Any], strength: float) -> None:
    own, others, labels = loaded(case)
    loss_of(own, others, labels, strength).sum().backward()
    p, q, y = own.detach().softmax(1), others.detach().softmax(1), F.one_hot(labels, own.shape[1])
    assert own.grad is not None
    torch.testing.assert_close(own.grad, (1 - strength) * p - (y - strength * q), rtol=1e-9, atol=1e-12)
    if strength == 1:
        torch.testing.assert_close(own.grad, -(y - q), rtol=1e-9, atol=1e-12)
    assert others.grad is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"seed {case['seed']}")
def test_values_equal_a_naive_loop(case: dict[str, Any]) -> None:
    own, others, labels = loaded(case)
    own, others = own.detach(), others.detach()
    found = loss_of(own, others, labels, 0.7)
    for row, label in enumerate(labels):
        p, q = own[row].softmax(0), others[row].softmax(0)
        divergence = sum(float(q[k] * (q[k] / p[k]).log()) for k in range(len(p)))
        assert float(found[row]) == pytest.approx(-float(p[label].log()) - 0.7 * divergence, rel=1e-9)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"seed {case['seed']}")
def test_agreement_is_the_authors_value_but_has_a_gradient(case: dict[str, Any]) -> None:
    own, others, _ = loaded(case)
    value = disagreement(own.softmax(1), others.softmax(1)).mean()
    assert value.item() == pytest.approx(case["outputs"]["ga_loss"], rel=1e-9)
    assert not case["outputs"]["ga_requires_grad"]
    value.backward()
    assert own.grad is not None
    assert float(own.grad.abs().max()) > 1e-4
    assert others.grad is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"seed {case['seed']}")
def test_published_code_keeps_the_true_class_of_the_others_only(case: dict[str, Any]) -> None:
    own, others, labels = loaded(case)
    published = torch.tensor(case["outputs"]["boosting_loss_per_sample"], dtype=torch.float64)
    first, second = case["inputs"]["weight1"], case["inputs"]["weight2"]
    together = case["inputs"]["boost_rate"] * others
    losses = F.cross_entropy(own, labels, reduction="none")
    masked = first * residual_weight(together, labels, second / first) * losses
    torch.testing.assert_close(masked / own.shape[1], published, rtol=1e-9, atol=1e-12)
    ours = first * loss_of(own, together, labels, second / first)
    assert (ours - masked).abs().max().item() > 0.1
