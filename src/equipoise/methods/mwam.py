"""Multimodal weight allocation: the modality whose data are rich in low frequencies is held back, the others are pushed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.functional.frequency import frequency_ratios, frequency_weights, remembered
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.training.context import Context


@register(
    "mwam",
    card=MethodCard(
        title="Multimodal Weight Allocation Module (MWAM, Plug, Play, and Fortify)",
        summary="Weighs modalities by the spectrum of their data: those with much low-frequency energy, which win, count less.",
        formula="K_m = a - b sigmoid(l (F_m / mean_n bank_n - c)), F = mean |low| / |high|;  g_m <- K_m g_m, L += K_m loss_m",
        authors="Lu, Xu, Zheng, Luan, Sun, Yao",
        venue="ICLR 2026",
        arxiv="2602.22644",
        kind="gradient",
        extra="a cosine transform of the patches of every training sample, once in a run",
        neutral={"variant": "gradient", "highest": 1.0, "span": 0.0},
        differs=(
            "The bank starts at the first ratio, as in the paper (published code: at half of it, which doubles T in the first "
            "update and takes all weights of like modalities to their lowest). slope and centre are those of the published code: "
            "around centre 1 modalities that are alike have weight 1 (the paper: 6 and 0.7). Ratios are means (there: sums over "
            "a batch) with the sign taken off before 1e-6 is added; sequences and rows of numbers are cut along one axis; under "
            "Adam the factor acts on the update, since on the gradient it would cancel: our choices."
        ),
    ),
)
@dataclass(kw_only=True)
class MWAM(Method):
    """Weigh each modality by how rich in low frequencies its inputs are.

    ``F_m``, the frequency ratio of the inputs of a batch, is the mean of ``|low| / |high|`` over the patches' lowest and highest
    coefficients of a cosine transform (:func:`~equipoise.functional.frequency.frequency_ratios`), over the samples that have it;
    ``bank_m`` is its moving average; ``K_m = highest - span sigmoid(slope (F_m / mean_n bank_n - centre))``. By ``variant``,

    - ``gradient``: the gradient of encoder m is multiplied by ``K_m``;
    - ``loss``: an auxiliary head per modality adds ``K_m loss(z_m, y)`` to the loss;
    - ``hybrid``: both, the best in the paper.

    The weights follow from the data alone, not from what the model has learned of them, so they hardly change in a run.
    """

    variant: str = hparam(
        "hybrid", choices=("gradient", "loss", "hybrid"), help="what is weighed", search=("gradient", "loss", "hybrid")
    )
    highest: float = hparam(1.5, above=0.0, help="largest weight (alpha)")
    span: float = hparam(1.0, low=0.0, help="distance from the largest weight to the smallest (beta)", search=(0.5, 1.4))
    slope: float = hparam(10.0, low=0.0, help="how sharply the weight falls with the ratio (lambda)", search=(4.0, 12.0))
    centre: float = hparam(1.0, low=0.0, help="relative ratio at which the weight is half-way (gamma)", search=(0.7, 1.3))
    memory: float = hparam(0.5, low=0.0, below=1.0, help="share of the past in the moving average (omega)")
    patch: int = hparam(8, low=2, help="length of a patch along each axis")
    band: int = hparam(2, low=1, help="coefficients along each axis that are low, and that are high")

    def needs(self) -> set[str]:
        return {"train", "index"}

    def setup(self, ctx: Context) -> None:
        if self.variant != "gradient":
            ctx.model.add_heads(ctx.options.seed)

    @torch.no_grad()
    def on_epoch_start(self, ctx: Context) -> None:
        if "ratios" in self.state:
            return
        # Samples do not change, so each is transformed once in a run and not once in an epoch.
        found = [
            torch.stack([frequency_ratios(batch.inputs[name], self.patch, self.band) for name in ctx.modalities])
            for batch in ctx.batches("train")
        ]
        self.state["ratios"] = torch.cat(found, 1)

    def transform_batch(self, ctx: Context, batch: Batch) -> Batch:
        known: Tensor = self.state["ratios"].to(batch.index.device)[:, batch.index]
        present = torch.stack([batch.present[name] for name in ctx.modalities])
        sums = torch.stack([torch.where(present, known, 0.0).sum(1), present.sum(1).to(known.dtype)])
        totals, counts = ctx.runtime.sum(sums)
        ratios = totals / counts  # nan where no sample has the modality
        bank = remembered(self.state.get("bank", torch.full_like(ratios, torch.nan)).to(ratios), ratios, self.memory)
        weights = frequency_weights(ratios, bank, self.highest, self.span, self.slope, self.centre)
        self.state |= {"bank": bank, "weights": weights}
        for name, weight in zip(ctx.modalities, weights, strict=True):
            ctx.log(f"weight.{name}", weight, neutral=1.0 if self.variant == "gradient" else None)
        return batch

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        losses = super().losses(ctx, update, outputs)
        if self.variant != "gradient":
            weights = dict(zip(ctx.modalities, self.state["weights"].float(), strict=True))
            losses |= {name: loss * weights[name] for name, loss in unimodal_losses(ctx, update, outputs).items()}
        return losses

    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        if self.variant == "loss":
            return
        for name, weight in zip(ctx.modalities, self.state["weights"].tolist(), strict=True):
            ctx.optimizer.scale(name, weight)
