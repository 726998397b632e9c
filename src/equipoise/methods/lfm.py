"""LFM: how far modalities must agree, and how far they must fit the labels, changes in the course of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.functional.agreement import falling_share, share_direction
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.training.context import Context

_LEAST, _MOST = 0.05, 0.95
"""Bounds of the learned share, those of the published code."""


@register(
    "lfm",
    card=MethodCard(
        title="Learning the gap between fitting labels and aligning modalities (LFM)",
        summary="Draws the predictions of modalities together at first and fits the labels more and more.",
        formula="L = (1 - a) loss(z, y) + a mean_pairs JS(p_m, p_n);  a falls, or is learned on the validation part",
        authors="Yang, Wan, Jiang, Xu",
        venue="NeurIPS 2024",
        link="https://proceedings.neurips.cc/paper_files/paper/2024/hash/71b17f00017da0d73823ccf7fbce2d4f-Abstract-Conference.html",
        kind="loss",
        together=True,
        extra="learned: the gradients of two quarters of a training batch and one of a validation batch per epoch",
        differs=(
            "The divergence is Jensen-Shannon (published code: KL with its arguments reversed) and stands for the paper's "
            "contrastive loss, as in that code. a is learned by the exact gradient through one step of plain descent (published "
            "code: the mean of a Hessian product over the first parameter tensor), of which the direction is followed (our "
            "choice); it starts where the falling share does (published code: 0.95). The polynomial that the code fits to one "
            "data set is left out."
        ),
    ),
)
@dataclass(kw_only=True)
class LFM(Method):
    """Blend the task loss with the agreement of unimodal predictions.

    ``L = (1 - a) loss(z, y) + a mean_i mean_pairs JS(p_mi, p_ni)``, the pairs being those of modalities that the sample has.
    ``falling``: ``a = 1 - e^(-1/t)`` in epoch t. ``learned``: before each epoch, with gradients ``g`` on a batch drawn from the
    training part and on one drawn from the validation part, after a trial step of the first, ``a <- clip(a + rate cos(g_val,
    g_align - g_class), 0.05, 0.95)``: the direction in which a lowers the validation loss. Probed in evaluation mode.
    """

    schedule: str = hparam("learned", choices=("learned", "falling"), help="learn the share of alignment, or let it fall")
    start: float = hparam(0.63, low=_LEAST, high=_MOST, help="share of alignment at first, where it is learned")
    rate: float = hparam(0.1, low=0.0, high=1.0, help="largest change of the learned share per epoch", search=(0.02, 0.5))

    def needs(self) -> set[str]:
        return {"train", "validation"} if self.schedule == "learned" else set()

    def on_epoch_start(self, ctx: Context) -> None:
        if self.schedule == "falling":
            self.state["share"] = falling_share(ctx.epoch)
        elif len(ctx.modalities) > 1:
            known = self.state.get("share", self.start)
            self.state["share"] = min(_MOST, max(_LEAST, known + self.rate * self._direction(ctx, known)))

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        losses = super().losses(ctx, update, outputs)
        if len(ctx.modalities) < 2:
            return losses
        share = self.state["share"]
        ctx.log("alignment", share, neutral=0.0)
        distance = ctx.sample_mean(_distances(ctx, update.batch, outputs), update.batch)
        return {"fused": losses["fused"] * (1 - share), "alignment": distance * share}

    def _direction(self, ctx: Context, share: float) -> float:
        """Return in which direction, from -1 to 1, the share would lower the validation loss after one step."""
        parameters = ctx.optimizer.parameters()
        ctx.model.eval()  # the loop returns to training mode
        batch = _drawn(ctx, "train")
        with ctx.runtime.autocast():
            outputs = ctx.model(batch)
            classification = _mean(ctx, ctx.task.losses(outputs.logits, batch.labels), batch)
            alignment = _mean(ctx, _distances(ctx, batch, outputs), batch)
        fitting = torch.autograd.grad(classification, parameters, retain_graph=True, allow_unused=True)
        aligning = torch.autograd.grad(alignment, parameters, allow_unused=True)
        before = [item.detach().clone() for item in parameters]
        _step(parameters, fitting, -ctx.optimizer.rate * (1 - share))
        _step(parameters, aligning, -ctx.optimizer.rate * share)
        batch = _drawn(ctx, "validation")
        with ctx.runtime.autocast():
            loss = _mean(ctx, ctx.task.losses(ctx.model(batch).logits, batch.labels), batch)
        held_out = torch.autograd.grad(loss, parameters, allow_unused=True)
        with torch.no_grad():
            for item, old in zip(parameters, before, strict=True):
                item.copy_(old)
        return float(share_direction(held_out, aligning, fitting))


def _distances(ctx: Context, batch: Batch, outputs: Outputs) -> Tensor:
    """Return the mean divergence over the pairs of modalities that a sample has, of shape (batch,)."""
    logits = torch.stack(list(outputs.unimodal.values()))
    present = torch.stack([batch.present[name] for name in outputs.unimodal])
    first, second = torch.triu_indices(len(logits), len(logits), 1, device=logits.device)
    both = present[first] & present[second]
    return (ctx.task.disagreement(logits[first], logits[second]) * both).sum(0) / both.sum(0).clamp_min(1)


def _drawn(ctx: Context, name: str) -> Batch:
    """Return a quarter of a batch, as in the published code, of a part: the same in all processes."""
    part = ctx.part(name)
    rows = torch.randperm(len(part), generator=ctx.generator(f"lfm {name}"))[: max(1, ctx.options.batch_size // 4)]
    (batch,) = part.batches([rows], [len(rows)])
    return batch


def _mean(ctx: Context, values: Tensor, batch: Batch) -> Tensor:
    """Return the mean as the task weighs samples, within this process."""
    weights = ctx.task.weights(batch.labels)
    return values.mean() if weights is None else (values * weights).sum() / weights.sum()


@torch.no_grad()
def _step(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None], factor: float) -> None:
    for item, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            item.add_(gradient, alpha=factor)
