"""Ratios and coefficients equal the authors' numbers for two and for three modalities, and a naive loop."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from equipoise.functional.coalitions import shapley_values
from equipoise.functional.contributions import agm_coefficient, contribution_ratios

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "agm.json").read_text())["cases"]
TWO = [case for case in CASES if "three_modalities" not in case["inputs"]]
THREE = next(case for case in CASES if "three_modalities" in case["inputs"])


@pytest.mark.parametrize("case", TWO, ids=lambda case: case["inputs"]["head"])
def test_authors_coefficients_of_two_modalities(case: dict[str, Any]) -> None:
    golden, inputs = case["outputs"]["alpha1.0"], case["inputs"]
    ratios = contribution_ratios([golden["score_a"], golden["score_v"]])
    assert ratios == pytest.approx([golden["ratio_a"], golden["ratio_v"]], rel=1e-9)
    usual = contribution_ratios([inputs["running_score_a_before"], inputs["running_score_v_before"]])
    assert usual == pytest.approx([golden["optimal_ratio_a"], golden["optimal_ratio_v"]], rel=1e-9)
    for alpha in (1.0, 0.3):
        found = [agm_coefficient(ratio, tau, alpha) for ratio, tau in zip(ratios, usual, strict=True)]
        expected = case["outputs"][f"alpha{alpha}"]
        assert found == pytest.approx([expected["coeff_a"], expected["coeff_v"]], rel=1e-9)


def test_authors_numbers_of_three_modalities() -> None:
    values = {name: torch.tensor(value, dtype=torch.float64) for name, value in THREE["inputs"]["subset_logits"].items()}
    rows = ("none", "only_audio", "only_visual", "without_text", "only_text", "without_visual", "without_audio", "total")
    every = torch.stack([values[name] for name in rows])
    # Differs from the published code, which leaves the empty coalition out.
    theirs = torch.cat([torch.zeros_like(every[:1]), every[1:]])
    golden, target = THREE["outputs"], torch.tensor(THREE["inputs"]["labels"])
    contributions = shapley_values(theirs)
    for found, letter in zip(contributions, "avt", strict=True):
        torch.testing.assert_close(
            found, torch.tensor(golden[f"contribution_{letter}"], dtype=torch.float64), rtol=1e-6, atol=1e-6
        )
    assert float((shapley_values(every) - contributions + every[0] / 3).abs().max()) < 1e-9
    scores = [float(-item.softmax(1)[torch.arange(len(target)), target].log().mean()) for item in contributions]
    expected = golden["alpha1.0"]
    assert scores == pytest.approx([expected["score_audio"], expected["score_visual"], expected["score_text"]], rel=1e-5)
    ratios = contribution_ratios(scores)
    assert ratios == pytest.approx([expected[f"ratio_{letter}"] for letter in "avt"], rel=1e-5)
    usual = contribution_ratios([THREE["inputs"]["running_scores_before"][letter] for letter in "avt"])
    assert usual == pytest.approx([expected[f"optimal_ratio_{letter}"] for letter in "avt"], rel=1e-9)
    for alpha in (1.0, 0.3):
        found = [agm_coefficient(ratio, tau, alpha) for ratio, tau in zip(ratios, usual, strict=True)]
        assert found == pytest.approx([golden[f"alpha{alpha}"][f"coeff_{letter}"] for letter in "avt"], rel=1e-5)


@given(st.lists(st.floats(0, 5), min_size=2, max_size=5))
def test_any_number_of_modalities(scores: list[float]) -> None:
    """The exponent is how far a modality is from the mean of the others."""
    for number, ratio in enumerate(contribution_ratios(scores)):
        others = [score for place, score in enumerate(scores) if place != number]
        assert ratio == pytest.approx(math.exp(sum(others) / len(others) - scores[number]), rel=1e-6)


def test_nothing_to_compare_with() -> None:
    assert contribution_ratios([0.4]) == [1.0]
    assert contribution_ratios([0.4, math.nan]) == [1.0, 1.0]
    assert contribution_ratios([0.5, math.nan, 1.0]) == pytest.approx([math.exp(0.5), 1.0, math.exp(-0.5)])


def test_the_difference_is_limited() -> None:
    assert agm_coefficient(1.0, 50.0, 0.1) == pytest.approx(math.exp(1.0))
    assert agm_coefficient(50.0, 1.0, 0.1) == pytest.approx(math.exp(-4.9))
    assert agm_coefficient(3.0, 1.0, 0.0) == 1.0
