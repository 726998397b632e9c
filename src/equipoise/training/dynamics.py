"""What gradients do, modality by modality: measured on few batches, without touching what is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equipoise.batch import Outputs
from equipoise.methods.base import Update

if TYPE_CHECKING:
    from equipoise.training.context import Context

EVERY = 128
"""Batches between two measurements, at least: what they cost is then lost in what the batches cost."""


def due(epoch: int, batches: int) -> bool:
    """Return whether an epoch's first batch is measured: about one batch in 128, and that of the first epoch.

    Args:
        epoch: Number of the epoch, from 0.
        batches: Batches per epoch.

    Example:
        >>> [epoch for epoch in range(40) if due(epoch, 5)]
        [0, 26]
    """
    return epoch == 0 or epoch * batches // EVERY > (epoch - 1) * batches // EVERY


class Probe:
    """Looks at one update: made before the optimizer's step, asked after it.

    Args:
        ctx: The run, with the gradients of the update in the parameters.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._norms: dict[str, float] = {}
        self._before: dict[str, list[Tensor]] = {}
        for name in ctx.modalities:
            parameters = ctx.model.parameters_of(name)
            gradients = [item.grad for item in parameters if item.grad is not None]
            if gradients:
                self._norms[name] = _length(gradients)
                self._before[name] = [item.detach().clone() for item in parameters]

    def result(self, update: Update, outputs: Outputs) -> dict[str, dict[str, float]]:
        """Return what happened to each modality whose encoder got gradients.

        ``norm``: length of the gradient of its encoder, as the optimizer got it; ``step``: length of the step that its encoder
        made; ``share``: its share of the lengths of all encoders' steps; ``cosine``: see :func:`measure_gradients`.
        """
        steps = {
            name: _length([now.detach() - then for now, then in zip(self._ctx.model.parameters_of(name), before, strict=True)])
            for name, before in self._before.items()
        }
        total = sum(steps.values())
        cosines = measure_gradients(self._ctx, update, outputs)
        return {
            name: {
                "norm": self._norms[name],
                "step": step,
                "share": step / total if total > 0 else 0.0,
                **({"cosine": cosines[name]} if name in cosines else {}),
            }
            for name, step in steps.items()
        }


def measure_gradients(ctx: Context, update: Update, outputs: Outputs) -> dict[str, float]:
    """Return the cosine between the gradients of each modality's own loss and of the fused loss, in the modality's features.

    Below 0, what is good for the modality alone is bad for the fused output. Gradients in the features, instead of the
    weights of the encoder, cost one pass through the fusion and none through an encoder (our choice). The fusion answers in
    evaluation mode, so that it neither draws random numbers nor changes its state.

    Args:
        ctx: The run.
        update: The update.
        outputs: What the model said in it.

    Returns:
        Cosines over the samples of all processes; no entry where a gradient is zero or only one modality is encoded.
    """
    if len(outputs.features) < 2:
        return {}
    fusion, batch = ctx.model.fusion, update.batch
    training = [module for module in fusion.modules() if module.training]
    present = {name: batch.present[name] for name in outputs.features if name not in batch.complete}
    dtype = next(ctx.model.parameters()).dtype  # features may be of half the precision
    features = {name: value.detach().to(dtype).requires_grad_() for name, value in outputs.features.items()}
    for module in training:
        module.training = False
    try:
        with torch.enable_grad():
            joint = ctx.task_loss(fusion(features, present), batch)
            own = fusion.contributions(features, present)
            alone = torch.stack([ctx.task_loss(own[name], batch, name) for name in features]).sum()
            # The gradient of the sum in a modality's features is that of its own loss: no other depends on them.
            values = list(features.values())
            first, second = _gradients(joint, values), _gradients(alone, values)
    finally:
        for module in training:
            module.training = True
    products = [torch.stack([(a * b).sum(), a.square().sum(), b.square().sum()]) for a, b in zip(first, second, strict=True)]
    dot, one, two = ctx.runtime.sum(torch.stack(products)).T
    length = (one * two).sqrt()
    return {name: value / size for name, value, size in zip(features, dot.tolist(), length.tolist(), strict=True) if size > 0}


def _gradients(loss: Tensor, values: list[Tensor]) -> list[Tensor]:
    """Return the gradient of a loss in each value, zero where it does not depend on it."""
    if not loss.requires_grad:
        return [torch.zeros_like(value) for value in values]
    found = torch.autograd.grad(loss, values, allow_unused=True)
    return [torch.zeros_like(value) if item is None else item for value, item in zip(values, found, strict=True)]


def _length(values: list[Tensor]) -> float:
    return float(torch.stack(torch._foreach_norm(values)).norm())
