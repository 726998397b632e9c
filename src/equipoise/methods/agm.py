"""Adaptive gradient modulation: each encoder's pace follows what its modality contributes to the fused prediction."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log

import torch
from torch import Tensor

from equipoise.batch import Outputs
from equipoise.functional.coalitions import members_of_all, shapley_values
from equipoise.functional.contributions import agm_coefficient, contribution_ratios
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.training.context import Context

_LARGEST_LOSS = -log(1e-8)


@register(
    "agm",
    card=MethodCard(
        title="Adaptive Gradient Modulation (AGM)",
        summary="Slows the encoder whose modality contributes more to the fused prediction than it usually does.",
        formula="k_m = exp(a min(tau_m - r_m, 10)),  r_m = exp(M/(M-1) (mean s - s_m)),  s_m = loss(phi_m, y)",
        authors="Li, Li, Hu, Lei, Li, Zhou",
        venue="ICCV 2023",
        arxiv="2308.07686",
        kind="gradient",
        together=True,
        extra="2^M passes through the fusion, from one pass through the encoders",
        neutral={"alpha": 0.0},
        differs=(
            "Contributions are Shapley values with the empty coalition (published code: it is never subtracted). A modality "
            "outside a coalition is absent for the fusion, and encoders run once (published: zeros as input, a pass per "
            "coalition). The factor acts on the encoder alone, and under Adam on the update, since on the gradient it would "
            "cancel (published: on the gradient of each contribution, in a fusion that is no sum a different factor for every "
            "weight). The limit is 10 for any number of modalities."
        ),
    ),
)
@dataclass(kw_only=True)
class AGM(Method):
    """Scale each encoder's gradient by how far its modality is ahead, compared with how far it usually is.

    ``phi_m``, the contribution of modality m to the fused logits, is its Shapley value over all coalitions, of shape (batch,
    outputs). ``s_m`` is the mean loss of ``phi_m`` (at most ``-log 1e-8``), ``r_m = exp(M / (M - 1) (mean s - s_m))``,
    ``tau_m`` the same of the means of ``s`` over all batches before, and ``k_m = exp(alpha min(tau_m - r_m, 10))``.
    """

    alpha: float = hparam(1.0, low=0.0, help="how hard encoders are slowed and sped up", search=(0.1, 4.0), log=True)

    def setup(self, ctx: Context) -> None:
        self.state["scores"] = dict.fromkeys(ctx.modalities, 0.0)
        self.state["batches"] = dict.fromkeys(ctx.modalities, 0)

    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        scores = self._scores(ctx, update, outputs)
        usual = contribution_ratios([self.state["scores"][name] for name in ctx.modalities])
        for name, score, ratio, tau in zip(ctx.modalities, scores, contribution_ratios(scores), usual, strict=True):
            if not isfinite(score):
                continue
            coefficient = agm_coefficient(ratio, tau, self.alpha)
            ctx.log(f"coefficient.{name}", coefficient, neutral=1.0)
            ctx.optimizer.scale(name, coefficient)
            self.state["batches"][name] += 1
            self.state["scores"][name] += (score - self.state["scores"][name]) / self.state["batches"][name]

    @torch.no_grad()
    def _scores(self, ctx: Context, update: Update, outputs: Outputs) -> list[float]:
        """Return the mean loss of each modality's contribution over the samples that have it, over all processes."""
        batch, names = update.batch, ctx.modalities
        absent = {name: batch.present[name] for name in names if name not in batch.complete}
        with ctx.runtime.autocast():
            members = members_of_all(len(names)).to(ctx.runtime.device)
            logits = ctx.model.fusion.coalitions(outputs.features, absent, members).float()
            nobody = torch.zeros(len(batch), dtype=torch.bool, device=logits.device)
            empty = ctx.model.fuse(outputs.features, dict.fromkeys(names, nobody)).to(logits.dtype)
        contributions = shapley_values(torch.cat([empty[None], logits]))
        target = torch.cat([batch.labels] * len(names))
        losses = ctx.task.losses(contributions.flatten(0, 1), target).clamp_max(_LARGEST_LOSS).view(len(names), -1)
        present = torch.stack([batch.present[name] for name in names])
        sums: Tensor = ctx.runtime.sum(torch.stack([(losses * present).sum(1), present.sum(1).to(losses.dtype)]))
        return [float(value) for value in sums[0] / sums[1]]
