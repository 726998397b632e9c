"""Cosine logits equal the authors' numbers and gradients; a vector without direction has neither logits nor gradient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.functional.cosine import cosine_logits

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "mmcosine.json").read_text())["cases"]


def leaves(case: dict[str, Any], names: tuple[str, str]) -> Tensor:
    return torch.tensor([case["inputs"][name] for name in names], dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"seed {case['seed']}")
def test_authors_logits_and_gradients(case: dict[str, Any]) -> None:
    features, weights = leaves(case, ("features_a", "features_v")), leaves(case, ("weight_a", "weight_v"))
    logits = cosine_logits(features, weights, case["inputs"]["scaling"])
    loss = F.cross_entropy(logits.sum(0), torch.tensor(case["inputs"]["labels"]))
    loss.backward()
    golden = {key: torch.tensor(value, dtype=torch.float64) for key, value in case["outputs"].items()}
    torch.testing.assert_close(logits, torch.stack([golden["logits_a"], golden["logits_v"]]), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logits.sum(0), golden["logits"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(loss, golden["ce"], rtol=1e-9, atol=1e-12)
    assert features.grad is not None
    assert weights.grad is not None
    torch.testing.assert_close(weights.grad, torch.stack([golden["grad_wa"], golden["grad_wv"]]), rtol=1e-8, atol=1e-9)
    lengths = features.detach().norm(dim=2)
    for number, name in enumerate(("grad_a", "grad_v")):
        known = lengths[number] > 0
        torch.testing.assert_close(features.grad[number][known], golden[name][known], rtol=1e-8, atol=1e-9)
        assert bool((features.grad[number][~known] == 0).all())


def test_equal_a_naive_loop() -> None:
    random = torch.Generator().manual_seed(0)
    features, weights = torch.randn(3, 5, 4, generator=random), torch.randn(3, 2, 4, generator=random)
    found = cosine_logits(features, weights, 7.0)
    for number in range(3):
        for row in range(5):
            for column in range(2):
                first, second = features[number, row], weights[number, column]
                expected = 7.0 * (first @ second) / (first.norm() * second.norm())
                torch.testing.assert_close(found[number, row, column], expected)


def test_length_does_not_matter() -> None:
    random = torch.Generator().manual_seed(0)
    features, weights = torch.randn(2, 5, 4, generator=random), torch.randn(2, 3, 4, generator=random)
    longer = cosine_logits(features * 100, weights * torch.tensor([0.01, 1.0, 1e4])[:, None], 10.0)
    torch.testing.assert_close(longer, cosine_logits(features, weights, 10.0))
    assert float(longer.abs().max()) <= 10.0 + 1e-5


def test_a_vector_without_direction_has_no_logits_and_no_gradient() -> None:
    features = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]], requires_grad=True)
    weights = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]], requires_grad=True)
    logits = cosine_logits(features, weights, 10.0)
    (logits * torch.tensor([1.0, 2.0])).sum().backward()
    assert logits[0, 0].tolist() == [0.0, 0.0]
    for leaf, empty in ((features, 0), (weights, 1)):
        assert leaf.grad is not None
        assert leaf.grad[0, empty].tolist() == [0.0, 0.0]
        assert bool((leaf.grad[0, 1 - empty] != 0).all())
