"""Reliability curves against the calibration errors of a library, and the interval of the error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.functional.calibration import calibration_interval, reliability
from equipoise.functional.metrics import expected_calibration_error

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "calibration_curves.json").read_text())["cases"][0]
PROBABILITIES = torch.tensor(GOLDEN["inputs"]["probs"], dtype=torch.float64)
TARGET = torch.tensor(GOLDEN["inputs"]["labels"])


@pytest.mark.parametrize("bins", [10, 15])
def test_golden_errors_come_out_of_the_curve(bins: int) -> None:
    curve = reliability(PROBABILITIES, TARGET, bins)
    gaps = (curve.confidence - curve.accuracy).abs().nan_to_num(0)
    shares = curve.samples / curve.samples.sum()
    golden = GOLDEN["outputs"]
    assert float(shares @ gaps) == pytest.approx(golden[f"ece_l1_{bins}bins"], abs=1e-6)
    assert float((shares @ gaps.square()).sqrt()) == pytest.approx(golden[f"ece_l2_{bins}bins"], abs=1e-6)
    assert float(gaps.max()) == pytest.approx(golden[f"ece_max_{bins}bins"], abs=1e-6)


def test_every_sample_is_in_one_bin_and_empty_bins_say_nothing() -> None:
    curve = reliability(torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]), torch.tensor([0, 0, 1]), bins=4)
    assert curve.samples.tolist() == [0, 0, 2, 1]
    assert curve.accuracy[2:].tolist() == [0.5, 1.0]
    assert bool(curve.accuracy[:2].isnan().all())


def test_the_interval_is_around_the_error_and_narrows_with_samples() -> None:
    widths = []
    for samples in (100, 10000):
        confidence = torch.full((samples,), 0.9, dtype=torch.float64)
        probabilities = torch.stack([confidence, 1 - confidence], 1)
        target = (torch.arange(samples) % 10 >= 6).long()  # right in 6 of 10
        low, high = calibration_interval(probabilities, target)
        assert low < float(expected_calibration_error(probabilities, target)) < high
        widths.append(high - low)
    assert widths[0] == pytest.approx(2 * 1.96 * (0.6 * 0.4 / 100) ** 0.5, rel=0.15)
    assert widths[1] == pytest.approx(widths[0] / 10, rel=0.25)
