"""Balanced learning against greediness: a modality that leans on the others must for a while do without them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.functional.curation import most_dependent, relative_speed
from equipoise.methods.base import Method, MethodCard, Update, alternate, hparam, register
from equipoise.nn.fusion.transfer import TransferFusion
from equipoise.training.context import Context


@register(
    "greedy",
    card=MethodCard(
        title="Balanced multimodal learning by conditional learning speed",
        summary="A modality that learns more by what the others pass over to it than by itself is cut off from them for a while.",
        formula="d_m = log10(sum |g|^2/|w|^2 of bypass : of own);  if max d - min d > eps: gates of argmax d <- their mean",
        authors="Wu, Jastrzebski, Cho, Geras",
        venue="ICML 2022",
        arxiv="2202.05306",
        kind="update",
        together=True,
        extra="the lengths of gradients and weights in each update without curation",
        fusion="transfer",
        differs=(
            "One bypass, on the features, instead of one after each of several layers, so that any encoder will do; of more "
            "than two modalities the largest speed is compared with the smallest; a modality that no sample of a batch has is "
            "not measured in it: our choices. Gates are twice a sigmoid, as in the module's own paper (published code: once), "
            "and the mean gate of each modality is its own (published code: that of the first for both). Speeds are accumulated "
            "and rest during curation, as in the published code."
        ),
    ),
)
@dataclass(kw_only=True)
class Greedy(Method):
    """Guide learning by the conditional learning speeds of the modalities.

    With ``z_m`` the logits of modality m's own classifier on its gated features, ``z = mean_m z_m`` predicts and ``L = sum_m
    loss(z_m, y)`` is minimised. In each regular update the relative speeds ``|g|^2 / |w|^2`` of the bypass of modality m (its
    excitation and the shared squeeze) and of its own parameters (encoder and classifier) are added up; ``d_m`` is the decimal
    logarithm of their ratio. From epoch ``start`` on, if ``max d - min d`` exceeds ``threshold``, the next ``window`` updates
    replace the gates of the modality of the largest d by their mean over all updates so far: its logits then depend on its own
    input alone. The defaults are those of the published code, whose epochs count from 1.
    """

    threshold: float = hparam(0.01, low=0.0, help="difference of speeds above which a modality is cut off", search=(0.001, 0.5))
    window: int = hparam(5, low=1, help="updates for which a modality is cut off")
    start: int = hparam(1, low=0, help="first epoch with guidance")

    def setup(self, ctx: Context) -> None:
        nothing = [0.0] * len(ctx.modalities)
        self.state = {"bypass": nothing, "own": nothing, "curated": None, "left": 0, "gates": {}, "updates": {}}

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        curated, gates = self.state["curated"], self.state["gates"]
        _fusion(ctx).replaced = {} if curated is None else {ctx.modalities[curated]: gates[ctx.modalities[curated]]}
        yield Update(batch)
        _fusion(ctx).replaced = {}

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        votes = _fusion(ctx).votes(outputs.features, _masks(update.batch))
        return {name: ctx.task_loss(logits, update.batch, name) for name, logits in votes.items()}

    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        ctx.log("curated", float(self.state["curated"] is not None), neutral=0.0)
        present = [name for turn in alternate(ctx, update.batch) for name in turn.only or ()]
        self._average_gates(ctx, update.batch, outputs, present)
        curating = self.state["curated"] is not None
        self.advance([] if curating else self._speeds(ctx, present), ctx.epoch >= self.start)

    def advance(self, speeds: Sequence[tuple[float, float]], guided: bool) -> None:
        """Decide which modality the next update cuts off.

        Args:
            speeds: Relative speed of each modality's bypass and of its own parameters; not used during curation.
            guided: Whether curation may begin.
        """
        state = self.state
        if state["curated"] is not None:
            state["left"] -= 1
            state["curated"] = state["curated"] if state["left"] else None
            return
        for place, key in enumerate(("bypass", "own")):
            state[key] = [known + speed[place] for known, speed in zip(state[key], speeds, strict=True)]
        bypass, own = (torch.tensor(state[key], dtype=torch.float64) for key in ("bypass", "own"))
        if guided:
            state["curated"], state["left"] = most_dependent(bypass, own, self.threshold), self.window

    @torch.no_grad()
    def _speeds(self, ctx: Context, present: Sequence[str]) -> list[tuple[float, float]]:
        fusion, groups = _fusion(ctx), []
        shared = [fusion.bias, *fusion.squeeze.parameters()]
        for name in ctx.modalities:
            groups += [[*shared, *fusion.excite[name].parameters()]]
            groups += [[*ctx.model.parameters_of(name), *fusion.heads[name].parameters()]]
        gradients = torch.stack([_square([item.grad for item in group if item.grad is not None]) for group in groups])
        speeds = relative_speed(gradients, torch.stack([_square(group) for group in groups])).view(-1, 2).tolist()
        return [
            (first, second) if name in present else (0.0, 0.0)
            for name, (first, second) in zip(ctx.modalities, speeds, strict=True)
        ]

    @torch.no_grad()
    def _average_gates(self, ctx: Context, batch: Batch, outputs: Outputs, present: Sequence[str]) -> None:
        """Take the mean gates of this update into the mean over all updates."""
        with ctx.runtime.autocast():
            gates = _fusion(ctx).gates(outputs.features, _masks(batch))
        for name in present:
            have = batch.present[name][:, None]
            values = gates[name].to(torch.get_default_dtype())
            sums = ctx.runtime.sum(torch.cat([torch.where(have, values, 0.0).sum(0), have.sum(0).to(values)]))
            mean, known = sums[:-1] / sums[-1], self.state["gates"].get(name, 0.0)
            count = self.state["updates"][name] = self.state["updates"].get(name, 0) + 1
            self.state["gates"][name] = known + (mean - known) / count


def _masks(batch: Batch) -> dict[str, Tensor]:
    return {name: mask for name, mask in batch.present.items() if name not in batch.complete}


def _square(values: Sequence[Tensor]) -> Tensor:
    """Return the squared length of some tensors together."""
    if not values:
        return torch.zeros(())
    return torch.stack(torch._foreach_norm(list(values))).square().sum()


def _fusion(ctx: Context) -> TransferFusion:
    assert isinstance(ctx.model.fusion, TransferFusion)
    return ctx.model.fusion
