"""Cosine fusion: modalities say only in which direction their features point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from equipoise.functional.cosine import cosine_logits
from equipoise.nn.fusion.base import FUSIONS, AdditiveFusion, Features, Present
from equipoise.nn.per_modality import PerModality
from equipoise.tasks import Task


@FUSIONS.register("cosine")
class CosineFusion(AdditiveFusion):
    """The sum of scaled cosines: ``z = sum_m z_m`` with ``z_mc = s cos(f_m, w_mc)``, without a bias.

    Neither longer features nor longer weights give a modality more say (Xu et al., ICASSP 2023, arXiv 2303.05338).

    Args:
        sizes: Width of the features of each modality.
        task: The task.

    Attributes:
        scaling: ``s``; a buffer, 1 at first: :class:`~equipoise.methods.mmcosine.MMCosine` sets it.

    Example:
        >>> from equipoise.tasks import Classification
        >>> fusion = CosineFusion({"a": 2, "b": 3}, Classification(4))
        >>> features = {"a": torch.ones(5, 2), "b": torch.ones(5, 3)}
        >>> longer = {"a": 100 * features["a"], "b": features["b"]}
        >>> torch.allclose(fusion(longer, {}), fusion(features, {}))
        True
    """

    scaling: Tensor

    def __init__(self, sizes: Mapping[str, int], task: Task) -> None:
        super().__init__(sizes, task)
        self.heads = PerModality({name: nn.Linear(size, task.outputs, bias=False) for name, size in sizes.items()})
        self.register_buffer("scaling", torch.ones(()))

    def forward(self, features: Features, present: Present) -> Tensor:
        return self._cosines(features, present).sum(0)

    def fuse(self, features: Features, present: Present, contributions: Callable[[], Mapping[str, Tensor]]) -> Tensor:
        return torch.stack(list(contributions().values())).sum(0)

    def contributions(self, features: Features, present: Present) -> dict[str, Tensor]:
        return dict(zip(features, self._cosines(features, present), strict=True))

    def terms(self, features: Features, present: Present) -> Tensor:
        return self._cosines({name: features[name] for name in self.names}, present)

    def constant(self) -> Tensor | float:
        return 0.0

    def _cosines(self, features: Features, present: Present) -> Tensor:
        """Return ``z_m`` of the modalities in ``features``, of shape (modalities, batch, outputs), zero where absent."""
        weights = [parameter for name in features for parameter in self.heads[name].parameters()]
        logits = cosine_logits(_stack(list(features.values())), _stack(weights), self.scaling)
        if not present:
            return logits
        every = logits.new_ones(logits.shape[1], dtype=torch.bool)
        have = torch.stack([present.get(name, every) for name in features])
        return torch.where(have[:, :, None], logits, logits.new_zeros(()))


def _stack(vectors: Sequence[Tensor]) -> Tensor:
    """Stack vectors of several widths: zeros at the end change neither a length nor a product."""
    width = max(item.shape[1] for item in vectors)
    return torch.stack([item if item.shape[1] == width else pad(item, (0, width - item.shape[1])) for item in vectors])
