"""Sample by sample: which modality decided, and where modalities disagree most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.diagnosis.coalitions import all_members, outputs_of
from equipoise.diagnosis.grading import Grading
from equipoise.diagnosis.grading.classes import disagreement
from equipoise.diagnosis.material import Material
from equipoise.functional.coalitions import shapley_values
from equipoise.functional.shapley import EXACT_UP_TO, sampled_shapley

SHOWN = 50
"""How many samples of most disagreement are listed."""

HARDEST = 20
"""How many samples of largest loss are listed."""


@dataclass(frozen=True)
class Sample:
    """One judged sample.

    Attributes:
        id: Its id.
        label: Name of its class, names of its labels, or its numbers.
        predicted: The same as the fused output says it.
        confidence: Probability of that class, or mean probability of what is said of each label; None for numbers.
        decided: The modality that contributed most to what was predicted.
        contributions: Shapley value of each modality in the score that coalitions give to what the whole model predicts: the
            probability of its class, the mean probability of its labels, ``exp(-(z_S - z)^2 / 2)`` of standardised numbers. They
            sum to that of the whole model minus that of a guess.
        own: What each modality that it has says by itself, and how sure it is of that.
        disagreement: See :attr:`Decisions.disagreement`.
        error: Root mean square error in standard deviations of the training targets; None where answers are right or wrong.
    """

    id: str
    label: str
    predicted: str
    confidence: float | None
    decided: str
    contributions: dict[str, float]
    own: dict[str, tuple[str, float | None]]
    disagreement: float
    error: float | None


@dataclass(frozen=True)
class Decisions:
    """Which modality decided.

    Attributes:
        decided: Share of the judged samples that each modality decided.
        right: Share of right predictions among those, of labels that of right ones, of numbers the mean error (see
            :attr:`Sample.error`); None where it decided none.
        disagreement: Mean over samples of the Jensen-Shannon divergence of what the modalities of a sample say by themselves,
            ``H(mean_m p_m) - mean_m H(p_m)`` in nats: 0 where they agree. Of labels it is averaged over them; of numbers it is
            ``mean_m (z_m - mean z)^2 / 2``, that of normal distributions of unit variance to their geometric mean.
        samples: The samples of most disagreement, most first.
        hardest: The samples of largest loss of the fused output, largest first.
    """

    decided: dict[str, float]
    right: dict[str, float | None]
    disagreement: float
    samples: tuple[Sample, ...]
    hardest: tuple[Sample, ...]


def measure_samples(material: Material) -> Decisions:
    """Say for each judged sample which modality decided, by Shapley values of the score of what was predicted."""
    judged, grading, names, count = material.judged, material.grading, material.names, len(material.names)
    predicted = grading.decide(judged.fused)

    def agreement(members: Tensor) -> Tensor:
        return torch.cat([grading.agreement(said, predicted) for said in outputs_of(material, "mask", members)])

    exact = count <= EXACT_UP_TO
    contributions = shapley_values(agreement(all_members(count))) if exact else sampled_shapley(agreement, count)[0]
    present = torch.stack([judged.present[name] for name in names])
    winner = torch.where(present, contributions, -torch.inf).argmax(0)
    right = grading.right(predicted, judged.target)
    own = torch.stack([judged.own[name] for name in names])
    apart = grading.disagreement(own, present)
    chosen, hardest = (
        tuple(
            _sample(material, row, contributions[:, row], names[int(winner[row])], float(apart[row]))
            for row in values.argsort(descending=True, stable=True)[:most].tolist()
        )
        for values, most in ((apart, SHOWN), (grading.losses(judged.fused, judged.target), HARDEST))
    )
    decided = [winner == number for number in range(count)]
    return Decisions(
        {name: float(mask.double().mean()) for name, mask in zip(names, decided, strict=True)},
        {name: float(right[mask].mean()) if bool(mask.any()) else None for name, mask in zip(names, decided, strict=True)},
        float(apart.mean()),
        chosen,
        hardest,
    )


def _sample(material: Material, row: int, contributions: Tensor, decided: str, apart: float) -> Sample:
    judged, grading = material.judged, material.grading
    fused, target = judged.fused[row], judged.target[row]
    decisive = grading.confidence(fused) is not None
    return Sample(
        str(judged.ids[row]),
        grading.truth(target),
        grading.text(grading.decide(fused)),
        _sure(grading, fused),
        decided,
        dict(zip(material.names, contributions.tolist(), strict=True)),
        {
            name: (grading.text(grading.decide(said[row])), _sure(grading, said[row]))
            for name, said in judged.own.items()
            if bool(judged.present[name][row])
        },
        apart,
        None if decisive else float(grading.right(grading.decide(fused), target)),
    )


def _sure(grading: Grading, said: Tensor) -> float | None:
    confidence = grading.confidence(said)
    return None if confidence is None else float(confidence)


__all__ = ["Decisions", "Sample", "disagreement", "measure_samples"]
