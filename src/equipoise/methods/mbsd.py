"""Balanced self-distillation: for each sample the surer modality teaches the others."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor

from equipoise.batch import Outputs
from equipoise.data.schema import CLASSES
from equipoise.functional.mutual import lessons
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.training.context import Context


@register(
    "mbsd",
    card=MethodCard(
        title="Self-distillation between modalities (MBSD)",
        summary="Of each pair of modalities the one that is surer of the true class teaches the other, sample by sample.",
        formula="L = loss(z, y) + sum_m loss(z_m, y) + mean_pairs mean_i |p_a(y) - p_b(y)| (|z_s - z_t|^2 / K + KL(p_t || p_s))",
        authors="Liu, Li, Song, Yang, Zeng",
        venue="WSDM 2023",
        link="https://doi.org/10.1145/3539597.3570423",
        kind="loss",
        tasks=CLASSES,
        together=True,
        neutral={"unimodal": 0.0, "distance": 0.0, "divergence": 0.0},
        differs=(
            "After a widely used port of the paper to classification. The divergence is that of whole distributions, teacher "
            "first, and neither teacher nor weight has a gradient (port: probabilities of the true class in place of "
            "log-probabilities, and a gradient that lowers the teacher). Any number of modalities: the mean over pairs of what "
            "the port does with two (our choice). Distances are those of logits in all cases."
        ),
    ),
)
@dataclass(kw_only=True)
class MBSD(Method):
    """Add unimodal losses and what the worse of each pair of modalities has to learn from the better.

    With ``z_m`` the unimodal logits and ``p_m`` their probabilities, for each pair (a, b) and sample i that has both: the
    teacher t is the one with the larger ``p(y)``, the student s the other, the weight ``w = |p_a(y) - p_b(y)|`` if one of them
    is right, else 0. The loss is ``loss(z, y) + sum_m loss(z_m, y) + mean_pairs mean_i w (|z_s - z_t|^2 / K + KL(p_t || p_s))``.
    """

    unimodal: float = hparam(1.0, low=0.0, help="weight of each modality's own loss", search=(0.1, 2.0))
    distance: float = hparam(1.0, low=0.0, help="weight of the squared distance to the teacher's logits", search=(0.1, 2.0))
    divergence: float = hparam(1.0, low=0.0, help="weight of the divergence from the teacher", search=(0.1, 2.0))

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        losses, batch = super().losses(ctx, update, outputs), update.batch
        if self.unimodal > 0:
            losses |= unimodal_losses(ctx, update, outputs, self.unimodal)
        if len(ctx.modalities) < 2 or self.distance == self.divergence == 0:
            return losses
        logits = torch.stack([outputs.unimodal[name] for name in ctx.modalities])
        present = torch.stack([batch.present[name] for name in ctx.modalities])
        weight, distance, divergence = lessons(logits, batch.labels, present)
        ctx.log("lesson", weight.mean(), neutral=0.0)
        learned = (weight * (self.distance * distance + self.divergence * divergence)).sum((0, 1))
        return losses | {"distillation": ctx.sample_mean(learned, batch) / comb(len(logits), 2)}
