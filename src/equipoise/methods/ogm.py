"""On-the-fly gradient modulation: the leading modality is slowed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from equipoise.batch import Outputs
from equipoise.functional.modulation import discrepancy_ratios, ogm_coefficient
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.training.context import Context


@register(
    "ogm",
    card=MethodCard(
        title="On-the-fly Gradient Modulation with Generalisation Enhancement (OGM-GE)",
        summary="Slows the encoder whose modality says the true class with more confidence, and adds noise to keep it general.",
        formula="k_m = 1 - tanh(alpha rho_m) if rho_m > 1 else 1;  g_m <- k_m g_m + N(0, std(g_m))",
        authors="Peng, Wei, Deng, Wang, Hu",
        venue="CVPR 2022",
        arxiv="2203.15332",
        kind="gradient",
        together=True,
        neutral={"alpha": 0.0, "noise": False},
        differs=(
            "Any number of modalities: rho_m compares with the mean of the others, the paper's ratio for two. All weights of an "
            "encoder are modulated (the published code: convolutions only). At rho = 1 no modality is slowed (the published "
            "code: the first one). Under Adam the factor acts on the update, since on the gradient it would cancel."
        ),
    ),
)
@dataclass(kw_only=True)
class OGM(Method):
    """Scale the gradients of the leading modality's encoder.

    Score of a modality: ``s_m = mean_i p_m(y_i | x_i)`` from its unimodal logits (the exact split of a linear fusion).
    Ratio: ``rho_m = s_m / mean_{n != m} s_n``. Factor: ``k_m = 1 - tanh(alpha rho_m)`` if ``rho_m > 1``, else 1.
    With ``noise`` every weight gradient of every encoder, of standard deviation ``s`` before scaling, gets ``N(0, s)`` added,
    as in the published code.
    """

    alpha: float = hparam(0.3, low=0.0, help="how hard the leading modality is slowed", search=(0.05, 1.0))
    noise: bool = hparam(True, help="add noise to the gradients (the GE of OGM-GE)")
    start: int = hparam(0, low=0, help="first epoch with modulation")
    stop: int | None = hparam(None, low=1, help="first epoch without modulation again")

    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        if ctx.epoch < self.start or (self.stop is not None and ctx.epoch >= self.stop):
            return
        names = list(outputs.features)
        ratios = discrepancy_ratios(unimodal_scores(ctx, update, outputs))
        for name, ratio in zip(names, ratios, strict=True):
            coefficient = ogm_coefficient(ratio, self.alpha)
            ctx.log(f"coefficient.{name}", coefficient, neutral=1.0)
            if not self.noise:
                ctx.optimizer.scale(name, coefficient)
                continue
            weights = [item.grad for item in ctx.model.parameters_of(name) if item.grad is not None and item.ndim > 1]
            spread = [gradient.std() for gradient in weights]
            ctx.optimizer.scale(name, coefficient)
            noise = ctx.generator(f"ogm noise {name}")
            for gradient, deviation in zip(weights, spread, strict=True):
                drawn = torch.randn(gradient.shape, generator=noise, dtype=gradient.dtype).to(gradient.device)
                gradient.addcmul_(drawn, deviation + 1e-8)


@torch.no_grad()
def unimodal_scores(ctx: Context, update: Update, outputs: Outputs) -> list[float]:
    """Return the mean true-class probability of each modality over the samples that have it, over all processes."""
    batch = update.batch
    score = ctx.task.score(torch.stack(list(outputs.unimodal.values())).float(), batch.labels)
    if len(batch.complete) == len(score):
        scores: list[float] = ctx.runtime.sum(score.sum(1)).div(batch.total).tolist()
        return scores
    present = torch.stack([batch.present[name] for name in outputs.features])
    sums = ctx.runtime.sum(torch.stack([(score * present).sum(1), present.sum(1).to(score.dtype)]))
    return [float(value) for value in sums[0] / sums[1]]
