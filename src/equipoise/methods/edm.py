"""Shapley-guided alternating training: modalities take turns on one head, and who contributes least goes first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.functional.coalitions import shapley_values
from equipoise.functional.equilibrium import contribution_shares, equilibrium_deviation
from equipoise.methods.base import Method, MethodCard, Update, alternate, register
from equipoise.methods.late import unimodal_losses
from equipoise.training.coalitions import coalition_values
from equipoise.training.context import Context


@register(
    "edm",
    card=MethodCard(
        title="Shapley-guided alternating training (Modality Equilibrium Matters), without its memory",
        summary="Modalities are trained in turn on a shared head, from the least to the most contributing one by Shapley values.",
        formula="phi = Shapley values of v(S) = mean p_S(y);  turns in ascending phi;  EDM = std(phi_m / sum phi) / largest std",
        authors="Shi, Zhang, Liu, Liu, Cheng, Lu",
        venue="arXiv 2025",
        arxiv="2506.00030",
        kind="update",
        extra="one optimizer step per modality; per epoch one pass over validation and 2^M through the fusion",
        fusion="entropy_gate",
        differs=(
            "No memory module and no mapping layer between modalities: their equations are not public in a form to build on. "
            "Only the schedule is built, and there the value of a coalition (mean probability of the true class on the "
            "validation part, chance for nobody), the formula of the equilibrium deviation, turns batch by batch, and the "
            "fusion that weighs modalities by their entropy are our choices."
        ),
    ),
)
@dataclass(kw_only=True)
class EDM(Method):
    """Alternate over modalities from the weakest to the strongest.

    ``v(S)`` is the mean probability of the true class over the validation part, predicted from the modalities in S by the
    features of one pass; ``phi_m = sum_{S without m} |S|! (M - |S| - 1)! / M! (v(S with m) - v(S))``, exactly. In each batch
    the modalities take turns in ascending order of ``phi``, which is taken anew before each epoch; a turn trains the
    modality's encoder and the shared head on the modality's own loss. ``edm`` of the log is the deviation from equal
    contributions.
    """

    def needs(self) -> set[str]:
        return {"validation"}

    def on_epoch_start(self, ctx: Context) -> None:
        scores = coalition_values(ctx, "validation", ctx.task.score).mean(0, dtype=torch.float64)
        # Nobody's prediction is that of logits that say nothing.
        target = ctx.part("validation").target
        assert target is not None
        nothing = scores.new_zeros(len(target), ctx.task.outputs)
        chance = ctx.task.score(nothing, target.to(scores.device)).mean(0, keepdim=True)
        contributions = shapley_values(torch.cat([chance, scores]))
        found = dict(zip(ctx.modalities, contributions.tolist(), strict=True))
        self.state["order"] = sorted(ctx.modalities, key=lambda name: (found[name], name))
        ctx.log("edm", equilibrium_deviation(contribution_shares(contributions)))
        for name, value in found.items():
            ctx.log(f"contribution.{name}", value)

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        turns = {name: update for update in alternate(ctx, batch) for name in update.only or ()}
        return [turns[name] for name in self.state["order"] if name in turns]

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        return unimodal_losses(ctx, update, outputs)
