"""Drop probabilities equal the authors' numbers up to the limit, which is ours."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.functional.dropping import drop_probability
from equipoise.functional.modulation import discrepancy_ratios

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "opm.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"seed {case['seed']}")
@pytest.mark.parametrize(("base", "strength"), [(0.5, 0.5), (0.4, 0.5), (0.3, 1.0), (0.9, 0.9)])
def test_authors_numbers(case: dict[str, Any], base: float, strength: float) -> None:
    golden = case["outputs"]
    ratios = discrepancy_ratios([golden["performance_1"], golden["performance_2"]])
    expected = golden["drop_prob_q"][f"q_base{base}_lam{strength}"]
    assert [drop_probability(ratio, base, strength, largest=1.0) for ratio in ratios] == pytest.approx(expected, rel=1e-12)
    # Differs from the published code, in which a modality can be dropped for good.
    assert [drop_probability(ratio, base, strength) for ratio in ratios] == pytest.approx([min(q, 0.9) for q in expected])


@given(st.floats(0, 50), st.floats(0, 1), st.floats(0, 5))
def test_only_who_leads_is_dropped_and_a_larger_lead_more_often(ratio: float, base: float, strength: float) -> None:
    found = drop_probability(ratio, base, strength)
    assert 0.0 <= found <= 0.9
    assert found <= drop_probability(ratio + 1, base, strength)
    assert drop_probability(ratio, 0.0, strength) == 0.0
    assert (found == 0.0) == (ratio <= 1 or base == 0.0)
    if ratio > 1 and base > 0:
        assert found == pytest.approx(min(0.9, base * (1 + strength * math.tanh(ratio - 1))))
