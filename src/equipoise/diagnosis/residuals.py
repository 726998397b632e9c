"""Where predicted numbers are off: predicted against true values, and the error from the smallest to the largest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.diagnosis.material import Material

POINTS = 300
"""Samples that are drawn; of more, evenly spread ones from the smallest target to the largest."""

DECILES = 10

QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Residuals:
    """What one output says about one number, on the judged samples (of a modality: on those that have it), in its own units.

    Attributes:
        number: Name of the number.
        output: ``fused``, or the modality whose own output it is.
        true: Targets of the samples that are drawn, in rising order.
        predicted: What is predicted of them.
        mean: Mean of the residuals, predicted minus true.
        quantiles: Their quantiles of 5, 50 and 95 %.
        middle: Mean target of each tenth of the samples, from the smallest targets to the largest; of fewer than 10 samples each
            is one.
        error: Mean absolute residual in each.
    """

    number: str
    output: str
    true: tuple[float, ...]
    predicted: tuple[float, ...]
    mean: float
    quantiles: tuple[float, ...]
    middle: tuple[float, ...]
    error: tuple[float, ...]


def measure_residuals(material: Material) -> list[Residuals]:
    """Look at the residuals of each number by the fused output and each modality's own; empty where no numbers are predicted."""
    judged = material.judged
    every = torch.ones(len(judged.target), dtype=torch.bool)
    outputs = {"fused": (judged.fused, every)} | {name: (judged.own[name], judged.present[name]) for name in material.seen}
    found = []
    for place, number in enumerate(material.classes):
        for output, (said, rows) in outputs.items():
            predicted = material.grading.numbers(said[rows])
            if predicted is not None:
                found.append(_measure(number, output, predicted[:, place], judged.target[rows][:, place]))
    return found


def _measure(number: str, output: str, predicted: Tensor, target: Tensor) -> Residuals:
    order = target.argsort(stable=True)
    predicted, target = predicted[order].double(), target[order].double()
    residuals, count = predicted - target, len(target)
    drawn = torch.linspace(0, count - 1, min(count, POINTS)).round().long()
    tenths = list(zip(*(column.tensor_split(min(count, DECILES)) for column in (target, residuals.abs())), strict=True))
    return Residuals(
        number,
        output,
        tuple(target[drawn].tolist()),
        tuple(predicted[drawn].tolist()),
        float(residuals.mean()),
        tuple(residuals.quantile(residuals.new_tensor(QUANTILES)).tolist()),
        tuple(float(true.mean()) for true, _ in tenths),
        tuple(float(error.mean()) for _, error in tenths),
    )
