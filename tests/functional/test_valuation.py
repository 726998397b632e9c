"""Values and copies against the authors' numbers and a loop over orders of arrival."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.functional.valuation import modality_copies, modality_values, sample_copies

(CASE,) = json.loads((Path(__file__).parents[1] / "golden" / "smv.json").read_text())["cases"]
GOLDEN: dict[str, Any] = CASE["outputs"]


def published() -> tuple[Tensor, Tensor]:
    """Values by us of the authors' predictions, and which samples have what."""
    inputs = CASE["inputs"]
    labels = torch.tensor(inputs["labels"])
    right = torch.stack([torch.tensor(inputs[key]) == labels for key in ("pred_audio_only", "pred_visual_only", "pred_all")])
    present = torch.ones(2, len(labels), dtype=torch.bool)
    return modality_values(right, present), present


def test_authors_values_and_copies() -> None:
    values, present = published()
    assert values.tolist() == [GOLDEN["phi_audio"], GOLDEN["phi_visual"]]
    copies = [GOLDEN["extra_copies_audio_kept"], GOLDEN["extra_copies_visual_kept"]]
    assert sample_copies(values, present).tolist() == copies


def test_authors_fraction_of_the_weaker_modality() -> None:
    """They take the averages over a part of the samples."""
    values, _ = published()
    part = values[:, torch.tensor(CASE["inputs"]["part_choice"])]
    found = modality_copies(part, torch.ones_like(part, dtype=torch.bool))
    assert found[1].tolist() == pytest.approx([GOLDEN["modality_level"]["linear"]["difference"]] * 6)
    assert found[0].tolist() == [0.0] * 6


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_values_equal_the_mean_over_orders_of_arrival(count: int, missing: float) -> None:
    """An absent modality adds nothing, and a coalition is worth as much as the modalities of it that the sample has."""
    random = torch.Generator().manual_seed(count)
    right = torch.rand(2**count - 1, 12, generator=random) < 0.5
    present = torch.rand(count, 12, generator=random) >= missing
    for sample in range(12):  # who adds only what is absent says the same
        for number in range(1, 2**count):
            effective = sum(2**m for m in range(count) if number >> m & 1 and present[m, sample])
            right[number - 1, sample] = bool(right[effective - 1, sample]) if effective else False
    found = modality_values(right, present)
    for sample in range(12):
        expected = [0.0] * count
        orders = list(permutations(range(count)))
        for order in orders:
            number, size, before = 0, 0, 0
            for m in order:
                number, size = number + 2**m, size + int(present[m, sample])
                after = size * int(right[number - 1, sample])
                expected[m] += (after - before) / len(orders)
                before = after
        assert found[:, sample].tolist() == pytest.approx(expected)
        assert all(found[m, sample] == 0 for m in range(count) if not present[m, sample])


def test_copies_of_several_modalities_and_of_absent_ones() -> None:
    values = torch.tensor([[1.2, 0.0, 0.6], [0.0, 0.0, 0.0], [0.1, 0.3, 0.0], [0.0, 0.0, 0.0]])
    present = torch.tensor([[1, 0, 1], [1, 1, 1], [1, 1, 0], [0, 0, 0]]) > 0
    expected = torch.tensor([[0.0, 0.0, 0.8], [2.0, 2.0, 2.0], [1.8, 1.4, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(sample_copies(values, present), expected)
    lag = torch.tensor([0.0, 2 / 3 * 0.55, 2 / 3 * 0.25, 0.0])  # the means are 0.9, 0, 0.2 and unknown
    torch.testing.assert_close(modality_copies(values, present), lag[:, None] * present)
    assert modality_copies(values[:1], present[:1]).tolist() == [[0.0] * 3]
