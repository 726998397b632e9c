"""Each modality alone: what it could reach, and the measure of what joint training costs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.methods.base import Method, MethodCard, Phase, Update, register
from equipoise.methods.late import unimodal_losses
from equipoise.training.branches import branch_phase
from equipoise.training.context import Context


@register(
    "unimodal",
    card=MethodCard(
        title="Unimodal training",
        summary="Each modality is trained alone to its own best epoch; the fused output averages the finished models.",
        formula="L_m = loss(z_m, y), one phase per modality;  z = mean_m log p_m",
        kind="baseline",
        fusion="logit",
    ),
)
@dataclass(kw_only=True)
class Unimodal(Method):
    """One phase per modality: its encoder and its head train alone, and its own validation metric selects the epoch."""

    def needs(self) -> set[str]:
        return {"phases"}

    def phases(self, ctx: Context) -> Iterator[Phase]:
        for name in ctx.modalities:
            yield branch_phase([name], name=name, monitor=name)

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        yield Update(batch, only=(ctx.phase.name,))

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        return unimodal_losses(ctx, update, outputs)
