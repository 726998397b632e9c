"""Calibrating multimodal learning: nobody may get surer by knowing less."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Outputs
from equipoise.data.schema import CLASSES
from equipoise.functional.coalitions import confidence_rises, members_of_all
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.training.context import Context


@register(
    "cml",
    card=MethodCard(
        title="Calibrating Multimodal Learning (CML)",
        summary="Fines every rise of the confidence when a modality is taken away, so that all of them are relied on.",
        formula="L = loss(z_all, y) + w mean_{S, m in S} max(0, conf(S without m) - conf(S)),  conf = max_c p_c",
        authors="Ma, Zhang, Zhang, Wu, Fu, Zhou, Hu",
        venue="ICML 2023",
        arxiv="2306.01265",
        kind="loss",
        tasks=(*CLASSES, "multilabel"),
        together=True,
        extra="2^M - 1 passes through the fusion, from one pass through the encoders",
        neutral={"weight": 0.0},
        differs=(
            "All coalitions and all that differ by one modality, as in the paper (published code: one chain of nested ones). A "
            "mean over samples and pairs, hence the weight's default: our choice (published code: a sum). No sample is excused "
            "for being right or wrong; the two published programs do this in two different ways."
        ),
    ),
)
@dataclass(kw_only=True)
class CML(Method):
    """``L = loss(z, y) + weight * rises``, ``rises`` being the mean over samples of
    :func:`~equipoise.functional.coalitions.confidence_rises` over all coalitions of the modalities that the sample has.

    The modalities that a coalition lacks are absent for the fusion; encoders run once.
    """

    weight: float = hparam(1.0, low=0.0, help="weight of the fine on rising confidence", search=(0.1, 10.0), log=True)

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        if self.weight == 0:
            return super().losses(ctx, update, outputs)
        batch, names = update.batch, ctx.modalities
        absent = {name: batch.present[name] for name in names if name not in batch.complete}
        logits = ctx.model.fusion.coalitions(outputs.features, absent, members_of_all(len(names)).to(ctx.runtime.device))
        confidence = ctx.task.confidence(logits.float())
        rises = confidence_rises(confidence, torch.stack([batch.present[name] for name in names]))
        ctx.log("rise", rises.mean(), neutral=0.0)
        return {"fused": ctx.task_loss(logits[-1], batch), "rises": self.weight * ctx.sample_mean(rises, batch)}
