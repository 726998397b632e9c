"""Unimodal teachers: joint training may not unlearn the features that each modality learns alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from equipoise.batch import Batch, Outputs
from equipoise.methods.base import Method, MethodCard, Phase, Update, alternate, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.context import Context
from equipoise.training.selection import copy_state

_TEACHER = "teacher "


@register(
    "umt",
    card=MethodCard(
        title="Unimodal teachers (UMT)",
        summary="Each modality is first trained alone; in joint training its encoder is held near the features found there.",
        formula="L = loss(z, y) + lambda sum_m |f_m - t_m|^2 / D_m",
        authors="Du, Teng, Li, Liu, Yuan, Wang, Yuan, Zhao",
        venue="ICML 2023",
        arxiv="2305.01233",
        kind="phase",
        extra="one unimodal training per modality beforehand; the teachers' features of all training samples are kept",
        neutral={"distillation": 0.0},
        differs=(
            "Teachers speak once, in evaluation mode, after their selected epoch: they are frozen and samples do not change, so "
            "their features are kept (published: a forward pass per teacher and step; a widely used port: in training mode). "
            "lambda is that of this port. Teacher and student start from the same weights, and unimodal predictions are those of "
            "the teachers' heads on the students' features (our choice)."
        ),
    ),
)
@dataclass(kw_only=True)
class UMT(Method):
    """Distil the features of frozen unimodal teachers during joint training.

    Phase m trains encoder m and a linear head alone, and the epoch of best validation is kept: its features ``t_m`` of the
    training samples, of shape (samples, D_m), are the targets. Then the encoders start anew and train jointly by ``loss(z, y)
    + lambda sum_m mean_i |f_mi - t_mi|^2 / D_m``, each term over the samples that have the modality.
    """

    distillation: float = hparam(10.0, low=0.0, help="weight of the distance to the teachers' features", search=(0.1, 50.0))

    def needs(self) -> set[str]:
        return {"train", "index", "phases"} if self.distillation > 0 else set()

    def setup(self, ctx: Context) -> None:
        if self.distillation > 0:
            ctx.model.add_heads(ctx.options.seed)

    def phases(self, ctx: Context) -> Iterator[Phase]:
        if self.distillation > 0:
            start = copy_state(ctx.model.encoders.state_dict())
            taught = [name for name in ctx.modalities if bool(ctx.part("train").present[name].any())]
            for name in taught:
                yield Phase(name=_TEACHER + name, parameters=partial(_branch, name), monitor=name, reusable=True)
            if "targets" not in self.state:
                features = ctx.outputs("train").features
                self.state["targets"] = {name: features[name] for name in taught}
            ctx.model.encoders.load_state_dict(start)
        yield Phase()

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        if not ctx.phase.name.startswith(_TEACHER):
            return [Update(batch)]
        return [update for update in alternate(ctx, batch) if update.only == (ctx.phase.monitor,)]

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        if update.only is not None:
            return unimodal_losses(ctx, update, outputs)
        losses = super().losses(ctx, update, outputs)
        for name, targets in self.state.get("targets", {}).items():
            distance = (outputs.features[name] - targets[update.batch.index]).square().mean(1)
            losses[f"{name} teacher"] = ctx.sample_mean(distance, update.batch, name) * self.distillation
        return losses


def _branch(modality: str, model: MultimodalModel) -> list[nn.Parameter]:
    assert model.heads is not None
    return [*model.parameters_of(modality), *model.heads[modality].parameters()]
