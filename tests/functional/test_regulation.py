"""The window is that of the published code, gaps are a naive loop's, and nobody behind is held."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.functional.regulation import information_growth, leads, regulation_coefficient


@pytest.mark.parametrize("span", [1, 3, 10])
def test_growth_equals_a_naive_loop(span: int) -> None:
    traces = torch.rand(15, generator=torch.Generator().manual_seed(0), dtype=torch.float64).tolist()
    for epochs in range(1, 16):

        def mean(last: int) -> float:
            return sum(traces[epoch] if epoch >= 0 else 0.0 for epoch in range(last - span + 1, last + 1)) / span

        now, before = mean(epochs - 1), mean(epochs - 2)
        assert information_growth(traces[:epochs], span) == pytest.approx((now - before) / now, abs=1e-12)


def test_growth_ends_when_nothing_new_comes() -> None:
    # A trace that falls to a hundredth within a few epochs closes a window of 0.04; one that stays does so after span epochs.
    assert information_growth([1.0, 1.0, 0.5, 0.01], 10) < 0.04 < information_growth([1.0, 1.0, 0.5], 10)
    assert information_growth([1.0] * 10, 10) == pytest.approx(0.1)
    assert information_growth([1.0] * 11, 10) == 0.0
    assert information_growth([2.0] * 10 + [1.0], 10) < 0
    assert information_growth([0.0, 0.0], 10) == information_growth([], 10) == 0.0


def test_leads_equal_a_naive_loop() -> None:
    scores = [0.8, 0.3, math.nan, 0.6]
    for modality, gap in enumerate(leads(scores)):
        others = [score for number, score in enumerate(scores) if number != modality and math.isfinite(score)]
        expected = scores[modality] - sum(others) / len(others) if math.isfinite(scores[modality]) else 0.0
        assert gap == pytest.approx(expected)
    assert leads([0.9, 0.4]) == pytest.approx([0.5, -0.5])  # the published code's gap
    assert leads([0.9]) == leads([math.nan]) == [0.0]
    assert leads([0.9, math.nan]) == [0.0, 0.0]


def test_coefficient_grows_with_the_gap_and_starts_at_the_strength() -> None:
    assert regulation_coefficient(0.0, 0.95) == regulation_coefficient(-0.5, 0.95) == 0.0
    values = [regulation_coefficient(gap, 0.95) for gap in (1e-9, 0.1, 0.5, 1.0)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(0.95)
    assert values[2] == pytest.approx(0.95 * math.exp(math.tanh(0.5)))
    assert regulation_coefficient(0.7, 0.0) == 0.0
