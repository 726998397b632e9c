"""Late fusions: every modality has a prediction of its own, and predictions are averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.fusion.base import FUSIONS, Features, Fusion, Present, WeightedFusion, masked, require_equal_sizes
from equipoise.nn.per_modality import PerModality
from equipoise.tasks import Task


@FUSIONS.register("logit")
class LogitFusion(WeightedFusion):
    """Weighted average of the unimodal log-probabilities.

    ``z = sum_m w_m log p_m / sum_m w_m`` over the modalities that a sample has; with equal weights this ranks classes as
    the average of the unimodal logits does. ``log p_m`` comes from a linear head of the modality's own. For labels it is the
    average of log-odds, for numbers that of the predicted values.

    Args:
        sizes: Width of the features of each modality.
        task: The task; it says what is averaged.

    Attributes:
        weights: Weight of each modality, of shape (modalities,) in the order of ``names``; a buffer, equal at first.
    """

    def __init__(self, sizes: Mapping[str, int], task: Task) -> None:
        super().__init__(sizes, task)
        self.heads = PerModality({name: nn.Linear(size, task.outputs) for name, size in sizes.items()})

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Set the weight of each modality.

        Raises:
            ConfigError: A weight is missing or negative, or all are zero.
        """
        values = [weights.get(name, -1.0) for name in self.names]
        if min(values) < 0 or sum(values) <= 0 or len(weights) != len(values):
            raise ConfigError(f"fusion logit: weights {dict(weights)} need one number >= 0 for each of {', '.join(self.names)}")
        self.weights.copy_(torch.tensor(values) / sum(values))

    def contributions(self, features: Features, present: Present) -> dict[str, Tensor]:
        return masked({name: self.heads[name](value) for name, value in features.items()}, present)

    def votes(self, logits: Tensor) -> Tensor:
        return self.task.votes(logits)


@FUSIONS.register("entropy_gate")
class EntropyGateFusion(Fusion):
    """One linear head shared by all modalities; surer modalities weigh more, sample by sample.

    ``z = sum_m w_m z_m`` with ``z_m = W f_m + b`` and ``w_m = exp(-H_m) / sum_n exp(-H_n)``, H being the entropy of the
    modality's prediction, over the modalities that the sample has (Zhang et al., MLA, CVPR 2024, arXiv 2311.10707). All
    modalities need features of one width.

    Args:
        sizes: Width of the features of each modality.
        task: The task; it says what entropy is.

    Raises:
        ConfigError: Feature widths differ.
    """

    def __init__(self, sizes: Mapping[str, int], task: Task) -> None:
        super().__init__(sizes, task)
        self.head = nn.Linear(require_equal_sizes(sizes, "entropy_gate"), task.outputs)

    def contributions(self, features: Features, present: Present) -> dict[str, Tensor]:
        return masked({name: self.head(value) for name, value in features.items()}, present)

    def forward(self, features: Features, present: Present) -> Tensor:
        return self.fuse(features, present, lambda: self.contributions(features, present))

    def fuse(self, features: Features, present: Present, contributions: Callable[[], Mapping[str, Tensor]]) -> Tensor:
        logits = self._all_logits(contributions())
        return (self._gate(logits, features, present)[:, :, None] * logits).sum(0)

    def sample_weights(self, features: Features, present: Present) -> Tensor:
        return self._gate(self._all_logits(self.contributions(features, present)), features, present)

    def _all_logits(self, logits: Mapping[str, Tensor]) -> Tensor:
        some = next(iter(logits.values()))
        return torch.stack([logits[name] if name in logits else torch.zeros_like(some) for name in self.names])

    def _gate(self, logits: Tensor, features: Features, present: Present) -> Tensor:
        return entropy_gate(self.task.uncertainty(logits), self.available(features, present).T > 0)


def entropy_gate(entropy: Tensor, present: Tensor) -> Tensor:
    """Return the weight of each modality: ``exp(-H_m) / sum_n exp(-H_n)`` over the present ones.

    Args:
        entropy: Entropy of each prediction in nats, of shape (modalities, batch).
        present: Which samples have which modality, booleans of the same shape.

    Returns:
        Weights of the same shape that sum to 1 over the modalities of each sample (all 0 where it has none).

    Example:
        >>> entropy_gate(torch.tensor([[0.0], [0.0]]), torch.tensor([[True], [True]])).flatten().tolist()
        [0.5, 0.5]
    """
    sure = torch.where(present, (-entropy).exp(), entropy.new_zeros(()))
    return sure / sure.sum(0, keepdim=True).clamp_min(torch.finfo(sure.dtype).tiny)
