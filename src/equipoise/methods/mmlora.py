"""Low-rank joint adaptation: modalities are trained alone, then only a small change of each encoder is trained jointly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from equipoise.batch import Batch, Outputs
from equipoise.errors import ConfigError, suggest
from equipoise.methods.base import Method, MethodCard, Phase, Update, alternate, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.nn.adapters import adaptable_layers, adapter_size, adapters_of, add_adapters, merge_adapters
from equipoise.nn.multimodal import MultimodalModel
from equipoise.seeding import forked
from equipoise.training.branches import branch_phase
from equipoise.training.context import Context

_ALONE = "alone "


@register(
    "mmlora",
    card=MethodCard(
        title="Multi-modal low-rank adaptation (MMLoRA)",
        summary="Trains each modality alone, then freezes the encoders and trains low-rank changes of them jointly.",
        formula="W_m <- W_m + s B_m A_m;  z = mean_m log p_m;  L = loss(z, y)",
        authors="Du, Zhao, Liao, You, Fu, Zhao",
        venue="arXiv 2023",
        arxiv="2310.05193",
        kind="phase",
        extra="one unimodal training per modality beforehand; nothing once trained, as the changes are merged into the weights",
        fusion="logit",
        differs=(
            "The paper adapts large pretrained networks and searches rank and place. Here every linear and two-dimensional "
            "convolutional layer of an encoder is adapted (a convolution as the linear layer on its patches), without dropout on "
            "its inputs, from A ~ N(0, 1 / inputs); rank 4, scale 1 and the run's learning rate in both stages: our choices."
        ),
    ),
)
@dataclass(kw_only=True)
class MMLoRA(Method):
    """Unimodal training, then joint training of adapters of low rank.

    Phase m trains encoder m and its head alone and keeps the epoch of best validation. In the last phase the encoders' own
    weights are frozen; each layer's ``W`` becomes ``W + scale * B A``, with ``B = 0`` at first, so that it starts from the
    ensemble of the unimodal models. ``A``, ``B`` and the heads are trained by ``loss(z, y)``, with ``z`` the mean of the
    modalities' log-probabilities, which ranks and learns as the mean of their logits does. At the end ``B A`` is added to ``W``.

    An encoder without such layers, or one that the user froze, is not changed in the last phase; the heads are.
    """

    rank: int = hparam(4, low=1, help="rank of the change of a layer's weights", search=(1, 16), log=True)
    scale: float = hparam(1.0, above=0.0, help="factor of the change", search=(0.5, 4.0))
    only: str | None = hparam(None, help="the one modality whose encoder is adapted (none: all)")

    def needs(self) -> set[str]:
        return {"train", "phases"}

    def setup(self, ctx: Context) -> None:
        if self.only is not None and self.only not in ctx.modalities:
            raise ConfigError(f"method mmlora: only: unknown modality {self.only!r}, {suggest(self.only, ctx.modalities)}")
        chosen = ctx.modalities if self.only is None else (self.only,)
        # Asked now: later, what a phase does not train is as frozen as what the user froze.
        self.state["layers"] = {name: adaptable_layers(ctx.model.encoders[name]) for name in chosen}

    def phases(self, ctx: Context) -> Iterator[Phase]:
        for name in ctx.modalities:
            if bool(ctx.part("train").present[name].any()):
                yield branch_phase([name], name=_ALONE + name, monitor=name, reusable=True)
        self.state["adapted"] = True
        self._adapt(ctx)
        yield Phase(name="adapt", parameters=_adapters_and_heads)
        merge_adapters(ctx.model.encoders)
        self.state["adapted"] = False

    def _adapt(self, ctx: Context) -> None:
        if adapters_of(ctx.model.encoders):
            return
        for name, layers in self.state["layers"].items():
            with forked(ctx.options.seed, "adapter", name):
                add_adapters(ctx.model.encoders[name], layers, self.rank, self.scale)

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        if not ctx.phase.name.startswith(_ALONE):
            return [Update(batch)]
        return [update for update in alternate(ctx, batch) if update.only == (ctx.phase.monitor,)]

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        return super().losses(ctx, update, outputs) if update.only is None else unimodal_losses(ctx, update, outputs)

    def on_epoch_end(self, ctx: Context) -> None:
        if self.state.get("adapted"):
            for name in ctx.modalities:
                ctx.log(f"change.{name}", adapter_size(ctx.model.encoders[name]), neutral=0.0)

    def load_state_dict(self, ctx: Context, state: dict[str, Any]) -> None:
        super().load_state_dict(ctx, state)
        if state.get("adapted"):
            self._adapt(ctx)


def _adapters_and_heads(model: MultimodalModel) -> list[nn.Parameter]:
    return [*adapters_of(model.encoders), *model.fusion.parameters()]
