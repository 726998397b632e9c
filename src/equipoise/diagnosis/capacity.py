"""The capacity gap: what a modality reaches in a model of its own, against its branch inside the fused model."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.diagnosis.material import Estimate, Material, Said, balanced_estimates
from equipoise.functional.metrics import confusion, macro_f1

SHARE = 0.05
"""A branch is starved or over-fed from this share of what the modality tells alone (its score there above chance)."""


@dataclass(frozen=True)
class Capacity:
    """One modality alone and inside the fused model; all scores are balanced accuracies on the samples that have it.

    Attributes:
        modality: Its name.
        samples: Judged samples that have it.
        alone: Score of a model of its own.
        alone_probe: Score of a linear probe on the frozen features of that model.
        inside: Score of its own output inside the fused model.
        inside_probe: Score of a linear probe on its frozen features there.
        gap: ``alone - inside``, by the same samples: what head and encoder lost together.
        encoder_gap: ``alone_probe - inside_probe``: what the encoder lost.
        macro_f1: The first four as macro-F1.
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
    macro_f1: dict[str, float]
    state: str


def state_of(gap: Estimate, alone: float, chance: float) -> str:
    """Say what a gap of probes means.

    With ``tolerance = 0.05 (alone - chance)``: ``starved`` where the gap is more and its interval is above 0; ``over-fed`` where
    it is less than ``- tolerance`` and its interval is below 0; ``held`` where it is within; ``unclear`` where it is outside but
    the interval has 0 in it: too few samples to tell.

    Args:
        gap: Score alone minus score inside.
        alone: Score alone.
        chance: Score of guessing.

    Example:
        >>> state_of(Estimate(0.2, 0.1, 0.3), 0.8, 0.5), state_of(Estimate(0.2, -0.1, 0.5), 0.8, 0.5)
        ('starved', 'unclear')
    """
    tolerance = SHARE * max(alone - chance, 0.0)
    if abs(gap.value) <= tolerance:
        return "held"
    if gap.low > 0:
        return "starved"
    return "over-fed" if gap.high < 0 else "unclear"


def probe(train: Said, judged: Said, modality: str) -> Tensor:
    """Predict from the frozen features of a modality by a new linear classifier.

    Logistic regression (C = 0.1) on standardised features of the training samples that have the modality.

    Returns:
        Class codes of all judged samples, of shape (samples,).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    have = train.present[modality]
    target, features = train.target[have].numpy(), train.features[modality][have].numpy()
    if len(set(target.tolist())) < 2:  # nothing to tell apart
        code = int(target[0]) if len(target) else 0
        return torch.full_like(judged.target, code)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # features of a dead encoder are constant; the classifier then says the same of all
        classifier.fit(features, target)
    return torch.from_numpy(classifier.predict(judged.features[modality].numpy()))


def measure_capacity(material: Material, alone_train: Said, alone: Said) -> list[Capacity]:
    """Measure the capacity gap of each modality that some judged sample has.

    Args:
        material: The fused model.
        alone_train: What models of one modality each say about the training samples.
        alone: What they say about the judged samples.
    """
    return [_measure(material, alone_train, alone, name) for name in material.seen]


def _measure(material: Material, alone_train: Said, alone: Said, name: str) -> Capacity:
    judged, have = material.judged, material.judged.present[name]
    predicted = torch.stack(
        [
            alone.own[name].argmax(1),
            probe(alone_train, alone, name),
            judged.own[name].argmax(1),
            probe(material.train, judged, name),
        ]
    )[:, have]
    target = judged.target[have]
    hits = (predicted == target).double()
    scores = balanced_estimates(torch.vstack([hits, hits[:2] - hits[2:]]), target, judged.groups(have))
    alone_score, alone_probe, inside, inside_probe, gap, encoder_gap = scores
    f1 = macro_f1(confusion(predicted, target, len(material.classes))).tolist()
    return Capacity(
        modality=name,
        samples=int(have.sum()),
        alone=alone_score,
        alone_probe=alone_probe,
        inside=inside,
        inside_probe=inside_probe,
        gap=gap,
        encoder_gap=encoder_gap,
        macro_f1=dict(zip(("alone", "alone_probe", "inside", "inside_probe"), f1, strict=True)),
        state=state_of(encoder_gap, alone_probe.value, material.chance),
    )
