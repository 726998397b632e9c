"""Gated fusion: how much of each modality goes in depends on all of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.fusion.base import FUSIONS, Features, Fusion, Present, masked
from equipoise.nn.per_modality import PerModality
from equipoise.tasks import Task


@FUSIONS.register("gated")
class GatedFusion(Fusion):
    """Gated multimodal unit for any number of modalities.

    ``h_m = tanh(V_m f_m)``, ``g = softmax over present modalities of (U [f_1 .. f_M])``, ``z = W sum_m g_m h_m + b``
    (Arevalo et al., 2017, arXiv 1702.01992, whose two gates sum to one; the softmax is that for any number).

    Args:
        sizes: Width of the features of each modality.
        task: The task.
        hidden: Width of the gated vectors.

    Raises:
        ConfigError: ``hidden`` is not positive.
    """

    def __init__(self, sizes: Mapping[str, int], task: Task, *, hidden: int = 64) -> None:
        super().__init__(sizes, task)
        if hidden < 1:
            raise ConfigError(f"fusion gated: hidden = {hidden} is out of range, expected at least 1")
        self.values = PerModality({name: nn.Linear(size, hidden) for name, size in sizes.items()})
        self.gate = nn.Linear(sum(sizes.values()), len(sizes))
        self.head = nn.Linear(hidden, task.outputs)

    def forward(self, features: Features, present: Present) -> Tensor:
        used = masked(features, present)
        some = next(iter(used.values()))
        every = [used[name] if name in used else some.new_zeros(some.shape[0], self.sizes[name]) for name in self.names]
        available = self.available(features, present)
        scores = self.gate(torch.cat(every, 1))
        scores = scores.masked_fill(available == 0, torch.finfo(scores.dtype).min)
        gates = scores.softmax(1) * available
        vectors = torch.stack([torch.tanh(self.values[name](value)) for name, value in zip(self.names, every, strict=True)], 1)
        logits: Tensor = self.head((gates[:, :, None] * vectors).sum(1))
        return logits
