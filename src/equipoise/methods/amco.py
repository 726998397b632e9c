"""Adaptive mask co-optimisation: features of the modality on which the model depends are hidden, more and more of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Outputs
from equipoise.data.schema import CLASSES
from equipoise.functional.dependence import dependence, masked_share
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.training.context import Context


@register(
    "amco",
    card=MethodCard(
        title="Adaptive Mask Co-optimization (AMCo)",
        summary="Hides from the fusion features of the modality on which it depends, while each modality keeps its own loss.",
        formula="L = loss(fuse(mask(f)), y) + w sum_m loss(z_m, y);  masked share of a dependent m: s sin(pi/2 min(t, e) / e)",
        authors="Zhou, Liang, Zheng, Xuan, Kumada",
        venue="ICASSP 2023",
        link="https://doi.org/10.1109/ICASSP49357.2023.10096641",
        kind="batch",
        tasks=CLASSES,
        together=True,
        neutral={"most": 0.0, "unimodal": 0.0},
        differs=(
            "Features are masked, as in the paper, over the whole training (the BalanceBenchmark code: logits, one mask for a "
            "batch, and a schedule that starts again in each epoch). Our choices, where the text at hand is silent: time is "
            "counted in epochs; the largest masked share is below 1, since masking all features would remove the modality; the "
            "mask is drawn for each sample and feature, and what is kept is scaled up; shares are compared with those of equal "
            "modalities, so that the threshold means the same for any number of them; the weight of the unimodal losses."
        ),
    ),
)
@dataclass(kw_only=True)
class AMCo(Method):
    """``L = loss(z, y) + unimodal sum_m loss(z_m, y)``, z being fused from masked and ``z_m`` said by unmasked features.

    A modality is dependent if, in the batch before, it held a share of more than ``threshold`` in the softmax over all unimodal
    logits side by side, on average over the samples and times ``n / 2`` for samples with n modalities
    (:func:`~equipoise.functional.dependence.dependence`). Each of its features is then hidden in each sample with probability
    ``p = most sin(pi/2 min(t, warmup) / warmup)``, t being the share of the epochs that has passed; kept ones are divided by
    ``1 - p``. Without unimodal losses ``z_m`` is the fusion's own split. Predictions use all features.
    """

    most: float = hparam(0.5, low=0.0, below=1.0, help="largest share of a modality's features that is hidden", search=(0.1, 0.9))
    threshold: float = hparam(0.5, low=0.0, help="share of the evidence above which a modality is dependent (the paper's sigma)")
    warmup: float = hparam(0.3, low=0.0, high=1.0, help="share of the epochs over which the mask grows (the paper's epsilon)")
    unimodal: float = hparam(1.0, low=0.0, help="weight of each modality's own loss", search=(0.1, 2.0), log=True)

    def setup(self, ctx: Context) -> None:
        if self.unimodal > 0:
            ctx.model.add_heads(ctx.options.seed)
        self.state["dependent"] = []

    def transform_outputs(self, ctx: Context, update: Update, outputs: Outputs) -> Outputs:
        share = masked_share(ctx.epoch / ctx.epochs, self.warmup, self.most)
        masked = self.state["dependent"] if share > 0 else []
        for name in outputs.features:
            ctx.log(f"masked.{name}", share if name in masked else 0.0, neutral=0.0)
        if not masked:
            return outputs
        batch, features = update.batch, dict(outputs.features)
        for name in masked:
            value = features[name]
            keep = ctx.uniform(batch, value.shape[1], f"amco {name}") >= share
            features[name] = torch.where(keep, value / (1.0 - share), value.new_zeros(()))

        def fuse() -> Tensor:
            with ctx.runtime.autocast():
                return ctx.model.fuse(features, {name: batch.present[name] for name in features if name not in batch.complete})

        return Outputs(features, batch.present, fuse, lambda: outputs.unimodal)

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        fused = super().losses(ctx, update, outputs)
        return fused if self.unimodal == 0 else fused | unimodal_losses(ctx, update, outputs, self.unimodal)

    @torch.no_grad()
    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        if self.most == 0:
            return
        logits = torch.stack(list(outputs.unimodal.values()))
        present = torch.stack([update.batch.present[name] for name in outputs.unimodal])
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        sums, counts = ctx.runtime.sum(torch.stack(dependence(precise, present)))
        # The quotient is nan, and nobody dependent, where no sample has two modalities.
        above = (sums / counts > self.threshold).tolist()
        self.state["dependent"] = [name for name, yes in zip(outputs.unimodal, above, strict=True) if yes]
