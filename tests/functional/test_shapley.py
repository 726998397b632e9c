"""Interactions and sampled values against golden numbers, closed forms and sums over all subsets."""

from __future__ import annotations

import json
from itertools import combinations
from math import factorial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.errors import ConfigError
from equipoise.functional.coalitions import shapley_values
from equipoise.functional.shapley import sampled_shapley, shapley_interactions

GAMES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "shapley_games.json").read_text())["cases"]


def members(count: int) -> Tensor:
    """Members of all coalitions by their numbers."""
    return (torch.arange(2**count)[:, None] >> torch.arange(count)) % 2 == 1


@pytest.mark.parametrize("case", GAMES, ids=lambda case: f"{case['inputs']['M']} players")
def test_golden_games(case: dict[str, Any]) -> None:
    """The library of the golden numbers gives the Shapley-Taylor index instead, from which ours must differ."""
    values = torch.tensor(case["inputs"]["value_by_bitmask"], dtype=torch.float64)
    golden = {key: torch.tensor(value, dtype=torch.float64) for key, value in case["outputs"].items()}
    torch.testing.assert_close(shapley_values(values), golden["shapley"], rtol=0, atol=1e-9)
    found = shapley_interactions(values)
    torch.testing.assert_close(found, golden["own_shapley_interaction_index"], rtol=0, atol=1e-9)
    theirs = golden["own_shapley_taylor_order2"] * ~torch.eye(len(found), dtype=torch.bool)
    assert float((found - theirs).abs().max()) > 1e-3


@pytest.mark.parametrize("count", [2, 3, 5])
def test_interactions_equal_a_sum_over_subsets(count: int) -> None:
    values = torch.randn(2**count, 3, dtype=torch.float64)
    found = shapley_interactions(values)
    for one, two in combinations(range(count), 2):
        others, total = [item for item in range(count) if item not in (one, two)], torch.zeros(3, dtype=torch.float64)
        for size in range(len(others) + 1):
            chance = factorial(size) * factorial(count - size - 2) / factorial(count - 1)
            for chosen in combinations(others, size):
                base = sum(2**item for item in chosen)
                both, first, second = base + 2**one + 2**two, base + 2**one, base + 2**two
                total += chance * (values[both] - values[first] - values[second] + values[base])
        torch.testing.assert_close(found[one, two], total)
        torch.testing.assert_close(found[two, one], total)
    assert float(found.diagonal().abs().max()) == 0


def test_additive_games_do_not_interact() -> None:
    worth = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    values = members(3).double() @ worth + 0.3
    torch.testing.assert_close(shapley_values(values), worth)
    torch.testing.assert_close(shapley_interactions(values), torch.zeros(3, 3, dtype=torch.float64))


def test_unanimity_games_are_shared_out_evenly() -> None:
    """Worth 1 where all of the first three of four take part: a third each, and 1/2 for each pair of them."""
    values = members(4)[:, :3].all(1).double()
    torch.testing.assert_close(shapley_values(values), torch.tensor([1 / 3, 1 / 3, 1 / 3, 0], dtype=torch.float64))
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[:3, :3] = 0.5
    expected.fill_diagonal_(0)
    torch.testing.assert_close(shapley_interactions(values), expected)


def test_one_modality_has_everything() -> None:
    values = torch.tensor([0.25, 0.75])
    assert shapley_values(values).tolist() == [0.5]
    assert shapley_interactions(values).tolist() == [[0.0]]


def test_sampling_finds_the_exact_values_within_its_error() -> None:
    values = torch.randn(2**5, dtype=torch.float64)
    numbers = 2 ** torch.arange(5)
    found, error = sampled_shapley(lambda rows: values[rows.long() @ numbers], 5, orders=600)
    distance = (found - shapley_values(values)).abs()
    assert bool((distance < 4 * error).all())
    assert bool((error > 0).all())
    assert float(error.max()) < 0.2
    assert float(found.sum()) == pytest.approx(float(values[-1] - values[0]))


def test_sampling_of_many_players_needs_few_coalitions() -> None:
    worth = torch.randn(20, dtype=torch.float64)
    asked = []

    def value(rows: Tensor) -> Tensor:
        asked.append(len(rows))
        assert len(rows.unique(dim=0)) == len(rows)
        return torch.stack([rows.double() @ worth, rows.any(1).double()], 1)

    found, error = sampled_shapley(value, 20, orders=8)
    torch.testing.assert_close(found[:, 0], worth)
    assert found[:, 1].sum() == pytest.approx(1.0)
    assert float(error[:, 0].max()) < 1e-12
    assert len(asked) == 1
    assert asked[0] <= 8 * 19 + 2


def test_one_order_has_no_error() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        sampled_shapley(lambda rows: rows.double().sum(1), 3, orders=1)
