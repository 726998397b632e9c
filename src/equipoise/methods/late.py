"""Late fusion: modalities are trained side by side and their outputs averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.methods.base import Method, MethodCard, Update, register
from equipoise.training.context import Context


def unimodal_losses(ctx: Context, update: Update, outputs: Outputs, factor: float = 1.0) -> dict[str, Tensor]:
    """Return the task loss of each modality's own logits on the samples that have it.

    Args:
        ctx: The run.
        update: The update.
        outputs: The model's outputs.
        factor: Factor on each loss.

    Returns:
        A loss per encoded modality.
    """
    losses = {name: ctx.task_loss(logits, update.batch, name) for name, logits in outputs.unimodal.items()}
    return losses if factor == 1.0 else {name: value * factor for name, value in losses.items()}


class Term(NamedTuple):
    """One task loss of several: of what logits, counted on the samples that have what modality (None: all), times what."""

    logits: Tensor
    modality: str | None = None
    factor: float = 1.0


def task_losses(ctx: Context, batch: Batch, terms: Mapping[str, Term]) -> dict[str, Tensor]:
    """Return several weighted task losses.

    Args:
        ctx: The run.
        batch: The batch.
        terms: The losses by name.

    Returns:
        A loss per term.
    """
    return {name: ctx.task_loss(term.logits, batch, term.modality) * term.factor for name, term in terms.items()}


@register(
    "late",
    card=MethodCard(
        title="Late fusion",
        summary="Each modality has its own loss; the outputs are averaged. No modality can take over, none can help another.",
        formula="L = sum_m loss(z_m, y);  z = mean_m log p_m",
        kind="baseline",
        fusion="logit",
    ),
)
@dataclass(kw_only=True)
class Late(Method):
    """The sum of the unimodal losses, one selected epoch for all: ``L = sum_m loss(z_m, y)``."""

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        return unimodal_losses(ctx, update, outputs)
