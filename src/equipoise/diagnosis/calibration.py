"""Whether the confidence of each output can be believed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.diagnosis.material import Estimate, Material
from equipoise.functional.calibration import calibration_interval, reliability
from equipoise.functional.metrics import expected_calibration_error

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """The calibration of one output; of labels, each label of each sample is a choice between having and not having it.

    Attributes:
        error: Expected calibration error, with 15 bins; its interval resamples samples, with all their labels.
        loss: Mean negative log-likelihood, in nats; of labels averaged over them.
        brier: Brier score, summed over the classes; of labels averaged over them.
        samples: Reliability curve: samples (or labels of samples) in each bin of confidence.
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
    """Measure the calibration of the fused output (``fused``) and of each modality's own; empty where nothing is chosen."""
    judged = material.judged
    every = torch.ones(len(judged.target), dtype=torch.bool)
    outputs = {"fused": (judged.fused, every)} | {name: (judged.own[name], judged.present[name]) for name in material.seen}
    found = {name: _measure(material, said, rows) for name, (said, rows) in outputs.items()}
    return {name: item for name, item in found.items() if item is not None}


def _measure(material: Material, said: Tensor, rows: Tensor) -> Calibration | None:
    target, groups = material.judged.target[rows], material.judged.groups(rows)
    choices = material.grading.choices(said[rows], target)
    if choices is None:
        return None
    if choices.sample is not None:
        groups = choices.sample if groups is None else groups[choices.sample]
    curve = reliability(choices.probabilities, choices.target, BINS)
    known = (curve.samples > 0).tolist()

    def values(column: Tensor) -> tuple[float | None, ...]:
        return tuple(value if some else None for value, some in zip(column.tolist(), known, strict=True))

    return Calibration(
        Estimate(
            float(expected_calibration_error(choices.probabilities, choices.target, BINS)),
            *calibration_interval(choices.probabilities, choices.target, BINS, groups=groups),
        ),
        float(material.grading.losses(said[rows], target).mean()),
        choices.brier,
        tuple(int(count) for count in curve.samples.tolist()),
        values(curve.confidence),
        values(curve.accuracy),
    )
