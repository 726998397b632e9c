"""The recursive projector equals its closed form; the published code's differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.functional.projection import recursive_projector

STEPS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "mla.json").read_text())["cases"][0]["steps"]


@given(st.integers(1, 6), st.integers(1, 5), st.floats(0.01, 1.0), st.integers(0, 100))
@settings(deadline=None, max_examples=40)
def test_equals_the_inverse_of_the_sum_of_squares(size: int, count: int, alpha: float, seed: int) -> None:
    vectors = torch.randn(count, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    projector = torch.eye(size, dtype=torch.float64)
    for vector in vectors:
        projector = recursive_projector(projector, vector, alpha)
    closed = alpha * torch.linalg.inv(alpha * torch.eye(size, dtype=torch.float64) + vectors.T @ vectors)
    torch.testing.assert_close(projector, closed, rtol=1e-8, atol=1e-10)


def test_used_directions_vanish_and_others_stay() -> None:
    used = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64)
    projector = recursive_projector(torch.eye(3, dtype=torch.float64), used, 1e-9)
    assert float((projector @ used).norm()) < 1e-8
    for free in (torch.tensor([-4.0, 3.0, 0.0]).double(), torch.tensor([0.0, 0.0, 1.0]).double()):
        torch.testing.assert_close(projector @ free, free, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("step", STEPS[1:], ids=lambda step: f"step {step['counter']}")
def test_differs_from_the_published_code(step: dict[str, Any]) -> None:
    """It divides by a matrix, element by element, where recursive least squares has one number, and fixes the length of P."""
    before, after = (torch.tensor(step[key], dtype=torch.float64) for key in ("P_before", "P_after"))
    feature = torch.tensor(step["features"], dtype=torch.float64).mean(0)
    alpha = 0.1 ** (step["batch_index"] / step["len_loader"] + 1)
    used = (before @ feature)[:, None]
    published = before - (used @ used.T) / (alpha + used @ feature[None])
    torch.testing.assert_close(published / published.norm(), after, rtol=1e-9, atol=1e-12)
    ours = recursive_projector(before, feature, alpha)
    assert float((ours / ours.norm() - after).abs().max()) > 1e-2
    # Only ours takes the feature out.
    assert float((ours @ feature).norm()) < float((before @ feature).norm())
