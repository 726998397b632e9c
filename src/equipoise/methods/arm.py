"""Asymmetric reinforcing: features of the modality that contributes less are made longer, those of the others shorter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Outputs
from equipoise.functional.reinforcement import (
    joint_histogram,
    moments,
    normalised_information,
    reinforced_contributions,
    reinforcement,
    standing,
)
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.nn.fusion.reinforced import ReinforcedFusion
from equipoise.training.context import Context


@register(
    "arm",
    card=MethodCard(
        title="Asymmetric Reinforcing against Multi-modal Representation Bias (ARM)",
        summary="Multiplies the features of each modality by what the others contribute, divided by what it contributes itself.",
        formula="z = h(a_m f_m, ...),  a_m = V_n / V_m,  V_m = s NMI_m + s_n (NMI_m - NCMI_m)",
        authors="Gao, Cao, Zhu, Wang, Hu",
        venue="AAAI 2025",
        arxiv="2501.01240",
        kind="loss",
        extra="a histogram of bins^3 cells per modality, one more pass through the fusion for each",
        fusion="reinforced",
        together=True,
        neutral={"limit": 1.0},
        differs=(
            "The conditional information is the true one (published code: axes are mixed up and probabilities not weighed, so "
            "that it is not 0 for independent variables), normalised as the other and from the same bins. Factors come from the "
            "training batches before, and stay as they are in prediction (published code: from the labels of the batch in hand, "
            "at test as well). Information is that of log-probabilities of classes instead of feature entries; factors have a "
            "limit; counts fade with a momentum; several modalities compare with the mean of the others: our choices. No min-max "
            "loss and no re-sampling, which are not in the published code."
        ),
    ),
)
@dataclass(kw_only=True)
class ARM(Method):
    """``z = W (a_1 f_1, ..., a_M f_M) + b`` with ``a_m = (prod_{n != m} V_n)^(1 / (M - 1)) / V_m`` within ``[1/limit, limit]``.

    ``V_m = s NMI_m + mean_{n != m} s_n (NMI_m - NCMI_m)``: ``s`` is the mean probability of the true class by all modalities,
    ``s_n`` by modality n alone; ``NMI_m`` is the normalised mutual information of two log-probabilities of one class, that by
    modality m and that by all, ``NCMI_m`` the same given the one by all others; the difference is what m says that others say as
    well. Log-probabilities are binned by where they stand in a normal distribution of their batch's mean and variance. Counts
    and scores are summed over the training batches so far, each counting ``momentum`` times as much as the next.
    """

    limit: float = hparam(2.0, low=1.0, help="largest factor on features, its inverse the smallest", search=(1.2, 5.0))
    momentum: float = hparam(0.99, low=0.0, below=1.0, help="how much of what was counted before is kept from batch to batch")
    bins: int = hparam(8, low=2, help="intervals that probabilities are counted in")

    def setup(self, ctx: Context) -> None:
        count, device = len(ctx.modalities), ctx.runtime.device
        self.state["counts"] = torch.zeros(count, self.bins, self.bins, self.bins, device=device)
        # Summed probability of the true class and number of samples, for each modality and, last, for all together.
        self.state["scores"] = torch.zeros(2, count + 1, device=device)

    @torch.no_grad()
    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        counts, scores = self._measure(ctx, update, outputs)
        self.state["counts"] = self.momentum * self.state["counts"] + ctx.runtime.sum(counts)
        self.state["scores"] = self.momentum * self.state["scores"] + ctx.runtime.sum(scores)
        mean = self.state["scores"][0] / self.state["scores"][1]
        values = reinforced_contributions(*normalised_information(self.state["counts"]), mean[-1], mean[:-1])
        factors = reinforcement(values, self.limit)
        assert isinstance(ctx.model.fusion, ReinforcedFusion)
        ctx.model.fusion.factors.copy_(factors)
        for name, factor in zip(ctx.modalities, factors, strict=True):
            ctx.log(f"factor.{name}", factor, neutral=1.0)

    def _measure(self, ctx: Context, update: Update, outputs: Outputs) -> tuple[Tensor, Tensor]:
        """Return this process's share of the counts and the scores of a batch."""
        batch, names, task = update.batch, ctx.modalities, ctx.task
        absent = {name: batch.present[name] for name in names if name not in batch.complete}
        alone = torch.eye(len(names), dtype=torch.bool, device=outputs.logits.device)
        with ctx.runtime.autocast():
            without = ctx.model.fusion.coalitions(outputs.features, absent, ~alone)
        with_one = torch.stack([outputs.unimodal[name] for name in names])
        logits = torch.cat([with_one, without, outputs.logits[None]]).to(self.state["counts"].dtype)
        every = torch.ones_like(batch.index, dtype=torch.bool)
        have = torch.stack([*(batch.present[name] for name in names), every]).to(logits.dtype)
        said = task.votes(logits)
        sums = ctx.runtime.sum(moments(said, torch.cat([have[:-1], have])))
        own, others, (together,) = standing(said, sums).split([len(names), len(names), 1])
        counts = [
            joint_histogram(mine, together, rest, weights, self.bins)
            for mine, rest, weights in zip(own, others, have[:-1], strict=True)
        ]
        right = task.score(torch.cat([logits[: len(names)], logits[-1:]]), batch.labels) * have
        return torch.stack(counts), torch.stack([right.sum(1), have.sum(1)])
