"""What becomes of the fused output when one modality gets noisy, goes missing, or is that of other samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from equipoise.data.loader import Part
from equipoise.diagnosis.material import Estimate, Material
from equipoise.evaluation.robustness import noisy, shuffled, thinned

NOISE = (0.0, 0.5, 1.0, 2.0, 4.0)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Curve:
    """How the score falls.

    Attributes:
        modality: What is disturbed.
        kind: ``noise`` (level: standard deviations added to standardised inputs; not of text as terms or tokens), ``absence``
            (level: share of the samples that lose the modality; one that has no other keeps it) or ``shuffling`` (level: 0 or 1).
        levels: The levels; 0 is undisturbed.
        scores: Score of the fused output at each level.
    """

    modality: str
    kind: str
    levels: tuple[float, ...]
    scores: tuple[Estimate, ...]


def measure_robustness(material: Material) -> list[Curve]:
    """Measure the curves of each modality that some judged sample has."""
    prepared = material.predictor.preprocessing.modalities
    symbolic = {name for name, item in prepared.items() if getattr(item, "symbolic", False)}

    def noise(part: Part, name: str, level: float) -> Part:
        return noisy(part, name, level, channels=getattr(prepared[name], "measured", None))

    kinds: dict[str, tuple[tuple[float, ...], Callable[[Part, str, float], Part]]] = {
        "noise": (NOISE, noise),
        "absence": (SHARES, lambda part, name, level: thinned(part, level, modality=name)),
        "shuffling": ((0.0, 1.0), lambda part, name, level: shuffled(part, name)),
    }
    return [
        _curve(material, name, kind, levels, partial(change, material.judged.part, name))
        for name in material.seen
        for kind, (levels, change) in kinds.items()
        if kind != "noise" or name not in symbolic
    ]


def _curve(material: Material, modality: str, kind: str, levels: tuple[float, ...], change: Callable[[float], Part]) -> Curve:
    judged, grading = material.judged, material.grading
    said = [judged.fused]  # at level 0
    said += [grading.read(material.predictor.outputs(change(level)).logits) for level in levels[1:]]
    values = grading.values(grading.decide(torch.stack(said)), judged.target)
    return Curve(modality, kind, levels, tuple(material.estimates(values, judged.target, judged.groups())))
