"""Prototypical modal rebalance: the lagging modality is drawn to its class means, the leading one is kept from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Outputs
from equipoise.data.schema import CLASSES
from equipoise.functional.class_means import class_mean_logits, class_sums, moved_means, rebalancing, spread_within
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.training.context import Context


@register(
    "pmr",
    card=MethodCard(
        title="Prototypical Modal Rebalance (PMR)",
        summary="Draws the features of the modality that lags to their class means, and at first keeps the leader's loose.",
        formula="L = loss(z, y) + a sum_m b_m CE(-|f_m - c_m|^2 / 2v, y) - mu sum_m g_m H_m,  b, g = clip(ratio - 1, 0, 1)",
        authors="Fan, Xu, Wang, Wang, Guo",
        venue="CVPR 2023",
        arxiv="2211.07089",
        kind="loss",
        tasks=CLASSES,
        together=True,
        neutral={"alpha": 0.0, "mu": 0.0},
        differs=(
            "With the entropy term, the ratio-dependent coefficients and the squared distances of the paper (published code: no "
            "entropy, a constant, plain distances). By default distances are divided by twice the variance within classes, since "
            "otherwise whoever has short features seems to lag. Class means are those of the features met while training the "
            "epoch before, without a pass of their own; the ratio of a batch sets the coefficients of the next; for more than "
            "two modalities b compares with the best and g with the worst; the defaults of mu, momentum and hold_epochs: all "
            "our choices."
        ),
    ),
)
@dataclass(kw_only=True)
class PMR(Method):
    """``L = loss(z, y) + alpha sum_m b_m CE_m - mu sum_m g_m H_m`` with a classifier of class means per modality.

    ``c_mk`` is the mean of the features of class k, averaged over epochs with ``momentum``; sample i belongs to class k with
    probability ``softmax_k(-|f_im - c_mk|^2 / 2v_m)``, with ``v_m`` the variance within classes, or 1/2 without ``scaled``.
    ``CE_m`` and ``H_m`` are the mean cross-entropy and entropy of that, ``s_m`` its
    mean probability of the true class. ``b_m = clip(max_n s_n / s_m - 1, 0, 1)`` pulls who lags;
    ``g_m = clip(s_m / min_n s_n - 1, 0, 1)`` holds who leads, during the first ``hold_epochs`` epochs. There are no class
    means in the first epoch.
    """

    alpha: float = hparam(1.0, low=0.0, help="weight of the losses on class means (the paper's alpha)", search=(0.1, 3.0))
    mu: float = hparam(0.01, low=0.0, help="weight of the entropy of the leading modality", search=(0.001, 0.1), log=True)
    hold_epochs: int = hparam(10, low=0, help="most epochs in which the leading modality is held")
    scaled: bool = hparam(True, help="measure distances in standard deviations within classes (the paper: plainly)")
    momentum: float = hparam(0.5, low=0.0, below=1.0, help="how much of a class mean is kept from epoch to epoch")

    def setup(self, ctx: Context) -> None:
        classes, device = ctx.task.outputs, ctx.runtime.device
        for key in ("means", "sums"):
            self.state[key] = {name: torch.zeros(classes, size, device=device) for name, size in ctx.model.fusion.sizes.items()}
        self.state["squares"] = {name: torch.zeros((), device=device) for name in ctx.modalities}
        self.state["spread"] = {name: torch.full((), 0.5, device=device) for name in ctx.modalities}
        self.state["counts"] = {name: torch.zeros(classes, device=device) for name in ctx.modalities}
        self.state["seen"] = {name: torch.zeros(classes, dtype=torch.bool, device=device) for name in ctx.modalities}
        self.state["pull"] = dict.fromkeys(ctx.modalities, 0.0)
        self.state["hold"] = dict.fromkeys(ctx.modalities, 0.0)

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        losses = super().losses(ctx, update, outputs)
        batch = update.batch
        for name, features in outputs.features.items():
            pull = self.alpha * self.state["pull"][name]
            hold = self.mu * self.state["hold"][name] if ctx.epoch < self.hold_epochs else 0.0
            ctx.log(f"pull.{name}", pull, neutral=0.0)
            ctx.log(f"hold.{name}", hold, neutral=0.0)
            if pull == hold == 0:
                continue
            logits = self._logits(name, features)
            if pull > 0:
                known = self.state["seen"][name][batch.labels]
                values = torch.where(known, ctx.task.losses(logits, batch.labels), logits.new_zeros(()))
                losses[f"pull.{name}"] = pull * ctx.sample_mean(values, batch, name)
            if hold > 0:
                losses[f"hold.{name}"] = -hold * ctx.sample_mean(ctx.task.uncertainty(logits), batch, name)
        return losses

    @torch.no_grad()
    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        if self.alpha == self.mu == 0:
            return
        batch = update.batch
        totals = []
        for name, features in outputs.features.items():
            values = features.to(self.state["sums"][name].dtype)
            new = (*class_sums(values, batch.present[name], batch.labels, ctx.task.outputs), values.square().sum())
            for key, part in zip(("sums", "counts", "squares"), new, strict=True):
                self.state[key][name] += ctx.runtime.sum(part)
            known = batch.present[name] & self.state["seen"][name][batch.labels]
            score = ctx.task.score(self._logits(name, features), batch.labels) * known
            totals.append(torch.stack([score.sum(), known.sum().to(score.dtype)]))
        # The ratio is nan, and the modality left alone, while nothing is known of it.
        score, known = ctx.runtime.sum(torch.stack(totals)).unbind(1)
        pulls, holds = rebalancing((score / known).tolist())
        self.state["pull"] = dict(zip(outputs.features, pulls, strict=True))
        self.state["hold"] = dict(zip(outputs.features, holds, strict=True))

    def on_epoch_end(self, ctx: Context) -> None:
        for name in ctx.modalities:
            means, seen, sums, counts = (self.state[key][name] for key in ("means", "seen", "sums", "counts"))
            if self.scaled and bool(counts.any()):
                new, old = spread_within(self.state["squares"][name], sums, counts), self.state["spread"][name]
                self.state["spread"][name] = self.momentum * old + (1 - self.momentum) * new if bool(seen.any()) else new
            self.state["means"][name], self.state["seen"][name] = moved_means(means, seen, sums, counts, self.momentum)
            for key in ("sums", "counts", "squares"):
                self.state[key][name] = torch.zeros_like(self.state[key][name])

    def _logits(self, name: str, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):  # half precision would lose the differences between classes
            return class_mean_logits(features, *(self.state[key][name] for key in ("means", "seen", "spread")))
