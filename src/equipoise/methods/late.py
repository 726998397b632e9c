"""Late fusion: modalities are trained side by side and their outputs averaged."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from equipoise.batch import Outputs
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
