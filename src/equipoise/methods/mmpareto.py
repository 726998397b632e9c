"""MMPareto: unimodal losses help, as long as their gradients do not fight the fused one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from equipoise.batch import Outputs
from equipoise.functional.pareto import mmpareto_combine, mmpareto_weights
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.training.context import Closure, Context, join_parts

_FUSED = "fused"


@register(
    "mmpareto",
    card=MethodCard(
        title="MMPareto",
        summary="Fused and unimodal losses; where their gradients conflict on an encoder, the shortest common descent direction.",
        formula="g_m = gamma stretch 2 (w_0 g_fused + w_1 g_m),  w = 1/2 each if cos > 0 else argmin ||w_0 g_fused + w_1 g_m||",
        authors="Wei, Hu",
        venue="ICML 2024",
        arxiv="2405.17730",
        kind="gradient",
        backwards=2.0,
        differs=(
            "Lengths are restored per encoder (the published code: per parameter tensor). The two gradients are measured "
            "separately; a widely used port reads them after both were summed, which makes every cosine 1."
        ),
    ),
)
@dataclass(kw_only=True)
class MMPareto(Method):
    """Combine, per encoder, the gradient of the fused loss with that of the modality's own loss.

    While they agree (cosine > 0) both count one half; while they conflict the minimum-norm weights apply, so that neither
    loss rises. ``h = 2 (w_0 g_fused + w_1 g_m)`` is stretched to the length of the plain sum where it is shorter, then
    multiplied by ``gamma``. The fusion gets the fused gradient, each auxiliary head its own.
    """

    gamma: float = hparam(1.5, above=0.0, help="factor on the combined gradient of each encoder", search=(1.0, 2.0))

    def setup(self, ctx: Context) -> None:
        ctx.model.add_heads(ctx.options.seed)

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        return {_FUSED: ctx.task_loss(outputs.logits, update.batch)} | unimodal_losses(ctx, update, outputs)

    def compute_gradients(self, ctx: Context, closure: Closure) -> tuple[Outputs, dict[str, Tensor]]:
        parameters = ctx.optimizer.parameters()
        fused: list[Tensor | None] = [None] * len(parameters)
        own: list[Tensor | None] = [None] * len(parameters)
        results = []
        for part in closure.parts():
            outputs, losses = part()
            # No encoder belongs to two modalities, so one pass through the sum gives every modality's own gradient.
            alone = torch.stack([loss for name, loss in losses.items() if name != _FUSED]).sum()
            fused = _add(fused, _gradients(losses[_FUSED] * part.share, parameters, keep=True))
            own = _add(own, _gradients(alone * part.share, parameters, keep=False))
            results.append((outputs, losses, part.share))
        both = ctx.runtime.average([*fused, *own])
        gradients = {
            id(item): (_shaped(first, item), _shaped(second, item))
            for item, first, second in zip(parameters, both[: len(parameters)], both[len(parameters) :], strict=True)
        }
        for item in parameters:
            first, second = gradients[id(item)]
            item.grad = first if second is None else second
        for name in ctx.modalities:
            self._combine(ctx, name, gradients)
        return join_parts(results)

    def _combine(self, ctx: Context, name: str, gradients: dict[int, tuple[Tensor | None, Tensor | None]]) -> None:
        pairs = [(item, *gradients[id(item)]) for item in ctx.model.parameters_of(name) if id(item) in gradients]
        known = [(item, first, second) for item, first, second in pairs if first is not None and second is not None]
        if not known:
            return
        first = torch.cat([value.reshape(-1) for _, value, _ in known])
        second = torch.cat([value.reshape(-1) for _, _, value in known])
        weights, cosine = mmpareto_weights(first, second)
        ctx.log(f"cosine.{name}", cosine, neutral=1.0)
        ctx.log(f"fused_weight.{name}", weights[0])
        combined = mmpareto_combine(first, second, weights, self.gamma)
        for (item, _, _), part in zip(known, combined.split([item.numel() for item, _, _ in known]), strict=True):
            item.grad = part.view_as(item)


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter], keep: bool) -> Sequence[Tensor | None]:
    if not loss.requires_grad:
        return [None] * len(parameters)
    return torch.autograd.grad(loss, parameters, retain_graph=keep, allow_unused=True)


def _add(total: Sequence[Tensor | None], more: Sequence[Tensor | None]) -> list[Tensor | None]:
    both = zip(total, more, strict=True)
    return [second if first is None else first if second is None else first + second for first, second in both]


def _shaped(gradient: Tensor | None, parameter: nn.Parameter) -> Tensor | None:
    return None if gradient is None else gradient.view_as(parameter)
