"""One step of a method by hand: a run without a loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.config import TrainingOptions
from equipoise.data.loader import Part
from equipoise.methods.base import Method, Phase, Update
from equipoise.nn.fusion import Fusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.context import Closure, Context
from equipoise.training.optimizers import PhaseOptimizer
from equipoise.training.runtime import Runtime


def make_batch(inputs: Mapping[str, Tensor], target: Tensor, present: Mapping[str, Tensor] | None = None) -> Batch:
    """A batch of all given samples."""
    every = torch.ones(len(target), dtype=torch.bool)
    masks = {name: (present or {}).get(name, every) for name in inputs}
    complete = frozenset(name for name, mask in masks.items() if bool(mask.all()))
    return Batch(dict(inputs), masks, target, torch.arange(len(target)), complete, len(target))


def make_context(
    model: MultimodalModel, method: Method, train: Part | None = None, validation: Part | None = None, **options: Any
) -> Context:
    """A run in its first phase, with the method set up."""
    settings = TrainingOptions(**{"device": "cpu", "schedule": "constant", "weight_decay": 0.0, **options})
    ctx = Context(model, Runtime("cpu"), settings, train, validation)
    method.setup(ctx)
    ctx.phase = Phase()
    ctx.epochs = settings.epochs
    ctx.optimizer = PhaseOptimizer(model, ctx.phase, settings)
    return ctx


def gradients_of(ctx: Context, method: Method, update: Update) -> tuple[Outputs, dict[str, Tensor]]:
    """Leave a method's gradients of one update in the parameters, before any step."""
    ctx.model.zero_grad(set_to_none=True)
    outputs, losses = method.compute_gradients(ctx, Closure(ctx, method, update))
    method.modulate_gradients(ctx, update, outputs)
    return outputs, losses


def step(ctx: Context, method: Method, update: Update) -> None:
    """Make one whole update, as the loop does."""
    outputs, _ = gradients_of(ctx, method, update)
    ctx.optimizer.step()
    method.after_update(ctx, update, outputs, Closure(ctx, method, update))
    ctx.update += 1


def outputs_of(fusion: Fusion, features: Mapping[str, Tensor], batch: Batch) -> Outputs:
    """Outputs made from given features."""
    return Outputs(features, batch.present, lambda: fusion(features, {}), lambda: fusion.contributions(features, {}))
