"""Coalitions against loops over subsets, against the authors' numbers, and Shapley values against a library's."""

from __future__ import annotations

import json
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.functional.coalitions import confidence_rises, members_of_all, shapley_values

GOLDEN = Path(__file__).parents[1] / "golden"
CML: list[dict[str, Any]] = json.loads((GOLDEN / "cml.json").read_text())["cases"]
AGM: list[dict[str, Any]] = json.loads((GOLDEN / "agm.json").read_text())["cases"]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_coalition_is_there_once_and_the_last_has_all(count: int) -> None:
    rows = members_of_all(count).tolist()
    assert {tuple(row) for row in rows} == {
        tuple(number in chosen for number in range(count))
        for size in range(1, count + 1)
        for chosen in combinations(range(count), size)
    }
    assert len(rows) == 2**count - 1
    assert all(rows[-1])


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_rises_equal_a_naive_loop(count: int, missing: float) -> None:
    random = torch.Generator().manual_seed(count)
    confidence = torch.rand(2**count - 1, 9, generator=random, dtype=torch.float64)
    present = torch.rand(count, 9, generator=random) >= missing
    found = confidence_rises(confidence, present)
    rows = {
        frozenset(m for m, member in enumerate(row) if member): place for place, row in enumerate(members_of_all(count).tolist())
    }
    for sample in range(9):
        fines = []
        for richer, place in rows.items():
            for removed in richer:
                poorer = richer - {removed}
                if bool(present[removed, sample]) and any(bool(present[m, sample]) for m in poorer):
                    fines.append(max(0.0, float(confidence[rows[poorer], sample] - confidence[place, sample])))
        assert float(found[sample]) == pytest.approx(sum(fines) / len(fines) if fines else 0.0, rel=1e-12)


@pytest.mark.parametrize("case", CML, ids=lambda case: f"{case['inputs']['n_inputs']} inputs")
@pytest.mark.parametrize("variant", ["cpm_rank_loss", "miwae_lines"])
def test_authors_numbers(case: dict[str, Any], variant: str) -> None:
    """Without their masks, which the paper does not have and in which the two programs differ, and summed over samples."""
    golden, labels = case["outputs"][variant], torch.tensor(case["inputs"]["labels"])
    chain = torch.tensor(golden["confidences"], dtype=torch.float64)  # from most modalities to fewest
    right = torch.tensor(golden["predictions"]) == labels
    total = 0.0
    for richer in range(len(chain) - 1):
        # As two modalities: the poorer input, another one that is never surer, and both together.
        confidence = torch.stack([chain[richer + 1], torch.zeros_like(chain[0]), chain[richer]])
        rises = 2 * confidence_rises(confidence, torch.ones(2, len(labels), dtype=torch.bool))
        if variant == "cpm_rank_loss":
            counted = right[richer] | ~right[richer + 1]
        else:
            counted = right[richer] | (~right[richer] & ~right[richer + 1])
        assert bool((rises > 0).any())
        total += float(rises[counted].sum())
    published = golden["loss"] if variant == "cpm_rank_loss" else golden["epsilon0.0"]["loss"]
    assert total == pytest.approx(published, abs=2e-6)


def naive_shapley(values: Tensor, count: int) -> Tensor:
    """The mean gain of each player over all orders of arrival."""
    total = torch.zeros(count, *values.shape[1:], dtype=values.dtype)
    orders = list(permutations(range(count)))
    for order in orders:
        number = 0
        for player in order:
            total[player] += values[number + 2**player] - values[number]
            number += 2**player
    return total / len(orders)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_shapley_values_equal_the_mean_over_all_orders(count: int) -> None:
    values = torch.randn(2**count, 3, 2, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    found = shapley_values(values)
    torch.testing.assert_close(found, naive_shapley(values, count), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found.sum(0), values[-1] - values[0], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(shapley_values(values[:, 0, 0]), found[:, 0, 0])


@pytest.mark.parametrize("case", [case for case in AGM if "three_modalities" not in case["inputs"]])
def test_authors_contributions_of_two_modalities(case: dict[str, Any]) -> None:
    """They never subtract the empty coalition, so that theirs sum to all logits; ours differ by half of it each."""
    golden = {
        key: torch.tensor(case["outputs"]["alpha1.0"][key], dtype=torch.float64)
        for key in ("total", "only_audio", "only_visual", "all_padded", "contribution_a", "contribution_v")
    }
    values = torch.stack([golden["all_padded"], golden["only_audio"], golden["only_visual"], golden["total"]])
    theirs = torch.stack([golden["contribution_a"], golden["contribution_v"]])
    without = values.clone()
    without[0] = 0
    torch.testing.assert_close(shapley_values(without), theirs, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(shapley_values(values), theirs - golden["all_padded"] / 2, rtol=1e-6, atol=1e-6)
    assert float(golden["all_padded"].abs().max()) > 0.01
