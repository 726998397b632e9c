"""Classifier-guided gradient modulation: who improves faster is slowed, and the fusion is turned towards who improves slower."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.functional.guidance import direction_loss, guided_factors, head_gradient
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.training.context import Context


@register(
    "cggm",
    card=MethodCard(
        title="Classifier-Guided Gradient Modulation (CGGM)",
        summary="Slows encoders whose own classifier improves faster, and turns the fused gradient towards that of the others.",
        formula="g_m <- B_m g_m,  B_m = rho (sum_{n!=m} d_n) / (sum_n d_n),  L += l/M sum_m (|B_m| - B_m cos(g_fused, g_m))",
        authors="Guo, Jin, Chen, Zhao",
        venue="NeurIPS 2024",
        arxiv="2411.01409",
        kind="gradient",
        together=True,
        extra="a pass through the fusion and two backward passes through it, one of them of second order",
        differs=(
            "The direction term compares gradients, as in the paper (published code: the weights of the output layers, those of "
            "the step before). It reaches the fusion alone, as there, and needs a gradient of a gradient in the fusion only. Our "
            "choices: gradients are compared in a linear head on each modality's features, so that any fusion will do; its share "
            "of the fusion's gradient is never longer than that of the loss, since the gradient of a cosine grows without bound "
            "as the loss falls; d_m is the change of the mean probability of the true class (published code: of the accuracy, "
            "a staircase), and 0 where it fell, which keeps B in [0, rho] (there: a small number added to the sum, so that B "
            "can be huge or negative); if none rose all are alike; one modality alone is left as it is; classifiers are linear "
            "and share the run's optimizer. Defaults are those of the published code for Food-101. Under Adam B acts on the "
            "update, since on the gradient it would cancel."
        ),
    ),
)
@dataclass(kw_only=True)
class CGGM(Method):
    """Scale each encoder's gradient by how slowly its modality's own classifier improves, and align the fusion with that.

    The classifier of modality m is a linear head that learns from ``loss(z_m, y)`` and sends no gradient to the encoder.
    ``d_m`` is the change of its metric, the mean probability of the true class, since the last update that had the modality,
    or 0 if it fell; before the first update the metric is 0. The gradient of encoder m is multiplied by
    ``B_m = rho (sum_{n != m} d_n) / (sum_n d_n)``.

    ``g_m = sum_i (d loss(z_m) / d z_im) f_im^T``, of shape (outputs, width), is the gradient of the classifier's weights, and
    ``g_m^fused`` the same with the gradient in the fused logits z: that of a linear fusion's weights. The gradient of
    ``direction / M sum_m (|B_m| - B_m cos(g_m^fused, g_m))`` is added to that of the fusion, with features and classifiers
    held fixed.
    """

    rho: float = hparam(1.3, above=0.0, help="largest factor on the gradient of an encoder", search=(1.0, 2.0))
    direction: float = hparam(
        0.05, low=0.0, help="weight of the direction term (the paper's lambda)", search=(0.01, 0.3), log=True
    )

    def setup(self, ctx: Context) -> None:
        ctx.model.add_heads(ctx.options.seed)
        self.state["metric"] = dict.fromkeys(ctx.modalities, 0.0)

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        losses, batch = super().losses(ctx, update, outputs), update.batch
        fixed = {name: features.detach() for name, features in outputs.features.items()}
        for name, logits in ctx.model.unimodal(fixed, _partly(batch)).items():
            losses[f"classifier.{name}"] = ctx.task_loss(logits, batch, name)
        return losses

    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        metric = self._metric(ctx, update.batch, outputs)
        changes = [value - self.state["metric"][name] for name, value in metric.items()]
        factors = dict(zip(metric, guided_factors(changes, self.rho), strict=True))
        known = {name: value for name, value in metric.items() if isfinite(value)}
        self.state["metric"] |= known
        for name, factor in factors.items():
            ctx.log(f"coefficient.{name}", factor, neutral=1.0)
            ctx.optimizer.scale(name, factor)
        if self.direction > 0 and len(known) > 1:
            self._turn(ctx, update.batch, outputs, {name: factors[name] for name in known})

    @torch.no_grad()
    def _metric(self, ctx: Context, batch: Batch, outputs: Outputs) -> dict[str, float]:
        """Return the mean true-class probability of each modality, over the samples of all processes that have it."""
        score = ctx.task.score(_precise(torch.stack(list(outputs.unimodal.values()))), batch.labels)
        present = torch.stack([batch.present[name] for name in outputs.unimodal])
        sums, counts = ctx.runtime.sum(torch.stack([(score * present).sum(1), present.sum(1).to(score.dtype)]))
        return dict(zip(outputs.unimodal, (sums / counts).tolist(), strict=True))  # nan where no sample has the modality

    def _turn(self, ctx: Context, batch: Batch, outputs: Outputs, factors: dict[str, float]) -> None:
        """Add the gradient of the direction term to that of the fusion."""
        trained = [(item, item.grad) for item in ctx.model.fusion.parameters() if item.grad is not None]
        if not trained:
            return
        features = {name: value.detach() for name, value in outputs.features.items()}
        with ctx.runtime.autocast():
            logits = ctx.model.fuse(features, _partly(batch))
        slope = _slope(ctx, batch, _precise(logits))
        unimodal, fused = [], []
        for name in factors:
            values = _precise(features[name])
            alone = _slope(ctx, batch, _precise(outputs.unimodal[name].detach()).requires_grad_(), name).detach()
            unimodal.append(ctx.runtime.mean(head_gradient(alone, values)))
            fused.append(head_gradient(slope, values))
        # The cosine is of gradients over the whole batch: its slope in them is that of all processes, theirs is each one's own.
        whole = [ctx.runtime.mean(gradient.detach()).requires_grad_() for gradient in fused]
        loss = direction_loss(list(factors.values()), whole, unimodal)
        ctx.log("misalignment", loss)
        slopes = torch.autograd.grad(self.direction * loss, whole)
        found = torch.autograd.grad(fused, [item for item, _ in trained], slopes, materialize_grads=True)
        pairs = [(own, new) for (_, own), new in zip(trained, ctx.runtime.average(found), strict=True) if new is not None]
        longest, length = (torch.stack([item.norm() for item in items]).norm() for items in zip(*pairs, strict=True))
        for own, new in pairs:
            own.add_(new * (longest / length.clamp_min(1e-30)).clamp_max(1.0))


def _partly(batch: Batch) -> dict[str, Tensor]:
    """Return which samples have a modality, for the modalities that some sample lacks."""
    return {name: mask for name, mask in batch.present.items() if name not in batch.complete}


def _precise(values: Tensor) -> Tensor:
    """Return values of at least single precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _slope(ctx: Context, batch: Batch, logits: Tensor, modality: str | None = None) -> Tensor:
    """Return the gradient of the task loss in the logits, of the same shape and with history."""
    loss = ctx.task_loss(logits, batch, modality)
    return torch.autograd.grad(loss, logits, create_graph=True)[0]
