"""On-the-fly prediction modulation: the fusion must often do without the leading modality."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.functional.dropping import drop_probability
from equipoise.functional.modulation import discrepancy_ratios
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.methods.modality_dropout import keep_at_least_one
from equipoise.methods.ogm import unimodal_scores
from equipoise.training.context import Context


@register(
    "opm",
    card=MethodCard(
        title="On-the-fly Prediction Modulation (OPM)",
        summary="Drops the features of the modality that says the true class with more confidence, sample by sample.",
        formula="f_im <- f_im b_im / (1 - q_m),  b_im ~ Bernoulli(1 - q_m),  q_m = q (1 + l tanh(rho_m - 1)) if rho_m > 1 else 0",
        authors="Wei, Hu, Du, Wen",
        venue="TPAMI 2024",
        arxiv="2410.11582",
        kind="batch",
        together=True,
        neutral={"base": 0.0},
        differs=(
            "Kept features are divided by the share that their own modality keeps (published code: by one share for all). The "
            "ratio of a batch sets q of the next one, which saves a pass through the head; q is at most 0.9; for more than two "
            "modalities rho_m compares with the mean of the others; a sample of which nothing would remain keeps one modality "
            "(published code: it is removed): our choices. With OGM at once: opm+ogm."
        ),
    ),
)
@dataclass(kw_only=True)
class OPM(Method):
    """Fuse features of which those of the leading modality are dropped at random.

    Ratio ``rho_m`` as in :class:`~equipoise.methods.ogm.OGM`, from the unimodal logits of undropped features. With
    ``probability`` per batch, modality m of sample i is dropped with ``q_m = base (1 + strength tanh(rho_m - 1))`` if
    ``rho_m > 1``, else 0. A dropped modality is absent for the fusion, and no fused gradient reaches its encoder; kept features
    are divided by ``1 - q_m``. Unimodal logits and predictions use all features.
    """

    base: float = hparam(0.5, low=0.0, high=1.0, help="how often a modality that hardly leads is dropped", search=(0.1, 0.8))
    strength: float = hparam(0.5, low=0.0, help="how much more often it is dropped with a larger lead", search=(0.1, 1.0))
    probability: float = hparam(0.7, low=0.0, high=1.0, help="share of the batches in which features are dropped")
    start: int = hparam(5, low=0, help="first epoch with modulation")

    def transform_outputs(self, ctx: Context, update: Update, outputs: Outputs) -> Outputs:
        drop = self._drop(ctx)
        for name in outputs.features:
            ctx.log(f"dropped.{name}", drop.get(name, 0.0), neutral=0.0)
        if not drop:
            return outputs
        batch = update.batch.masked(_kept(ctx, update.batch, drop))
        features = {name: value / (1.0 - drop[name]) if name in drop else value for name, value in outputs.features.items()}

        def fuse() -> Tensor:
            with ctx.runtime.autocast():
                return ctx.model.fuse(features, {name: batch.present[name] for name in features if name not in batch.complete})

        return Outputs(features, batch.present, fuse, lambda: outputs.unimodal)

    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        if self.base > 0:
            ratios = discrepancy_ratios(unimodal_scores(ctx, update, outputs))
            self.state["drop"] = {
                name: drop_probability(ratio, self.base, self.strength)
                for name, ratio in zip(outputs.features, ratios, strict=True)
                if ratio > 1
            }

    def _drop(self, ctx: Context) -> dict[str, float]:
        """Return the drop probabilities in force in this update, of the modalities that have one."""
        if ctx.epoch < self.start or torch.rand((), generator=ctx.generator("opm")) >= self.probability:
            return {}
        drop: dict[str, float] = self.state.get("drop", {})
        return drop


def _kept(ctx: Context, batch: Batch, drop: dict[str, float]) -> dict[str, Tensor]:
    """Return which samples keep which modality, booleans of shape (batch,) per modality."""
    # A modality without a drop probability is above every threshold.
    draws = [
        ctx.uniform(batch, 1, f"opm {name}")[:, 0] - drop[name]
        if name in drop
        else torch.ones(len(batch), device=batch.index.device)
        for name in ctx.modalities
    ]
    present = torch.stack([batch.present[name] for name in ctx.modalities], 1)
    keep = keep_at_least_one(present, torch.stack(draws, 1), 0.0)
    return {name: keep[:, number] for number, name in enumerate(ctx.modalities) if name in drop}
