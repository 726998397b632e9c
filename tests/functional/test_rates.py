"""Adapted rates: by hand, and which way they go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.functional.rates import adapted_rate


def test_by_hand() -> None:
    assert adapted_rate(0.5, [0.2, 0.3, 0.7]) == pytest.approx(0.5 * 0.7 / 0.4)
    assert adapted_rate(0.5, [0.0, 0.0]) == 0.5
    assert adapted_rate(0.5, []) == 0.5


@given(st.floats(0.01, 10), st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
def test_who_gets_better_goes_faster(rate: float, scores: list[float]) -> None:
    rising, falling = sorted(scores), sorted(scores, reverse=True)
    assert adapted_rate(rate, rising) >= rate * (1 - 1e-9)
    assert adapted_rate(rate, falling) <= rate * (1 + 1e-9)
    assert adapted_rate(rate, [scores[0]] * len(scores)) == pytest.approx(rate)
