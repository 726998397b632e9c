"""Minimum-norm weights and MMPareto's combination equal the authors' and a library's numbers, and a brute-force search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from equipoise.functional.pareto import min_norm_pair, mmpareto_combine, mmpareto_weights

GOLDEN = Path(__file__).parents[1] / "golden"
CASE: dict[str, Any] = json.loads((GOLDEN / "mmpareto.json").read_text())["cases"][0]
LIBRARY: list[dict[str, Any]] = json.loads((GOLDEN / "torchjd_minnorm.json").read_text())["cases"]
GAMMA = 1.5

vectors = st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


def tensors(values: list[Any]) -> list[Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in values]


def flat(values: list[Any]) -> Tensor:
    return torch.cat([value.reshape(-1) for value in tensors(values)])


@pytest.mark.parametrize("case", LIBRARY)
def test_library_numbers(case: dict[str, Any]) -> None:
    first, second = torch.tensor(case["J"], dtype=torch.float64)
    weights = min_norm_pair(first, second)
    torch.testing.assert_close(weights, torch.tensor(case["weights"], dtype=torch.float64), rtol=1e-9, atol=1e-12)
    square = float((weights[0] * first + weights[1] * second).square().sum())
    # The library lists the square or the length of the shortest vector; both follow from the weights.
    assert case["value"] == pytest.approx(square, rel=1e-9) or case["value"] == pytest.approx(square**0.5, rel=1e-9)


@pytest.mark.parametrize("pair", CASE["pairs"])
def test_authors_solver(pair: dict[str, Any]) -> None:
    first, second = tensors([pair["g1"], pair["g2"]])
    weights = min_norm_pair(first, second)
    published = torch.tensor(pair["weights"], dtype=torch.float64)
    if torch.equal(first, second):  # all weights give the same vector; the published code takes a corner
        assert weights.tolist() == [0.5, 0.5]
    elif min(abs(float(value) - 0.001) for value in published) > 1e-12:
        torch.testing.assert_close(weights, published, rtol=1e-9, atol=1e-9)
    else:  # the published code stops short of the corners, which training never reaches
        torch.testing.assert_close(weights, published.round(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("step", CASE["steps"], ids=lambda step: step["kind"])
@pytest.mark.parametrize("modality", ["audio", "visual"])
def test_authors_training_step(step: dict[str, Any], modality: str) -> None:
    fused, own = step[f"g_both_{modality}"], step[f"g_uni_{modality}"]
    weights, cosine = mmpareto_weights(flat(fused), flat(own))
    assert float(cosine) == pytest.approx(step[f"cos_{modality}"], rel=1e-9)
    torch.testing.assert_close(
        weights, torch.tensor(step[f"weights_{modality}_multi_uni"], dtype=torch.float64), rtol=1e-9, atol=1e-12
    )
    # The published code restores lengths tensor by tensor.
    for first, second, final in zip(tensors(fused), tensors(own), tensors(step[f"final_{modality}"]), strict=True):
        torch.testing.assert_close(mmpareto_combine(first, second, weights, GAMMA), final, rtol=1e-9, atol=1e-12)


def test_length_is_restored_per_encoder() -> None:
    """Differs from the published code: all tensors of an encoder are stretched by one factor."""
    step = next(step for step in CASE["steps"] if step["kind"] == "conflict_both")
    fused, own, final = (flat(step[f"{kind}_audio"]) for kind in ("g_both", "g_uni", "final"))
    weights, _ = mmpareto_weights(fused, own)
    ours = mmpareto_combine(fused, own, weights, GAMMA)
    assert not torch.allclose(ours, final, rtol=1e-3)
    assert float(ours.norm()) == pytest.approx(GAMMA * float((fused + own).norm()), rel=1e-9)


@given(vectors, vectors)
@settings(deadline=None, max_examples=60)
def test_no_other_weights_are_shorter(first: Tensor, second: Tensor) -> None:
    weights = min_norm_pair(first, second)
    assert float(weights.sum()) == pytest.approx(1)
    assert bool((weights >= 0).all())
    share = torch.linspace(0, 1, 501, dtype=torch.float64)[:, None]
    best = (share * first + (1 - share) * second).norm(dim=1).min()
    assert float((weights[0] * first + weights[1] * second).norm()) <= float(best) + 1e-9


@given(vectors, vectors)
@settings(deadline=None, max_examples=60)
def test_weights_are_halves_exactly_while_gradients_agree(first: Tensor, second: Tensor) -> None:
    weights, cosine = mmpareto_weights(first, second)
    product = float(first @ second)
    assert bool(torch.isfinite(weights).all())
    if float(cosine) > 0:
        assert weights.tolist() == [0.5, 0.5]
    else:
        assert torch.equal(weights, min_norm_pair(first, second))
        combined = weights[0] * first + weights[1] * second
        # Descent for both: a step against the combination raises neither loss.
        assert min(float(combined @ first), float(combined @ second)) >= -1e-9
    if abs(product) > 1e-9:
        assert (float(cosine) > 0) == (product > 0)


def test_zero_gradients_give_zero_and_not_nan() -> None:
    nothing, some = torch.zeros(3), torch.tensor([1.0, -2.0, 0.5])
    for first, second in ((nothing, nothing), (nothing, some), (some, nothing), (some, -some)):
        weights, cosine = mmpareto_weights(first, second)
        assert bool(torch.isfinite(torch.stack([*weights, cosine])).all())
        assert bool(torch.isfinite(mmpareto_combine(first, second, weights, GAMMA)).all())
    assert min_norm_pair(some, some).tolist() == [0.5, 0.5]
