"""The decision layer: how strongly the fused output hangs on each modality, and how that compares with what each can do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.diagnosis.material import Material


@dataclass(frozen=True)
class Decision:
    """One modality in the decision layer.

    Attributes:
        weight: Mean length of the derivative of the fused logits in the modality's features (Frobenius norm): the norm of its
            block of weights where the fusion is linear, and its like everywhere else.
        reach: Mean length of the features.
        share: Share of the modality in what all say: the mean length of its contribution to the logits (centred over classes)
            over the sum of these lengths.
        ability: How good the modality's own output is at each class (how often it is right about the samples of it), label
            (its balanced accuracy) or number (R²), by the samples that have the modality; None where it is not defined.
        class_share: Its share as above, over the samples of each class, or in each label or number.
    """

    weight: float
    reach: float
    share: float
    ability: dict[str, float | None]
    class_share: dict[str, float | None]


def measure_decision(material: Material) -> dict[str, Decision]:
    """Measure the decision layer on the judged samples."""
    judged, names = material.judged, material.names
    weights = _derivatives(material)
    with torch.no_grad():
        said = material.model.fusion.contributions(judged.outputs.features, material.incomplete)
    present = torch.stack([judged.present[name] for name in names])
    terms = material.grading.centred(torch.stack([said[name].cpu().double() for name in names])) * present[:, :, None]
    lengths, parts = terms.norm(dim=2), material.grading.lengths(terms, judged.target)
    found = {}
    for number, name in enumerate(names):
        have = judged.present[name]
        found[name] = Decision(
            float(weights[name][have].mean()) if bool(have.any()) else 0.0,
            float(judged.features[name][have].double().norm(dim=1).mean()) if bool(have.any()) else 0.0,
            _share(lengths, number) or 0.0,
            material.grading.ability(judged.own[name][have], judged.target[have]),
            {words: _share(values, number) for words, values in parts.items()},
        )
    return found


def _derivatives(material: Material) -> dict[str, Tensor]:
    """Return the length of the derivative of the fused logits in each modality's features, of shape (samples,)."""
    features = {name: value.detach().requires_grad_() for name, value in material.judged.outputs.features.items()}
    logits = material.model.fusion(features, material.incomplete)
    squares = {name: value.new_zeros(len(value)) for name, value in features.items()}
    for code in range(logits.shape[1]):
        found = torch.autograd.grad(logits[:, code].sum(), list(features.values()), retain_graph=True, allow_unused=True)
        for name, gradient in zip(features, found, strict=True):
            if gradient is not None:
                squares[name] += gradient.square().sum(1)
    return {name: value.sqrt().cpu() for name, value in squares.items()}


def _share(lengths: Tensor, number: int) -> float | None:
    total = float(lengths.sum())
    return float(lengths[number].sum()) / total if total > 0 else None
