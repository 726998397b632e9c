"""Decompositions against golden numbers, closed forms and a search over all distributions."""

from __future__ import annotations

import json
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.errors import DataError
from equipoise.functional.decomposition import (
    broja_parts,
    joint_table,
    minimum_parts,
    mutual_information,
    specific_parts,
)

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "pid.json").read_text())["cases"]
WAYS = {"I_min": specific_parts, "MMI": minimum_parts, "BROJA": broja_parts}


def table_of(case: dict[str, Any]) -> Tensor:
    """The joint distribution of a golden case."""
    cells = torch.tensor([[int(word) for word in row] for row in case["inputs"]["outcomes_x1_x2_y"]])
    joint = torch.zeros(*(cells.max(0).values + 1).tolist(), dtype=torch.float64)
    joint[tuple(cells.T)] = torch.tensor(case["inputs"]["pmf"], dtype=torch.float64)
    return joint / joint.sum()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["inputs"]["name"])
def test_golden_cases(case: dict[str, Any], way: str) -> None:
    golden = [case["outputs"][way][key] for key in ("rdn", "unq1", "unq2", "syn")]
    found = WAYS[way](table_of(case)) / log(2)
    assert found.tolist() == pytest.approx(golden, abs=2e-6)


@pytest.mark.parametrize("seed", range(3))
def test_binary_variables_against_a_search(seed: int) -> None:
    """Two binary sources and a binary target leave one free number per value of the target."""
    joint = torch.rand(2, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    joint /= joint.sum()
    steps = []
    for code in range(2):
        slab = joint[:, :, code]
        low, high = -float(slab.diagonal().min()), float(torch.minimum(slab[0, 1], slab[1, 0]))
        steps.append(torch.linspace(low, high, 801, dtype=torch.float64))
    change = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    tried = joint + torch.stack(
        [
            steps[0][:, None, None, None] * change * torch.ones(1, 801, 1, 1),
            steps[1][None, :, None, None] * change * torch.ones(801, 1, 1, 1),
        ],
        -1,
    )
    least = float(mutual_information(tried.clamp_min(0).flatten(2, 3)).min())
    found = broja_parts(joint)
    both = float(mutual_information(joint.flatten(0, 1)))
    assert both - float(found[3]) == pytest.approx(least, abs=1e-5)
    assert both - float(found[3]) <= least + 1e-6


@pytest.mark.parametrize("way", WAYS.values())
def test_parts_add_up_and_many_tables_equal_one_by_one(way: Any) -> None:
    joint = torch.rand(2, 3, 4, 3, 2, dtype=torch.float64)
    joint[0, 0, :, 0] = 0  # empty cells
    joint /= joint.sum((2, 3, 4), keepdim=True)
    found = way(joint)
    assert found.shape == (2, 3, 4)
    torch.testing.assert_close(found[1, 2], way(joint[1, 2]))
    torch.testing.assert_close(found[0, 0], way(joint[0, 0]))
    redundant, first, second, synergistic = found.unbind(-1)
    torch.testing.assert_close(redundant + first, mutual_information(joint.sum(-2)))
    torch.testing.assert_close(redundant + second, mutual_information(joint.sum(-3)))
    torch.testing.assert_close(redundant + first + second + synergistic, mutual_information(joint.flatten(-3, -2)))
    assert float(found.min()) > -1e-6


@pytest.mark.parametrize("way", [minimum_parts, broja_parts])
def test_gaussian_variables(way: Any) -> None:
    """For Gaussians redundancy is the lesser information; a fine grid of them must come close to the closed form."""
    cells = 9
    edges = torch.linspace(-2.8, 2.8, cells, dtype=torch.float64)
    grid = torch.cartesian_prod(edges, edges, edges)
    covariance = torch.tensor([[1.0, 0.3, 0.7], [0.3, 1.0, 0.5], [0.7, 0.5, 1.0]], dtype=torch.float64)
    density = torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance).log_prob(grid).exp()
    found = way((density / density.sum()).view(cells, cells, cells))
    first, second = -0.5 * log(1 - 0.7**2), -0.5 * log(1 - 0.5**2)
    both = 0.5 * float(torch.logdet(covariance[:2, :2]) - torch.logdet(covariance))
    expected = [second, first - second, 0.0, both - first]
    assert found.tolist() == pytest.approx(expected, abs=0.02)


def test_tables_of_resamples_are_tables_of_repeated_samples() -> None:
    codes = [torch.randint(size, (40,)) for size in (2, 3, 2)]
    counts = torch.randint(3, (4, 40)).double()
    tables = joint_table(*codes, (2, 3, 2), counts)
    for row, table in zip(counts, tables, strict=True):
        rows = torch.arange(40).repeat_interleave(row.long())
        torch.testing.assert_close(table, joint_table(*(code[rows] for code in codes), (2, 3, 2)))
    assert float(tables.sum((1, 2, 3)).min()) == pytest.approx(1.0)


def test_no_samples_are_refused() -> None:
    empty = torch.zeros(0, dtype=torch.long)
    with pytest.raises(DataError, match="no samples"):
        joint_table(empty, empty, empty, (2, 2, 2))
