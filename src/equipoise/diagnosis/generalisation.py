"""How much of what an output learned holds for new samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from equipoise.diagnosis.material import Estimate, Material, Said, balanced_estimates
from equipoise.functional.bootstrap import balanced_mean
from equipoise.functional.budgets import bootstrap_interval, label_entropy


@dataclass(frozen=True)
class Generalisation:
    """One output on the samples of training and on the judged ones.

    Attributes:
        train_score: Balanced accuracy on the training samples.
        score: Balanced accuracy on the judged samples.
        train_loss: Mean negative log-likelihood on the training samples, in nats.
        loss: That on the judged samples.
        excess: ``loss - H(Y)``: above 0 the output is worse than saying how frequent each class is.
        entropy: ``H(Y)`` of the judged samples, in nats.
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
    found = {"fused": _measure(_select(train, train.fused, None), _select(judged, judged.fused, None), judged.groups())}
    for name in material.seen:
        groups = judged.groups(judged.present[name])
        found[name] = _measure(_select(train, train.own[name], name), _select(judged, judged.own[name], name), groups)
    return found


def _select(said: Said, output: Tensor, modality: str | None) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and target of the samples that have a modality."""
    rows = slice(None) if modality is None else said.present[modality]
    return output[rows], said.target[rows]


def _measure(train: tuple[Tensor, Tensor], judged: tuple[Tensor, Tensor], groups: Tensor | None) -> Generalisation:
    (old, old_target), (new, target) = train, judged
    entropy, losses = label_entropy(target), nll_loss(new, target, reduction="none")
    hits = torch.stack([(new.argmax(1) == target).double()])
    seen = len(old_target) > 0
    return Generalisation(
        float(balanced_mean((old.argmax(1) == old_target).double()[None], old_target)) if seen else float("nan"),
        balanced_estimates(hits, target, groups)[0],
        float(nll_loss(old, old_target)) if seen else float("nan"),
        float(losses.mean()),
        Estimate(float(losses.mean()) - entropy, *bootstrap_interval(losses - entropy, groups=groups)),
        entropy,
    )
