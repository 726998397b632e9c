"""Reinforced fusion: one linear layer on features, those of each modality multiplied by a factor."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from equipoise.nn.fusion.base import FUSIONS, Features, Present
from equipoise.nn.fusion.linear import ConcatFusion
from equipoise.tasks import Task


@FUSIONS.register("reinforced")
class ReinforcedFusion(ConcatFusion):
    """One linear layer on the concatenated features, each modality's multiplied by a factor: ``z = sum_m W_m a_m f_m + b``.

    Args:
        sizes: Width of the features of each modality.
        task: The task.

    Attributes:
        factors: ``a``, of shape (modalities,) in the order of ``names``; a buffer, 1 at first:
            :class:`~equipoise.methods.arm.ARM` sets it while training.

    Example:
        >>> from equipoise.tasks import Classification
        >>> fusion = ReinforcedFusion({"a": 2, "b": 3}, Classification(4))
        >>> plain = fusion({"a": 2 * torch.ones(5, 2), "b": torch.ones(5, 3)}, {})
        >>> fusion.factors[0] = 2.0
        >>> torch.allclose(fusion({"a": torch.ones(5, 2), "b": torch.ones(5, 3)}, {}), plain)
        True
    """

    factors: Tensor

    def __init__(self, sizes: Mapping[str, int], task: Task) -> None:
        super().__init__(sizes, task)
        self.register_buffer("factors", torch.ones(len(sizes)))

    def forward(self, features: Features, present: Present) -> Tensor:
        return super().forward(self._reinforced(features), present)

    def _products(self, features: Features) -> Tensor:
        return super()._products(self._reinforced(features))

    def _reinforced(self, features: Features) -> dict[str, Tensor]:
        return {name: value * self.factors[self.names.index(name)] for name, value in features.items()}
