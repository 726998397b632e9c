"""Joint training with a loss on every modality as well: the simplest remedy, and a hard one to beat."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from equipoise.batch import Outputs
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.training.context import Context


@register(
    "joint_unimodal",
    card=MethodCard(
        title="Joint and unimodal losses",
        summary="The fused loss plus a loss on an auxiliary head of each modality, so that each encoder must learn by itself.",
        formula="L = loss(z, y) + w sum_m loss(z_m, y)",
        kind="loss",
        neutral={"weight": 0.0},
    ),
)
@dataclass(kw_only=True)
class JointUnimodal(Method):
    """``L = loss(z, y) + w * sum_m loss(z_m, y)``, ``z_m`` from an auxiliary linear head on the features of modality m."""

    weight: float = hparam(1.0, low=0.0, help="weight of each modality's own loss", search=(0.1, 2.0), log=True)

    def setup(self, ctx: Context) -> None:
        ctx.model.add_heads(ctx.options.seed)

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        fused = super().losses(ctx, update, outputs)
        return fused if self.weight == 0 else fused | unimodal_losses(ctx, update, outputs, self.weight)
