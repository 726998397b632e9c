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
        share: Share of the modality in what all say: the mean length of its centred contribution to the logits over the sum
            of these lengths.
        ability: Per class, how often the modality's own output is right about the samples of the class that have it; None
            where there are none.
        class_share: Per class, its share as above, over the samples of the class.
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
    terms = torch.stack([said[name].cpu().double() for name in names])
    lengths = (terms - terms.mean(2, keepdim=True)).norm(dim=2)
    present = torch.stack([judged.present[name] for name in names])
    lengths = lengths * present
    found = {}
    for number, name in enumerate(names):
        hits, have = judged.hits(judged.own[name]), judged.present[name]
        of_class = {words: judged.target == code for code, words in enumerate(material.classes)}
        found[name] = Decision(
            float(weights[name][have].mean()) if bool(have.any()) else 0.0,
            float(judged.features[name][have].double().norm(dim=1).mean()) if bool(have.any()) else 0.0,
            _share(lengths, number) or 0.0,
            {words: _mean(hits[own & have]) for words, own in of_class.items()},
            {words: _share(lengths[:, own], number) for words, own in of_class.items()},
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


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
