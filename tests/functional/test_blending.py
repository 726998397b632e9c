"""Blending weights equal the paper's formula; where the formula breaks down they stay finite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.functional.blending import blending_weights

CASE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "gblend.json").read_text())["cases"][0]
START_TRAIN, START_VALIDATION, END_TRAIN, END_VALIDATION = torch.tensor(CASE["inputs"]["losses"], dtype=torch.float64).T


def weights(train: list[float], validation: list[float]) -> Tensor:
    """Weights of branches that all start at a loss of 1."""
    return blending_weights(torch.ones(2, len(train)), torch.tensor([train, validation]))


def test_paper_formula() -> None:
    golden = CASE["outputs"]["own_paper_formula_signed"]
    found = blending_weights(torch.stack([START_TRAIN, START_VALIDATION]), torch.stack([END_TRAIN, END_VALIDATION]))
    torch.testing.assert_close(found, torch.tensor(golden["normalised"], dtype=torch.float64), rtol=1e-9, atol=1e-12)


def test_published_default_takes_losses_for_gains() -> None:
    """It divides the final validation loss by the square of the final gap: of two like gaps the worse branch weighs more."""
    golden = torch.tensor(CASE["outputs"]["delta_False"]["raw"], dtype=torch.float64)
    torch.testing.assert_close(END_VALIDATION / (END_VALIDATION - END_TRAIN).square(), golden, rtol=1e-9, atol=1e-12)
    better, worse = weights([0.2, 0.5], [0.4, 0.7])
    assert better > worse


def test_a_branch_that_over_fits_weighs_less() -> None:
    careful, greedy = weights([0.4, 0.01], [0.5, 0.5])
    assert careful > 10 * greedy


def test_a_rising_validation_loss_is_no_gain() -> None:
    falling, rising = weights([0.4, 0.0], [0.6, 1.4])
    assert falling > 100 * rising > 0


@pytest.mark.parametrize("gap", [0.0, 1e-6, 0.01])
def test_a_gap_that_does_not_change_counts_as_the_least_one(gap: float) -> None:
    torch.testing.assert_close(weights([0.5 - gap, 0.49], [0.5, 0.5]), torch.tensor([0.5, 0.5]), rtol=1e-4, atol=1e-4)


def test_what_was_not_measured_has_no_weight() -> None:
    found = weights([0.4, float("nan"), 0.4], [0.5, 0.5, 0.5])
    torch.testing.assert_close(found, torch.tensor([0.5, 0.0, 0.5]))
