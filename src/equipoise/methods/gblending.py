"""Gradient blending: each branch's loss weighs as much as the branch learns without over-fitting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.batch import Batch, Outputs
from equipoise.functional.blending import blending_weights
from equipoise.methods.base import Method, MethodCard, Phase, Update, alternate, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.context import Context
from equipoise.training.optimizers import schedule_factor
from equipoise.training.selection import copy_state

_FUSED = "fused"


@register(
    "gblending",
    card=MethodCard(
        title="Gradient blending (G-Blend)",
        summary="Trains each modality and the fused model alone first, and weighs their losses by how little they over-fit.",
        formula="L = sum_k w_k loss(z_k, y), k over modalities and fused;  w_k ~ G_k / O_k^2",
        authors="Wang, Tran, Feiszli",
        venue="CVPR 2020",
        arxiv="1905.12681",
        kind="phase",
        extra="one training per modality and one of the fused model beforehand, or before every super-epoch",
        differs=(
            "Gains and gaps are of mean losses on the training and the validation part, with their signs (a widely used port "
            "sums over batches and lets a rising validation loss count as a gain). Gains and gaps below 0.01 count as 0.01, a "
            "modality that cannot be measured has no loss of its own, and each super-epoch is a phase with an optimizer and a "
            "best epoch of its own, over which the learning rate goes on falling (our choice)."
        ),
    ),
)
@dataclass(kw_only=True)
class GBlending(Method):
    """Weigh the losses of the branches by their ratio of generalisation to over-fitting.

    The branches k are the modalities, each with an auxiliary head on its features, and the fused output. From the weights at
    hand each is trained alone for as many epochs as the weights will serve: ``G_k`` is the fall of its validation loss, ``O_k``
    the change of the gap between validation and training loss, ``w_k = (G_k / O_k^2) / sum_j (G_j / O_j^2)``. Then training
    goes on from before with ``L = sum_k w_k loss(z_k, y)``. Offline this is done once, online before every super-epoch.
    """

    super_epoch: int | None = hparam(
        None, low=1, help="epochs for which weights serve, the online variant (none: all epochs, offline)"
    )

    def needs(self) -> set[str]:
        return {"train", "validation", "phases"}

    def setup(self, ctx: Context) -> None:
        ctx.model.add_heads(ctx.options.seed)

    def phases(self, ctx: Context) -> Iterator[Phase]:
        epochs, rate = ctx.options.epochs, 1.0
        length = self.super_epoch or epochs
        for done in range(0, epochs, length):
            number = f" {done // length + 1}" if length < epochs else ""
            course: dict[str, Any] = {"epochs": epochs - done, "stop": length, "learning_rate": rate}
            # In the state, not in variables: after a restart the model that comes by here is not the one that was measured.
            self.state |= {"start": copy_state(ctx.model.state_dict()), "before": self._measure(ctx), "after": {}}
            for branch in self._branches(ctx):
                if all(isfinite(loss) for loss in self.state["before"][branch]):
                    self.state["probe"] = branch
                    yield Phase(name=f"probe {branch}{number}", parameters=_parameters_of(branch), monitor=None, **course)
                    self.state["after"][branch] = self._measure(ctx)[branch]
                    ctx.model.load_state_dict(self.state["start"])
            self._blend(ctx)
            yield Phase(name=f"train{number}", **course)
            rate *= schedule_factor(ctx.options, length, epochs - done)

    def _branches(self, ctx: Context) -> tuple[str, ...]:
        return (*ctx.modalities, _FUSED)

    def _measure(self, ctx: Context) -> dict[str, list[float]]:
        """Return the mean loss of each branch on the training and on the validation part; nan where no sample has it."""
        found: dict[str, list[float]] = {branch: [] for branch in self._branches(ctx)}
        for name in ("train", "validation"):
            part, outputs = ctx.part(name), ctx.outputs(name)
            assert part.target is not None
            target = part.target.to(outputs.logits.device)
            for branch, losses in found.items():
                # In double precision, as small differences of these numbers will count.
                logits = (outputs.logits if branch == _FUSED else outputs.unimodal[branch]).double()
                weights = ctx.task.weights(target)
                weights = torch.ones_like(logits[:, 0]) if weights is None else weights.double()
                if branch != _FUSED:
                    weights = weights * part.present[branch].to(weights.device)
                # nan where no sample counts
                losses.append(float((ctx.task.losses(logits, target) * weights).sum() / weights.sum()))
        return found

    def _blend(self, ctx: Context) -> None:
        """Turn what was measured into weights."""
        branches, nothing = self._branches(ctx), [nan, nan]
        before, after = (
            torch.tensor([self.state[key].get(branch, nothing) for branch in branches], dtype=torch.float64).T
            for key in ("before", "after")
        )
        weights = dict(zip(branches, blending_weights(before, after).tolist(), strict=True))
        self.state = {"weights": weights}
        ctx.note("loss weights: " + ", ".join(f"{branch} {weight:.3f}" for branch, weight in weights.items()))

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        probe = self.state.get("probe", _FUSED)
        if probe == _FUSED:
            return [Update(batch)]
        return [update for update in alternate(ctx, batch) if update.only == (probe,)]

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        if update.only is not None:
            return unimodal_losses(ctx, update, outputs)
        losses = super().losses(ctx, update, outputs)
        if "probe" in self.state:
            return losses
        weights = self.state["weights"]
        for branch in self._branches(ctx):
            ctx.log(f"weight.{branch}", weights[branch])
        every = losses | unimodal_losses(ctx, update, outputs)
        return {branch: loss * weights[branch] for branch, loss in every.items() if weights[branch] > 0}


def _parameters_of(branch: str) -> Callable[[MultimodalModel], list[nn.Parameter]]:
    """Return what gives the parameters of a branch."""

    def parameters(model: MultimodalModel) -> list[nn.Parameter]:
        heads = model.heads
        assert heads is not None
        if branch != _FUSED:
            return [*model.parameters_of(branch), *heads[branch].parameters()]
        auxiliary = {id(item) for item in heads.parameters()}
        return [item for item in model.parameters() if id(item) not in auxiliary]

    return parameters
