"""MLA: modalities take turns on one shared head, and a turn may not undo the one before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.functional.projection import recursive_projector
from equipoise.methods.base import Method, MethodCard, Update, alternate, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.nn.fusion.late import EntropyGateFusion
from equipoise.training.context import Closure, Context


@register(
    "mla",
    card=MethodCard(
        title="Multimodal Learning with Alternating Unimodal Adaptation (MLA)",
        summary="Modalities are trained in turn on a shared head whose gradient avoids directions that the others use.",
        formula="per modality: W <- W - lr g P,  P <- P - (P r)(P r)^T / (alpha + r^T P r);  z = sum_m softmax(-H)_m z_m",
        authors="Zhang, Yoon, Bansal, Yao",
        venue="CVPR 2024",
        arxiv="2311.10707",
        kind="update",
        extra="one optimizer step per modality",
        fusion="entropy_gate",
        order_matters=True,
        differs=(
            "The gain has the scalar denominator of recursive least squares (published code: elementwise division by a matrix, "
            "then P scaled to length 1). A gradient is projected before, not after, its own modality enters P. P starts anew in "
            "each epoch (our choice). The entropy gate weighs each sample by itself (published: softmax over the batch)."
        ),
    ),
)
@dataclass(kw_only=True)
class MLA(Method):
    """Alternate over modalities; project the shared head's gradient away from what other modalities use.

    In each update only one modality is encoded; its loss trains its encoder and the shared head. The gradient ``g`` of the
    head's weight becomes ``g P``; then ``r``, the mean feature vector of the batch, is taken out of ``P`` (recursive least
    squares). Prediction weighs modalities by ``exp(-entropy)``, sample by sample.
    """

    alpha: float = hparam(
        0.1, above=0.0, high=1.0, help="how little of a used direction remains free", search=(0.01, 1.0), log=True
    )

    def on_epoch_start(self, ctx: Context) -> None:
        weight = _head(ctx).weight
        self.state["projector"] = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        return alternate(ctx, batch)

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        return unimodal_losses(ctx, update, outputs)

    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        gradient = _head(ctx).weight.grad
        if gradient is None:
            return
        projected = gradient @ self.state["projector"]
        ctx.log("projected", projected.norm() / gradient.norm().clamp_min(1e-12), neutral=1.0)
        gradient.copy_(projected)

    def after_update(self, ctx: Context, update: Update, outputs: Outputs, closure: Closure) -> None:
        ((name, features),) = outputs.features.items()
        # Rows of absent samples are zero and count for nothing.
        projector: Tensor = self.state["projector"]
        sum_of_features = features.detach().to(projector.dtype).sum(0)
        sums = ctx.runtime.sum(torch.cat([sum_of_features, update.batch.present[name].sum()[None].to(projector.dtype)]))
        progress = 0.0 if ctx.epochs < 2 else ctx.epoch / (ctx.epochs - 1)
        self.state["projector"] = recursive_projector(projector, sums[:-1] / sums[-1], self.alpha ** (1 + progress))


def _head(ctx: Context) -> torch.nn.Linear:
    assert isinstance(ctx.model.fusion, EntropyGateFusion)
    return ctx.model.fusion.head
