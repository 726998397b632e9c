"""Feature-wise linear modulation: each modality is scaled and shifted by the others."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.fusion.base import FUSIONS, Features, Fusion, Present
from equipoise.nn.per_modality import PerModality
from equipoise.tasks import Task


@FUSIONS.register("film")
class FilmFusion(Fusion):
    """FiLM for any number of modalities.

    ``h_m = P_m f_m``; the context of m is the mean of the other present ``h``; ``(gamma, beta) = G_m(context)``;
    ``z = W mean_m((1 + gamma_m) h_m + beta_m) + b`` over present modalities. Perez et al., AAAI 2018, arXiv 1709.07871,
    modulate one input by another; doing so in all directions, so that no modality is special, is our choice.

    Args:
        sizes: Width of the features of each modality.
        task: The task.
        hidden: Width in which modalities meet.

    Raises:
        ConfigError: ``hidden`` is not positive.
    """

    def __init__(self, sizes: Mapping[str, int], task: Task, *, hidden: int = 64) -> None:
        super().__init__(sizes, task)
        if hidden < 1:
            raise ConfigError(f"fusion film: hidden = {hidden} is out of range, expected at least 1")
        self.project = PerModality({name: nn.Linear(size, hidden) for name, size in sizes.items()})
        self.modulate = PerModality({name: nn.Linear(hidden, 2 * hidden) for name in sizes})
        self.head = nn.Linear(hidden, task.outputs)

    def forward(self, features: Features, present: Present) -> Tensor:
        available = self.available(features, present)[:, [self.names.index(name) for name in features]].T[:, :, None]
        vectors = torch.stack([self.project[name](value) for name, value in features.items()]) * available
        others = available.sum(0) - available
        context = (vectors.sum(0) - vectors) / others.clamp_min(1)
        pairs = torch.stack([self.modulate[name](part) for name, part in zip(features, context, strict=True)])
        gamma, beta = pairs.chunk(2, -1)
        modulated = ((1 + gamma) * vectors + beta) * available
        logits: Tensor = self.head(modulated.sum(0) / available.sum(0).clamp_min(1))
        return logits
