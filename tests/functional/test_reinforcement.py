"""Information of counts against sums over cells, and factors against the formula for two modalities."""

from __future__ import annotations

from itertools import product
from math import log, nan
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.functional.reinforcement import (
    joint_histogram,
    moments,
    normalised_information,
    reinforced_contributions,
    reinforcement,
    standing,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(counts: Tensor) -> tuple[float, float]:
    """Sums over the cells of the definitions."""
    p: Any = (counts / counts.sum()).numpy()
    cells = list(product(range(p.shape[0]), repeat=3))

    def entropy(*axes: int) -> float:
        rest = tuple(axis for axis in range(3) if axis not in axes)
        return -sum(float(q) * log(q) for q in p.sum(rest).flatten() if q > 0)

    plain = sum(
        p[x, u].sum() * log(p[x, u].sum() / (p[x].sum() * p[:, u].sum()))
        for x, u in product(range(p.shape[0]), repeat=2)
        if p[x, u].sum() > 0
    )
    conditional = sum(
        p[x, u, z] * log(p[:, :, z].sum() * p[x, u, z] / (p[x, :, z].sum() * p[:, u, z].sum()))
        for x, u, z in cells
        if p[x, u, z] > 0
    )
    given = entropy(0, 2) + entropy(1, 2) - 2 * entropy(2)
    return 2 * plain / (entropy(0) + entropy(1)), 2 * conditional / given


@pytest.mark.parametrize("bins", [2, 3, 5])
def test_information_equals_sums_over_cells(bins: int) -> None:
    counts = torch.where(draw(4, bins, bins, bins) < 0.3, 0.0, draw(4, bins, bins, bins, seed=1))
    plain, conditional = normalised_information(counts)
    for number in range(4):
        assert (float(plain[number]), float(conditional[number])) == pytest.approx(naive(counts[number]), rel=1e-9)


def test_information_of_what_the_published_code_gets_wrong() -> None:
    """Given z, variables that are independent and variables that copy z say nothing of each other (published: 0.44 and 0.38)."""
    x, u, z = (draw(20000, 1, seed=seed) for seed in range(3))
    every = torch.ones(20000, dtype=torch.float64)
    independent = joint_histogram(x, u, z, every, 2)
    copy = joint_histogram(x, z, z, every, 2)
    parity = joint_histogram(x, ((x > 0.5) ^ (z > 0.5)).double(), z, every, 2)
    plain, conditional = normalised_information(torch.stack([independent, copy, parity]))
    assert plain.tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert conditional.tolist() == pytest.approx([0, 0, 1], abs=1e-3)


def test_nothing_varies() -> None:
    counts = torch.zeros(2, 3, 3, 3)
    counts[0, 1, 1, 1] = 7.0
    assert [value.tolist() for value in normalised_information(counts)] == [[0, 0], [0, 0]]


def test_histogram_counts_present_samples() -> None:
    values, weights = draw(3, 50, 4), (draw(50, seed=5) > 0.3).double()
    found = joint_histogram(values[0], values[1], values[2], weights, 3)
    expected = torch.zeros_like(found)
    for row, column in product(range(50), range(4)):
        cell = [min(int(3 * float(value[row, column])), 2) for value in values]
        expected[tuple(cell)] += weights[row]
    assert torch.equal(found, expected)


def test_standing_does_not_depend_on_scale_or_on_absent_samples() -> None:
    values, weights = draw(2, 50, 4) * 8 - 5, (draw(2, 50, seed=5) > 0.3).double()
    found = standing(values, moments(values, weights))
    for kind in range(2):
        some = values[kind][weights[kind] > 0]
        expected = torch.distributions.Normal(some.mean(), some.std(correction=0)).cdf(values[kind])
        torch.testing.assert_close(found[kind], expected)
    torch.testing.assert_close(standing(9 * values + 1, moments(9 * values + 1, weights)), found)


def test_formulas_of_two_modalities() -> None:
    plain, conditional = torch.tensor([0.6, 0.3]), torch.tensor([0.4, 0.1])
    found = reinforced_contributions(plain, conditional, torch.tensor(0.9), torch.tensor([0.8, 0.5]))
    first, second = 0.9 * 0.6 + 0.5 * (0.6 - 0.4), 0.9 * 0.3 + 0.8 * (0.3 - 0.1)
    assert found.tolist() == pytest.approx([first, second])
    assert reinforcement(found, 5.0).tolist() == pytest.approx([second / first, first / second])
    assert reinforcement(found, 1.2).tolist() == pytest.approx([1 / 1.2, 1.2])


def test_several_modalities_and_unknown_ones() -> None:
    values = torch.tensor([0.2, nan, 0.4, -0.5])
    found = reinforcement(values, 1e9).tolist()
    assert found == pytest.approx([(0.4 * 0.001) ** 0.5 / 0.2, 1.0, (0.2 * 0.001) ** 0.5 / 0.4, (0.2 * 0.4) ** 0.5 / 0.001])
    assert reinforcement(torch.tensor([nan, 0.3]), 2.0).tolist() == [1.0, 1.0]
    scores = reinforced_contributions(torch.ones(3), torch.zeros(3), torch.tensor(0.0), torch.tensor([0.2, nan, 0.6]))
    assert scores[[0, 2]].tolist() == pytest.approx([0.6, 0.2])
    assert bool(scores[1].isnan())
