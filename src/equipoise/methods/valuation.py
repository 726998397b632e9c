"""Sample-level modality valuation: a modality that is worth little for a sample is met alone more often."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Batch
from equipoise.data.schema import CLASSES
from equipoise.functional.valuation import modality_copies, modality_values, sample_copies
from equipoise.methods.base import Method, MethodCard, hparam, register
from equipoise.training.coalitions import coalition_values
from equipoise.training.context import Context

_COPIES = {"sample": sample_copies, "modality": modality_copies}


@register(
    "valuation",
    card=MethodCard(
        title="Sample-level Modality Valuation (SMV)",
        summary="Draws samples more often with only the modality that is worth little for them, by Shapley values.",
        formula="draw i with m alone ~ 2 max(0, 1 - phi_im),  phi = Shapley values of v(S) = |S| if S predicts y else 0",
        authors="Wei, Feng, Wang, Hu",
        venue="CVPR 2024",
        arxiv="2309.06255",
        kind="batch",
        tasks=CLASSES,
        extra="per epoch one pass over the training part and 2^M through the fusion",
        differs=(
            "Modalities outside a coalition are absent for the fusion, after one pass of each encoder (published code: zeros as "
            "input, a pass per coalition); a copy keeps one modality, the others are absent. Copies are drawn by frequency, "
            "with replacement, in an epoch of the usual length (published code: the data set grows). Both rules are written so "
            "that they equal the published ones for two modalities and hold for any number; all training samples are valued, "
            "also for the averages (published code: a fifth of them): our choices."
        ),
    ),
)
@dataclass(kw_only=True)
class Valuation(Method):
    """Re-sample modalities of samples by what they are worth.

    Before each epoch but the first ``start`` ones, ``phi_im`` is the Shapley value of modality m for training sample i, with
    ``v(S) = |S|`` if the modalities S predict the sample rightly, else 0. A sample then has a frequency of 1 as it is and of
    ``c_im`` with modality m alone: by the sample ``c_im = 2 max(0, 1 - phi_im)``, or by the modality
    ``c_im = 2/3 max(0, mean_{n != m} phi_n - phi_m)`` with the means of phi over samples.
    """

    level: str = hparam("sample", choices=("sample", "modality"), help="whether each sample or each modality sets the frequency")
    start: int = hparam(1, low=1, help="epochs before the first valuation")

    def needs(self) -> set[str]:
        return {"train", "index", "order"}

    def on_epoch_start(self, ctx: Context) -> None:
        if ctx.epoch < self.start:
            for name in ctx.modalities:
                ctx.log(f"alone.{name}", 0.0, neutral=0.0)
            return
        right = coalition_values(ctx, "train", lambda logits, target: logits.argmax(-1) == target).T
        present = torch.stack([ctx.part("train").present[name].to(right.device) for name in ctx.modalities])
        values = modality_values(right, present)
        copies = _COPIES[self.level](values, present)
        ctx.sampler.weights = 1 + copies.sum(0) if bool(copies.any()) else None
        self.state["copies"] = copies.T.to(torch.get_default_dtype())
        for name, often, value, have in zip(ctx.modalities, copies, values, present, strict=True):
            ctx.log(f"alone.{name}", often.mean(), neutral=0.0)
            ctx.log(f"value.{name}", value.sum() / have.sum().clamp_min(1))

    def transform_batch(self, ctx: Context, batch: Batch) -> Batch:
        copies: Tensor | None = self.state.get("copies")
        if copies is None:
            return batch
        often = torch.cat([torch.ones_like(copies[batch.index, :1]), copies[batch.index]], 1)
        # The shortest of waiting times with these rates: a draw by frequency that does not depend on the order of modalities.
        # Its key has the update: a sample that is drawn again in another batch is drawn anew here as well.
        keys = ["as it is", *ctx.modalities]
        draw = torch.cat([ctx.uniform(batch, 1, f"valuation {key} {ctx.update}") for key in keys], 1)
        chosen = (-torch.log1p(-draw) / often).argmin(1)
        return batch.masked({name: (chosen == 0) | (chosen == number) for number, name in enumerate(ctx.modalities, start=1)})
