"""Late fusion with a bypass: what all modalities say together scales the features of each."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from equipoise.nn.fusion.base import FUSIONS, Features, Fusion, Present, masked
from equipoise.nn.per_modality import PerModality
from equipoise.tasks import Task


@FUSIONS.register("transfer")
class TransferFusion(Fusion):
    """Squeeze and excitation between modalities on their features, then one classifier per modality.

    ``h = ReLU(sum_m S_m f_m + s)``, gates ``g_m = 2 sigmoid(E_m h + e_m)``, ``z = mean_m (W_m (g_m f_m) + b_m)``, sum and mean
    over the modalities that a sample has. It is the multimodal transfer module (Joze et al., CVPR 2020, arXiv 1911.08670) that
    Wu et al. (ICML 2022, arXiv 2202.05306) use. They put one after each of several layers of convolutional encoders; one on the
    features, which any encoder has, is our choice.

    Args:
        sizes: Width of the features of each modality.
        task: The task.

    Attributes:
        replaced: Gates of shape (width,) that stand in for those of a modality, so that nothing reaches it from the others.
    """

    def __init__(self, sizes: Mapping[str, int], task: Task) -> None:
        super().__init__(sizes, task)
        hidden = max(1, sum(sizes.values()) // 2)
        self.squeeze = PerModality({name: nn.Linear(size, hidden, bias=False) for name, size in sizes.items()})
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.excite = PerModality({name: nn.Linear(hidden, size) for name, size in sizes.items()})
        self.heads = PerModality({name: nn.Linear(size, task.outputs) for name, size in sizes.items()})
        self.replaced: dict[str, Tensor] = {}

    def gates(self, features: Features, present: Present) -> dict[str, Tensor]:
        """Return the gates of each modality in ``features``, of shape (batch, width).

        Args:
            features: As in :meth:`forward`.
            present: As in :meth:`forward`.
        """
        parts = [self.squeeze[name](value) for name, value in masked(features, present).items()]
        together = torch.relu(torch.stack(parts).sum(0) + self.bias)
        return {name: 2 * torch.sigmoid(self.excite[name](together)) for name in features}

    def votes(self, features: Features, present: Present) -> dict[str, Tensor]:
        """Return what each modality in ``features`` says, with what the others pass over to it.

        Args:
            features: As in :meth:`forward`.
            present: As in :meth:`forward`.

        Returns:
            Logits of shape (batch, outputs) per modality; zeros where it is absent.
        """
        gates = self.gates(features, present) | {name: gate for name, gate in self.replaced.items() if name in features}
        return masked({name: self.heads[name](gates[name] * value) for name, value in features.items()}, present)

    def forward(self, features: Features, present: Present) -> Tensor:
        count = self.available(features, present).sum(1, keepdim=True).clamp_min(1)
        return torch.stack(list(self.votes(features, present).values())).sum(0) / count
