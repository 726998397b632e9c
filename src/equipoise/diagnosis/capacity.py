"""The capacity gap: what a modality reaches in a model of its own, against its branch inside the fused model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.diagnosis.grading.classes import class_probe
from equipoise.diagnosis.material import Estimate, Material, Said

SHARE = 0.05
"""A branch is starved or over-fed from this share of what the modality tells alone (its score there above chance)."""

PLACES = ("alone", "alone_probe", "inside", "inside_probe")
"""The scores of a modality, in the order in which they are listed."""


@dataclass(frozen=True)
class Capacity:
    """One modality alone and inside the fused model, on the samples that have it.

    All scores are balanced accuracies, of labels averaged over them, or R² of numbers.

    Attributes:
        modality: Its name.
        samples: Judged samples that have it.
        alone: Score of a model of its own.
        alone_probe: Score of a linear probe on the frozen features of that model.
        inside: Score of its own output inside the fused model.
        inside_probe: Score of a linear probe on its frozen features there.
        gap: ``alone - inside``, by the same samples: what head and encoder lost together.
        encoder_gap: ``alone_probe - inside_probe``: what the encoder lost.
        also: The first four by other metrics, such as ``macro_f1``.
        state: ``starved``, ``held``, ``over-fed`` or ``unclear``: see :func:`state_of`.
    """

    modality: str
    samples: int
    alone: Estimate
    alone_probe: Estimate
    inside: Estimate
    inside_probe: Estimate
    gap: Estimate
    encoder_gap: Estimate
    also: dict[str, dict[str, float]]
    state: str


def state_of(gap: Estimate, alone: float, chance: float) -> str:
    """Say what a gap of probes means.

    With ``tolerance = 0.05 (alone - chance)``: ``starved`` where the gap is more and its interval is above 0; ``over-fed`` where
    it is less than ``- tolerance`` and its interval is below 0; ``held`` where it is within; ``unclear`` where it is outside but
    the interval has 0 in it: too few samples to tell. What tells nothing alone (``alone`` at most ``chance``) has nothing to
    lose: a gap above 0 is ``held`` then.

    Args:
        gap: Score alone minus score inside.
        alone: Score alone.
        chance: Score of guessing: for R² that of saying the mean of the training targets, so that ``alone - chance`` is the
            share of the spread of the targets that the modality explains alone.

    Example:
        >>> state_of(Estimate(0.2, 0.1, 0.3), 0.8, 0.5), state_of(Estimate(0.2, -0.1, 0.5), 0.8, 0.5)
        ('starved', 'unclear')
        >>> state_of(Estimate(0.2, 0.1, 0.3), -0.05, 0.0)  # R² of noise, and of noise that was fitted
        'held'
    """
    tolerance = SHARE * max(alone - chance, 0.0)
    if abs(gap.value) <= tolerance or (gap.value > 0 and alone <= chance):
        return "held"
    if gap.low > 0:
        return "starved"
    return "over-fed" if gap.high < 0 else "unclear"


def probe(
    train: Said,
    judged: Said,
    modality: str,
    fit: Callable[[NDArray[Any], Tensor, NDArray[Any]], Tensor] = class_probe,
) -> Tensor:
    """Predict from the frozen features of a modality by a new linear model, fitted to training samples that have the modality.

    It is logistic regression (C = 0.1) on standardised features, one for each label; for numbers ridge regression with the same
    penalty (10) on standardised features and targets.

    Args:
        train: What a model says about the training samples.
        judged: What it says about the judged samples.
        modality: The modality.
        fit: Fits and predicts, see :meth:`equipoise.diagnosis.grading.base.Grading.probe`.

    Returns:
        Answers for all judged samples: class codes of shape (samples,); labels or numbers of shape (samples, outputs).
    """
    have = train.present[modality]
    return fit(train.features[modality][have].numpy(), train.target[have], judged.features[modality].numpy())


def measure_capacity(material: Material, alone_train: Said, alone: Said) -> list[Capacity]:
    """Measure the capacity gap of each modality that some judged sample has.

    Args:
        material: The fused model.
        alone_train: What models of one modality each say about the training samples.
        alone: What they say about the judged samples.
    """
    return [_measure(material, alone_train, alone, name) for name in material.seen]


def _measure(material: Material, alone_train: Said, alone: Said, name: str) -> Capacity:
    judged, have, grading = material.judged, material.judged.present[name], material.grading
    decided = torch.stack(
        [
            grading.decide(alone.own[name]),
            probe(alone_train, alone, name, grading.probe),
            grading.decide(judged.own[name]),
            probe(material.train, judged, name, grading.probe),
        ]
    )[:, have]
    target = judged.target[have]
    values = grading.values(decided, target)
    scores = material.estimates(torch.cat([values, values[:2] - values[2:]]), target, judged.groups(have))
    alone_score, alone_probe, inside, inside_probe, gap, encoder_gap = scores
    return Capacity(
        modality=name,
        samples=int(have.sum()),
        alone=alone_score,
        alone_probe=alone_probe,
        inside=inside,
        inside_probe=inside_probe,
        gap=gap,
        encoder_gap=encoder_gap,
        also={key: dict(zip(PLACES, found, strict=True)) for key, found in grading.also(decided, target).items()},
        state=state_of(encoder_gap, alone_probe.value, grading.chance(target)),
    )
