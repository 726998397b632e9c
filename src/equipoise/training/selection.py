"""Which epoch of a phase is kept, by the validation part alone, and when to stop early."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from equipoise.methods.base import Method
    from equipoise.training.context import Context

LOWER = ("loss", "mse", "rmse", "mae")
"""The metrics of which less is better."""

Metrics = dict[str, dict[str, float]]
"""Metrics by output: ``fused`` and each modality."""


def validate(ctx: Context, predictor: nn.Module) -> Metrics:
    """Return the metrics of the fused output and of each modality on the validation part.

    Each modality is judged on the samples that have it.

    Args:
        ctx: The run.
        predictor: The module that predicts.
    """
    outputs = ctx.outputs("validation", predictor)
    part = ctx.part("validation")
    assert part.target is not None
    target = part.target.to(outputs.logits.device)
    every = {"fused": outputs.logits} | {name: logits for name, logits in outputs.unimodal.items() if name in part.complete}
    metrics = dict(zip(every, ctx.task.metrics(torch.stack(list(every.values())).float(), target), strict=True))
    for name, logits in outputs.unimodal.items():
        rows = part.present[name].to(target.device)
        if name not in every and bool(rows.any()):
            metrics[name] = ctx.task.metrics(logits[None, rows].float(), target[rows])[0]
    return {name: metrics[name] for name in ("fused", *outputs.unimodal) if name in metrics}


def snapshot(ctx: Context, method: Method) -> dict[str, Any]:
    """Return copies of the model's weights and the method's state."""
    return {"model": copy_state(ctx.model.state_dict()), "method": copy_state(method.state_dict())}


def copy_state(value: Any, device: torch.device | None = None) -> Any:
    """Return a copy of nested dictionaries and lists with cloned tensors, on ``device`` where one is given."""
    if isinstance(value, torch.Tensor):
        return value.detach().to(device, copy=True)
    if isinstance(value, dict):
        return {key: copy_state(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(copy_state(item, device) for item in value)
    return value


class Selection:
    """Remembers the best epoch of a phase.

    An epoch is better if its metric is; at equal metrics, if its loss is lower.

    Args:
        target: Whose metric: ``fused``, a modality, or None to keep the last epoch.
        metric: The metric.
        patience: Epochs without a better one after which the phase stops; None never stops it.
    """

    def __init__(self, target: str | None, metric: str, patience: int | None) -> None:
        self._target, self._metric, self._patience = target, metric, patience
        self.best: list[float] = []
        self.best_epoch = -1
        self.kept: dict[str, Any] | None = None
        self._waited = 0

    def consider(self, epoch: int, metrics: Metrics) -> bool:
        """Judge an epoch; return whether it is the best so far."""
        if self._target is None or self._target not in metrics:
            return False
        values = metrics[self._target]
        # What is not a number must neither be kept as the best nor bar all that come later.
        rank = [value if math.isfinite(value) else -math.inf for value in (self._goodness(values), -values["loss"])]
        if not self.best or rank > self.best:
            self.best, self.best_epoch, self._waited = rank, epoch, 0
            return True
        self._waited += 1
        return False

    def _goodness(self, values: dict[str, float]) -> float:
        return -values[self._metric] if self._metric in LOWER else values[self._metric]

    @property
    def exhausted(self) -> bool:
        """Whether the phase should stop."""
        return self._patience is not None and self._waited >= self._patience

    def state_dict(self) -> dict[str, Any]:
        """Return what must be saved."""
        return {"best": self.best, "best_epoch": self.best_epoch, "kept": self.kept, "waited": self._waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what was saved."""
        self.best, self.best_epoch = list(state["best"]), state["best_epoch"]
        self.kept, self._waited = state["kept"], state["waited"]
