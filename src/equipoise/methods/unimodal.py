"""Each modality alone: what it could reach, and the measure of what joint training costs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from equipoise.batch import Batch, Outputs
from equipoise.methods.base import Method, MethodCard, Phase, Update, register
from equipoise.methods.late import unimodal_losses
from equipoise.nn.fusion.late import LogitFusion
from equipoise.nn.multimodal import MultimodalModel
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

    def phases(self, ctx: Context) -> Iterator[Phase]:
        for name in ctx.modalities:
            yield Phase(name=name, parameters=lambda model, name=name: branch(model, name), monitor=name)  # type: ignore[misc]

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        yield Update(batch, only=(ctx.phase.name,))

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        return unimodal_losses(ctx, update, outputs)


def branch(model: MultimodalModel, modality: str) -> list[nn.Parameter]:
    """Return the parameters of a modality's encoder and of its head in a late fusion."""
    assert isinstance(model.fusion, LogitFusion)
    return [*model.parameters_of(modality), *model.fusion.heads[modality].parameters()]
