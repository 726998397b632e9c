"""Multimodal negative learning: weak modalities learn from strong ones only what the class is not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Outputs
from equipoise.data.schema import CLASSES
from equipoise.functional.negative import choose_guides, negative_losses
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.training.context import Context


@register(
    "mnl",
    card=MethodCard(
        title="Multimodal Negative Learning (MNL)",
        summary="Where a modality knows better, it tells another which wrong classes to believe in less, and nothing else.",
        formula="L = loss(z, y) + sum_m loss(z_m, y) + l sum_h mean_i N_ih,  N_ih = -sum_{c != y} p_g[c] log p_h[c]",
        authors="Gong, Gao, Zhu, Hu, Cao",
        venue="NeurIPS 2025",
        arxiv="2510.20877",
        kind="loss",
        tasks=CLASSES,
        together=True,
        fusion="logit",
        differs=(
            "The published code also adds the guided modality's own loss a second time and averages over classes. N is averaged "
            "over all samples that have the modality, so that it never lowers the true class; its weight and that limit, the "
            "warm-up and the choice among several guides are our choices, and ties guide nobody."
        ),
    ),
)
@dataclass(kw_only=True)
class MNL(Method):
    """Fused loss, unimodal losses, and for each modality h the losses ``N_h`` of the samples in which another guides it.

    Modality g guides h in a sample where its margin over the likeliest wrong class and its probability of the true class are
    both larger; ``N_h = - sum_{c != y} p_g[c] log p_h[c]`` with g held fixed. The margin's wrong class is that of the fused
    prediction. ``CE_h + strength N_h`` never pushes the true class down, which copying all of ``p_g`` would.
    """

    strength: float = hparam(0.5, low=0.0, high=1.0, help="weight of the negative losses", search=(0.1, 1.0), log=True)
    warmup: float = hparam(0.1, low=0.0, high=1.0, help="share of the epochs before anybody guides")

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        batch = update.batch
        losses = super().losses(ctx, update, outputs) | unimodal_losses(ctx, update, outputs)
        if self.strength == 0 or ctx.epoch < self.warmup * ctx.epochs:
            for name in outputs.unimodal:
                ctx.log(f"guided.{name}", 0.0, neutral=0.0)
            return losses
        logits = torch.stack(list(outputs.unimodal.values())).float()
        present = torch.stack([batch.present[name] for name in outputs.unimodal])
        guide, guided = choose_guides(logits, outputs.logits, batch.labels, present)
        negative = negative_losses(logits, guide, guided, batch.labels)
        for number, name in enumerate(outputs.unimodal):
            ctx.log(f"guided.{name}", guided[number].float().mean(), neutral=0.0)
            losses[f"negative.{name}"] = self.strength * ctx.sample_mean(negative[number], batch, name)
        return losses
