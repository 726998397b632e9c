"""Modality dropout: a model that cannot count on any modality learns to use all of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from equipoise.batch import Batch
from equipoise.methods.base import Method, MethodCard, hparam, register
from equipoise.training.context import Context


@register(
    "modality_dropout",
    card=MethodCard(
        title="Modality dropout (ModDrop)",
        summary="Hides each modality of each training sample at random; every sample keeps at least one.",
        formula="present_im <- present_im and u_im >= rate",
        authors="Neverova, Wolf, Taylor, Nebout",
        venue="TPAMI 2016",
        arxiv="1501.00102",
        kind="batch",
        neutral={"rate": 0.0},
        differs="A hidden modality is absent (its encoder does not run), not a vector of zeros; no sample loses all modalities.",
    ),
)
@dataclass(kw_only=True)
class ModalityDropout(Method):
    """Hide modality m of sample i with probability ``rate``, anew in each epoch.

    A sample that would lose all its modalities keeps the one that was drawn last to be hidden (the largest ``u_im``).
    """

    rate: float = hparam(
        0.3, low=0.0, below=1.0, help="probability with which each modality of a sample is hidden", search=(0.1, 0.6)
    )

    def transform_batch(self, ctx: Context, batch: Batch) -> Batch:
        if self.rate == 0:
            return batch
        present = torch.stack([batch.present[name] for name in ctx.modalities], 1)
        draw = torch.cat([ctx.uniform(batch, 1, f"modality dropout {name}") for name in ctx.modalities], 1)
        keep = keep_at_least_one(present, draw, self.rate)
        ctx.log("kept", keep.sum() / present.sum(), neutral=1.0)
        return batch.masked({name: keep[:, number] for number, name in enumerate(ctx.modalities)})


def keep_at_least_one(present: torch.Tensor, draw: torch.Tensor, rate: float) -> torch.Tensor:
    """Return which modalities samples keep.

    Args:
        present: Which sample has which modality, booleans of shape (batch, modalities).
        draw: Uniform numbers in [0, 1) of the same shape.
        rate: A modality is hidden where its number is below this.

    Returns:
        Booleans of the same shape; every sample that had a modality keeps one.

    Example:
        >>> keep_at_least_one(torch.tensor([[True, True]]), torch.tensor([[0.1, 0.2]]), 0.5)
        tensor([[False,  True]])
    """
    keep = present & (draw >= rate)
    last = torch.where(present, draw, -1.0).argmax(1, keepdim=True)
    rescued = torch.zeros_like(keep).scatter(1, last, True) & present
    return torch.where(keep.any(1, keepdim=True), keep, rescued)
