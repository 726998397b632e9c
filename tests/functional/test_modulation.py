"""Discrepancy ratios and OGM coefficients equal the authors' numbers and a naive loop."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.functional.modulation import discrepancy_ratios, ogm_coefficient

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "ogm_ge.json").read_text())["cases"]
scores = st.lists(st.floats(1e-3, 1.0), min_size=2, max_size=6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.8])
def test_authors_numbers(case: dict[str, Any], alpha: float) -> None:
    golden = case["alpha"][str(alpha)]
    ratios = discrepancy_ratios([golden["score_a"], golden["score_v"]])
    assert ratios == pytest.approx([golden["ratio_a"], golden["ratio_v"]], rel=1e-12)
    found = [ogm_coefficient(ratio, alpha) for ratio in ratios]
    assert found == pytest.approx([golden["coeff_a"], golden["coeff_v"]], rel=1e-12)


@given(scores)
def test_any_number_of_modalities_equals_a_naive_loop(values: list[float]) -> None:
    for number, ratio in enumerate(discrepancy_ratios(values)):
        others = [value for place, value in enumerate(values) if place != number]
        assert ratio == pytest.approx(values[number] / (sum(others) / len(others)), rel=1e-6)


@given(scores, st.randoms(use_true_random=False))
def test_order_does_not_matter(values: list[float], random: Any) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    ratios = discrepancy_ratios(values)
    assert discrepancy_ratios([values[place] for place in order]) == pytest.approx([ratios[place] for place in order], rel=1e-9)


@given(scores)
def test_scale_does_not_matter_and_somebody_leads(values: list[float]) -> None:
    ratios = discrepancy_ratios(values)
    assert discrepancy_ratios([8 * value for value in values]) == pytest.approx(ratios, rel=1e-9)
    assert max(ratios) >= 1 - 1e-9 >= min(ratios) - 2e-9


def test_nothing_to_compare_with_is_ratio_one() -> None:
    assert discrepancy_ratios([0.4]) == [1.0]
    assert discrepancy_ratios([0.4, math.nan]) == [1.0, 1.0]
    assert discrepancy_ratios([math.nan, math.nan]) == [1.0, 1.0]
    assert discrepancy_ratios([0.4, 0.0]) == [1.0, 0.0]
    assert discrepancy_ratios([0.6, math.nan, 0.3]) == pytest.approx([2.0, 1.0, 0.5])


def test_nobody_is_slowed_at_ratio_one() -> None:
    """Differs from the published code, which slows the first modality on a tie."""
    assert ogm_coefficient(1.0, 0.8) == 1.0
    assert ogm_coefficient(1.0 + 1e-9, 0.8) == pytest.approx(1 - math.tanh(0.8), abs=1e-6)


@given(st.floats(0, 50), st.floats(0, 5))
def test_coefficient_is_a_share_and_falls(ratio: float, alpha: float) -> None:
    coefficient = ogm_coefficient(ratio, alpha)
    assert 0.0 <= coefficient <= 1.0
    assert ogm_coefficient(ratio + 1, alpha) <= coefficient
    assert ogm_coefficient(ratio, 0.0) == 1.0
    assert (coefficient == 1.0) == (ratio <= 1 or 1 - math.tanh(alpha * ratio) == 1)
