"""AUG: the weak modality gets more classifiers, as in boosting, while everything keeps training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from equipoise.batch import Batch, Outputs
from equipoise.functional.boosting import assign_head
from equipoise.functional.stacking import convex_weights
from equipoise.methods.base import Method, MethodCard, Phase, Update, alternate, hparam, register
from equipoise.nn.fusion.boosted import BoostedFusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.context import Context


@register(
    "aug",
    card=MethodCard(
        title="Sustained boosting and adaptive classifier assignment (AUG)",
        summary="Each modality has losses of its own; whichever falls behind gets another classifier, trained on residuals.",
        formula="L_m = loss(z_m, y) + loss(z_m - z_mt, y) + mean (1 - lambda q_m) loss(z_mt, y);  z = sum_m w_m z_m",
        authors="Jiang, Huang, Yang",
        venue="NeurIPS 2025",
        arxiv="2502.20120",
        kind="update",
        extra="one optimizer step per modality; one light classifier per assignment",
        fusion="boosted",
        order_matters=True,
        differs=(
            "Added classifiers train (the published code never gives them to the optimizer; freeze_new_heads does as it did). "
            "The residual weight and the confidence use one softmax of summed logits, as the code does; the paper's sum of "
            "probabilities can make the weight negative. Alternating updates are those of the code, joint ones those of the "
            "paper's algorithm. The assignment compares differences with a dead zone on both sides, for any number of "
            "modalities (our choice beyond two). Fusion weights are equal (the paper states none, its code 0.4 and 0.6). Epochs "
            "are selected on the validation part."
        ),
    ),
)
@dataclass(kw_only=True)
class AUG(Method):
    """Sustained boosting with adaptive assignment of classifiers.

    With ``z_mj`` the logits of classifier j of modality m, ``t`` their number, ``z_m = sum_j z_mj`` and ``q`` the probability
    that the previous ensemble ``z_m - z_mt`` gives to the true class (no gradient):
    ``L_m = loss(z_m, y) + loss(z_m - z_mt, y) + mean_i (1 - lambda q_i) loss_i(z_mt, y)``; for ``t = 1`` the first term alone.
    After the first epoch and after every ``period`` epochs, the modality of smallest mean true-class probability gets one more
    classifier, if the best is ahead of ``sigma`` times it by more than ``tau`` and it has fewer than ``max_heads``. Scores are
    those of the last epoch's training batches. Of numbers, which add up where log-odds sharpen, a new classifier learns the
    residual itself: its last term is ``loss(stop(z_m - z_mt) + z_mt, y)`` (our choice).
    """

    kept_for_prediction: ClassVar[tuple[str, ...]] = ("classifiers",)

    residual: float = hparam(0.5, low=0.0, high=1.0, help="lambda: how much solved samples are discounted", search=(0.1, 1.0))
    sigma: float = hparam(1.0, low=1.0, help="how far the best modality may be ahead, as a factor")
    tau: float = hparam(0.01, low=0.0, help="how far the best modality may be ahead, as a probability")
    period: int | None = hparam(None, low=1, help="epochs between assignments (none: a tenth of the epochs)")
    max_heads: int = hparam(11, low=1, help="most classifiers of a modality; 1 is late fusion with one classifier each")
    update: str = hparam("alternating", choices=("alternating", "joint"), help="one step per modality, or one for all")
    fusion_weights: str = hparam(
        "uniform", choices=("uniform", "validation"), help="equal weights, or learned on the validation part"
    )
    freeze_new_heads: bool = hparam(False, help="do not train added classifiers, as the published code")

    def needs(self) -> set[str]:
        return {"validation"} if self.fusion_weights == "validation" else set()

    def setup(self, ctx: Context) -> None:
        for name in ctx.modalities:
            _fusion(ctx.model).resize(name, 0, ctx.options.seed)
            _fusion(ctx.model).resize(name, 1, ctx.options.seed)

    def phases(self, ctx: Context) -> Iterator[Phase]:
        yield Phase(parameters=_without_added) if self.freeze_new_heads else Phase()
        counts = ", ".join(f"{name} {_fusion(ctx.model).count(name)}" for name in ctx.modalities)
        ctx.note(f"classifiers in the selected epoch: {counts}")

    def on_epoch_start(self, ctx: Context) -> None:
        # The assignment of the paper's epoch e happens here, before epoch e + 1: so a new classifier, whose random logits enter
        # the sum at full weight, is trained before it is judged.
        period = self.period or max(1, ctx.epochs // 10)
        if ctx.epoch == 1 or (ctx.epoch and ctx.epoch % period == 0):
            self._assign(ctx)
        self.state["sums"] = torch.zeros(4, len(ctx.modalities), device=ctx.runtime.device)

    def _assign(self, ctx: Context) -> None:
        fusion = _fusion(ctx.model)
        chosen = assign_head(self.state["scores"], self.sigma, self.tau)
        if chosen is not None and fusion.count(ctx.modalities[chosen]) < self.max_heads:
            name = ctx.modalities[chosen]
            fusion.resize(name, fusion.count(name) + 1, ctx.options.seed)
            self.state["classifiers"] = {name: fusion.count(name) for name in ctx.modalities}

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        return [Update(batch)] if self.update == "joint" else alternate(ctx, batch)

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        batch, losses = update.batch, {}
        for name, features in outputs.features.items():
            stages = _fusion(ctx.model).stages(name, features)
            ensemble = stages.sum(0)
            values = before = ctx.task.losses(ensemble, batch.labels)
            losses[name] = ctx.sample_mean(values, batch, name)
            if len(stages) > 1:
                previous = ensemble - stages[-1]
                before = ctx.task.losses(previous, batch.labels)
                # The residual label y - lambda y q makes the cross-entropy of the newest classifier a weighted one.
                residual = ctx.task.residual_losses(previous, stages[-1], batch.labels, self.residual)
                losses[f"{name} previous"] = ctx.sample_mean(before, batch, name)
                losses[f"{name} residual"] = ctx.sample_mean(residual, batch, name)
            score = ctx.task.score(ensemble, batch.labels)
            known = torch.stack([score, values.detach(), before.detach(), torch.ones_like(score)]).float()
            self.state["sums"][:, ctx.modalities.index(name)] += (known * batch.present[name]).sum(1)
        return losses

    def on_epoch_end(self, ctx: Context) -> None:
        sums = ctx.runtime.sum(self.state["sums"])
        # nan where no sample has the modality
        self.state["scores"], means, before = (sums[:3] / sums[3]).tolist()
        for number, name in enumerate(ctx.modalities):
            ctx.log(f"confidence.{name}", self.state["scores"][number])
            ctx.log(f"classifiers.{name}", _fusion(ctx.model).count(name))
            ctx.log(f"gain.{name}", before[number] - means[number])
        self._log_gap(ctx, [mean for mean in means if isfinite(mean)])
        if self.fusion_weights == "validation":
            self._learn_weights(ctx)

    def _log_gap(self, ctx: Context, means: list[float]) -> None:
        """Log the gap between the modalities' ensemble losses and the theorem's curve ``G(0) / (1 + c T G(0))`` beside it.

        The theorem's L also holds the terms that only a modality with several classifiers has; without them the gap does not
        jump with each new one (our choice). Its constant c is not published; ours is the one with which the curve passes
        through the gap of the second epoch, so the curve says whether the gap goes on closing as it began to.
        """
        gap = max(means) - min(means)
        gaps: list[float] = self.state.setdefault("gaps", [])
        gaps.append(gap)
        ctx.log("gap", gap)
        if len(gaps) > 1 and gaps[0] > 0 and gaps[1] > 0:
            rate = max(0.0, gaps[0] / gaps[1] - 1.0)
            ctx.log("gap_curve", gaps[0] / (1.0 + rate * (len(gaps) - 1)))

    def _learn_weights(self, ctx: Context) -> None:
        part, outputs = ctx.part("validation"), ctx.outputs("validation")
        target = part.target
        assert target is not None
        logits = torch.stack([outputs.unimodal[name] for name in ctx.modalities]).float()
        available = torch.stack([part.present[name] for name in ctx.modalities]).to(logits)
        weights = convex_weights(logits, available, lambda fused: ctx.task.losses(fused, target))
        _fusion(ctx.model).weights.copy_(weights)
        for name, weight in zip(ctx.modalities, weights.tolist(), strict=True):
            ctx.log(f"weight.{name}", weight)

    def load_state_dict(self, ctx: Context, state: dict[str, Any]) -> None:
        super().load_state_dict(ctx, state)
        if "sums" in state:  # a checkpoint is read to the CPU
            state["sums"] = state["sums"].to(ctx.runtime.device)
        for name, count in state.get("classifiers", dict.fromkeys(ctx.modalities, 1)).items():
            _fusion(ctx.model).resize(name, count, ctx.options.seed)


def _fusion(model: MultimodalModel) -> BoostedFusion:
    assert isinstance(model.fusion, BoostedFusion)
    return model.fusion


def _without_added(model: MultimodalModel) -> list[nn.Parameter]:
    """Return all parameters but those of classifiers that were added."""
    fusion = _fusion(model)
    added = {id(item) for name in fusion.names for layer in fusion.added(name) for item in layer.parameters()}
    return [item for item in model.parameters() if id(item) not in added]
