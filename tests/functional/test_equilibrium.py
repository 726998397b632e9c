"""Contributions against a library's exact Shapley values, and the deviation from equal ones against its definition."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import pstdev
from typing import Any

import pytest
import torch

from equipoise.functional.coalitions import shapley_values
from equipoise.functional.equilibrium import contribution_shares, equilibrium_deviation

GAMES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "shapley_games.json").read_text())["cases"]


@pytest.mark.parametrize("case", GAMES, ids=lambda case: f"{case['inputs']['M']} players")
def test_shapley_values_are_those_of_a_library(case: dict[str, Any]) -> None:
    values = torch.tensor(case["inputs"]["value_by_bitmask"], dtype=torch.float64)
    expected = torch.tensor(case["outputs"]["shapley"], dtype=torch.float64)
    torch.testing.assert_close(shapley_values(values), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_deviation_is_the_standard_deviation_in_parts_of_the_largest(count: int) -> None:
    shares = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    shares = shares / shares.sum()
    largest = pstdev([1.0] + [0.0] * (count - 1))
    assert float(equilibrium_deviation(shares)) == pytest.approx(pstdev(shares.tolist()) / largest)


def test_one_modality_is_in_equilibrium_with_itself() -> None:
    assert float(equilibrium_deviation(contribution_shares(torch.tensor([0.4])))) == 0.0


def test_nobody_contributing_is_equilibrium() -> None:
    assert contribution_shares(torch.tensor([-0.1, 0.0, -0.2, 0.0])).tolist() == [0.25] * 4
