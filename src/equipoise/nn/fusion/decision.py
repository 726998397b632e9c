"""Late fusion in which, for each class, those modalities decide that recognise it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from equipoise.functional.decision import decide
from equipoise.nn.fusion.base import FUSIONS, Features, Fusion, Present, masked
from equipoise.nn.per_modality import PerModality
from equipoise.tasks import Task


@FUSIONS.register("decision")
class DecisionFusion(Fusion):
    """Weighted sum of calibrated log-probabilities, with a weight per modality and class.

    ``z[c] = n sum_m w_mc log p_m[c] / sum_m w_mc`` over the ``n`` modalities that a sample has, ``p_m = softmax(z_m / T_m)`` and
    ``z_m`` from a linear head of the modality's own. While weights are equal and temperatures 1, as at first, its probabilities
    are those of one linear layer on the concatenated features.

    Args:
        sizes: Width of the features of each modality.
        task: The task; it says what log-probabilities are.

    Attributes:
        weights: ``w``, of shape (modalities, outputs) in the order of ``names``; a buffer.
        temperatures: ``T``, of shape (modalities,); a buffer.
    """

    weights: Tensor
    temperatures: Tensor

    def __init__(self, sizes: Mapping[str, int], task: Task) -> None:
        super().__init__(sizes, task)
        self.heads = PerModality({name: nn.Linear(size, task.outputs) for name, size in sizes.items()})
        self.register_buffer("weights", torch.ones(len(sizes), task.outputs))
        self.register_buffer("temperatures", torch.ones(len(sizes)))

    def contributions(self, features: Features, present: Present) -> dict[str, Tensor]:
        return masked({name: self.heads[name](value) for name, value in features.items()}, present)

    def forward(self, features: Features, present: Present) -> Tensor:
        return self.fuse(features, present, lambda: self.contributions(features, present))

    def fuse(self, features: Features, present: Present, contributions: Callable[[], Mapping[str, Tensor]]) -> Tensor:
        logits = contributions()
        names = [name for name in self.names if name in logits]
        rows = [self.names.index(name) for name in names]
        calibrated = torch.stack([logits[name] for name in names]) / self.temperatures[rows, None, None]
        available = self.available(features, present).T[rows]
        return decide(self.task.votes(calibrated), self.weights[rows], available)
