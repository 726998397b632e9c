"""ReconBoost: modalities take turns in learning what the others have not, and then all are corrected together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.data.schema import CLASSES
from equipoise.functional.reconcilement import disagreement, residual_losses
from equipoise.methods.base import Method, MethodCard, Update, alternate, hparam, register
from equipoise.training.context import Context


@register(
    "reconboost",
    card=MethodCard(
        title="Boosting for modality reconcilement (ReconBoost)",
        summary="One modality at a time fits what the others have not learned, as in gradient boosting; then all are corrected.",
        formula="L_m = loss(z_m, y) - lambda KL(q_others || p_m) + alpha |p_m - p_before|^2 / K;  then L = loss(sum_m z_m, y)",
        authors="Hua, Xu, Bao, Yang, Huang",
        venue="ICML 2024",
        arxiv="2405.09321",
        kind="update",
        tasks=(*CLASSES, "multilabel"),
        forwards=2.0,
        backwards=1.5,
        extra="two optimizer steps per batch; backward passes for two modalities, 1 + 1 / M for M",
        fusion="sum",
        order_matters=True,
        differs=(
            "The agreement term has a gradient (in the published code it is computed on detached values and changes nothing). "
            "The reconcilement is the divergence of whole distributions, as in the paper (published code: its true-class entry "
            "alone, divided by the number of classes). lambda is the ratio 1/5 of the published code's two weights. A stage is "
            "one batch instead of a pass over the data, both steps share one optimizer, and the sum has no learned rate (our "
            "choice)."
        ),
    ),
)
@dataclass(kw_only=True)
class ReconBoost(Method):
    """Alternate boosting of one modality with global rectification.

    With ``z_m`` the logits of modality m, ``p_m`` their probabilities and ``q`` those of ``sum_{n != m} z_n`` without gradient,
    a stage is two updates. Boosting: ``mean_i loss_i(z_m, y) - lambda KL(q_i || p_mi) + alpha mean_k (p_mik - p_nik)^2``, n
    being the modality boosted in the stage before; only m is trained. Rectification: ``loss(sum_m z_m, y)`` trains all.
    Modalities take turns from batch to batch; one that no sample of a batch has is passed over. Where a sample has no other
    modality, or lacks the one before, that term is left out.
    """

    reconcilement: float = hparam(
        0.2, low=0.0, high=1.0, help="lambda: how much of what the others know is taken off the target", search=(0.05, 1.0)
    )
    agreement: float = hparam(0.5, low=0.0, help="alpha: pull towards the modality boosted before", search=(0.1, 2.0))

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        turns = list(alternate(ctx, batch))
        stage = self.state.get("stage", 0)
        boosted = turns[stage % len(turns)]
        yield boosted
        yield Update(batch)
        self.state["stage"], self.state["before"] = stage + 1, boosted.only

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        if update.only is None:
            return super().losses(ctx, update, outputs)
        batch, task, (name,) = update.batch, ctx.task, update.only
        values = task.losses(outputs.unimodal[name], batch.labels)
        others = [other for other in ctx.modalities if other != name]
        if not others:
            return {"boosted": ctx.sample_mean(values, batch, name)}
        own = outputs.unimodal[name]
        with torch.no_grad():
            rest = ctx.model(batch, only=others)
            together = rest.logits
        some = torch.stack([batch.present[other] for other in others]).any(0)
        boosted = residual_losses(values, task.divergence(together, own), self.reconcilement)
        values = torch.where(some, boosted, values)
        losses = {"boosted": ctx.sample_mean(values, batch, name)}
        (before,) = self.state.get("before", (name,))
        if before != name:
            distance = disagreement(task.predictions(own), task.predictions(rest.unimodal[before])) * batch.present[before]
            ctx.log("disagreement", distance.detach().mean())
            losses["agreement"] = ctx.sample_mean(distance, batch, name) * self.agreement
        return losses
