"""How much of what an output learned holds for new samples."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from equipoise.diagnosis.material import Estimate, Material, Said
from equipoise.functional.budgets import bootstrap_interval


@dataclass(frozen=True)
class Generalisation:
    """One output on the samples of training and on the judged ones.

    Attributes:
        train_score: Score on the training samples.
        score: Score on the judged samples.
        train_loss: Mean loss on the training samples: negative log-likelihood in nats, averaged over labels; for numbers half
            the squared standardised error.
        loss: That on the judged samples.
        excess: ``loss - entropy``: above 0 the output is worse than saying the same of all samples.
        entropy: Loss of the best answer that is the same for all judged samples: for classes and labels the entropy of their
            frequencies, for numbers half the variance of the standardised targets.
    """

    train_score: float
    score: Estimate
    train_loss: float
    loss: float
    excess: Estimate
    entropy: float


def measure_generalisation(material: Material) -> dict[str, Generalisation]:
    """Compare training and judged samples for the fused output (``fused``) and each modality's own."""
    train, judged = material.train, material.judged
    groups = judged.groups()
    found = {"fused": _measure(material, _select(train, train.fused, None), _select(judged, judged.fused, None), groups)}
    for name in material.seen:
        groups = judged.groups(judged.present[name])
        found[name] = _measure(material, _select(train, train.own[name], name), _select(judged, judged.own[name], name), groups)
    return found


def _select(said: Said, output: Tensor, modality: str | None) -> tuple[Tensor, Tensor]:
    """Return what is said of the samples that have a modality, and their targets."""
    rows = slice(None) if modality is None else said.present[modality]
    return output[rows], said.target[rows]


def _measure(
    material: Material, train: tuple[Tensor, Tensor], judged: tuple[Tensor, Tensor], groups: Tensor | None
) -> Generalisation:
    (old, old_target), (new, target), grading = train, judged, material.grading
    entropy, losses = grading.constant_loss(target), grading.losses(new, target)
    seen = len(old_target) > 0
    return Generalisation(
        float(grading.mean(grading.values(grading.decide(old), old_target)[None], old_target)) if seen else float("nan"),
        material.estimates(grading.values(grading.decide(new), target)[None], target, groups)[0],
        float(grading.losses(old, old_target).mean()) if seen else float("nan"),
        float(losses.mean()),
        Estimate(float(losses.mean()) - entropy, *bootstrap_interval(losses - entropy, groups=groups)),
        entropy,
    )
