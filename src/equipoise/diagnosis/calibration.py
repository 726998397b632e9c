"""Whether the confidence of each output can be believed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from equipoise.diagnosis.material import Estimate, Material
from equipoise.functional.calibration import calibration_interval, reliability
from equipoise.functional.metrics import brier_score, expected_calibration_error, negative_log_likelihood

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """The calibration of one output.

    Attributes:
        error: Expected calibration error, with 15 bins.
        loss: Mean negative log-likelihood, in nats.
        brier: Brier score, summed over the classes.
        samples: Reliability curve: samples in each bin of confidence.
        confidence: Their mean confidence; None where there are none.
        accuracy: The share of them that is right; None likewise.
    """

    error: Estimate
    loss: float
    brier: float
    samples: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]


def measure_calibration(material: Material) -> dict[str, Calibration]:
    """Measure the calibration of the fused output (``fused``) and of each modality's own."""
    judged = material.judged
    found = {"fused": _measure(judged.fused, judged.target, judged.groups())}
    for name in material.seen:
        have = judged.present[name]
        found[name] = _measure(judged.own[name][have], judged.target[have], judged.groups(have))
    return found


def _measure(said: Tensor, target: Tensor, groups: Tensor | None) -> Calibration:
    probabilities = said.exp()
    curve = reliability(probabilities, target, BINS)
    known = (curve.samples > 0).tolist()

    def values(column: Tensor) -> tuple[float | None, ...]:
        return tuple(value if some else None for value, some in zip(column.tolist(), known, strict=True))

    return Calibration(
        Estimate(
            float(expected_calibration_error(probabilities, target, BINS)),
            *calibration_interval(probabilities, target, BINS, groups=groups),
        ),
        float(negative_log_likelihood(said, target)),
        float(brier_score(probabilities, target)),
        tuple(int(count) for count in curve.samples.tolist()),
        values(curve.confidence),
        values(curve.accuracy),
    )
