"""Boosted late fusion: each modality's prediction is a sum of classifiers that grows during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.fusion.base import FUSIONS, Features, Present, WeightedFusion, masked
from equipoise.nn.per_modality import PerModality
from equipoise.seeding import forked
from equipoise.tasks import Task


@FUSIONS.register("boosted")
class BoostedFusion(WeightedFusion):
    """A growing number of light classifiers per modality that share their last layer.

    Classifier j of modality m: ``z_mj = S relu(L_mj f_m)``, with a private layer ``L_mj`` and one shared layer ``S`` for every
    classifier of every modality. Unimodal logits: ``z_m = sum_j z_mj``. Fused: ``z = sum_m w_m z_m`` (Jiang et al., NeurIPS
    2025, arXiv 2502.20120); weights of absent modalities go to the present ones, which is our choice.

    Args:
        sizes: Width of the features of each modality.
        task: The task.
        hidden: Width between the two layers.

    Attributes:
        weights: Fusion weight of each modality, of shape (modalities,); a buffer, equal at first.

    Raises:
        ConfigError: ``hidden`` is not positive.
    """

    def __init__(self, sizes: Mapping[str, int], task: Task, *, hidden: int = 256) -> None:
        super().__init__(sizes, task)
        if hidden < 1:
            raise ConfigError(f"fusion boosted: hidden = {hidden} is out of range, expected at least 1")
        self._hidden = hidden
        self.shared = nn.Linear(hidden, task.outputs)
        nn.init.xavier_normal_(self.shared.weight)
        nn.init.zeros_(self.shared.bias)
        self.private = PerModality({name: nn.ModuleList() for name in sizes})
        for name in self.names:
            self.resize(name, 1, seed=0)

    def count(self, modality: str) -> int:
        """Return the number of classifiers of a modality."""
        return len(self._private(modality))

    def resize(self, modality: str, count: int, seed: int) -> None:
        """Give a modality a number of classifiers; new ones start from random weights of their own key.

        Args:
            modality: The modality.
            count: The number, at least 1.
            seed: Seed of the initial weights of new classifiers.
        """
        layers = self._private(modality)
        while len(layers) > count:
            del layers[len(layers) - 1]
        while len(layers) < count:
            with forked(seed, "classifier", modality, len(layers)):
                layer = nn.Linear(self.sizes[modality], self._hidden)
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
            layers.append(layer.to(self.shared.weight.device))

    def added(self, modality: str) -> list[nn.Module]:
        """Return the private layers of the classifiers that a modality got beyond its first."""
        return list(self._private(modality))[1:]

    def stages(self, modality: str, features: Tensor) -> Tensor:
        """Return the logits of each classifier of a modality.

        Args:
            modality: The modality.
            features: Its features, of shape (batch, width).

        Returns:
            Logits of shape (classifiers, batch, outputs).
        """
        layers = self._private(modality)
        # One product for all classifiers: their number grows, the number of calls does not.
        weight = torch.cat([cast("nn.Linear", layer).weight for layer in layers])
        bias = torch.cat([cast("nn.Linear", layer).bias for layer in layers])
        hidden = torch.relu(torch.nn.functional.linear(features, weight, bias))
        logits: Tensor = self.shared(hidden.view(features.shape[0], len(layers), self._hidden).transpose(0, 1))
        return logits

    def _private(self, modality: str) -> nn.ModuleList:
        return cast("nn.ModuleList", self.private[modality])

    def contributions(self, features: Features, present: Present) -> dict[str, Tensor]:
        return masked({name: self.stages(name, value).sum(0) for name, value in features.items()}, present)
