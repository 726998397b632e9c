"""Several labels, each of which a sample has or has not."""

from __future__ import annotations

from math import log
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.errors import ConfigError
from equipoise.functional import label_metrics
from equipoise.functional.agreement import jensen_shannon
from equipoise.tasks.base import Task


class Multilabel(Task):
    """Labels that do not exclude each other; targets are 0 or 1, of shape (samples, labels).

    Each label has a probability of its own, ``p_l = sigmoid(z_l)``. What a sample gets is a mean over labels: the loss that of
    the binary cross-entropies, ``-w_l log p_l`` where it has the label and ``-log(1 - p_l)`` where not; the score that of the
    probabilities of what is true; uncertainty, divergences and confidence likewise.

    Args:
        labels: Number of labels.
        positive_weights: ``w``, the weight of each label's loss where a sample has it, or None for 1.

    Raises:
        ConfigError: There is no label or the weights do not fit them.

    Example:
        >>> task = Multilabel(2)
        >>> task.score(torch.tensor([[0.0, 9.0]]), torch.tensor([[1.0, 1.0]]))
        tensor([0.7499])
    """

    name: ClassVar[str] = "multilabel"
    main_metric: ClassVar[str] = "macro_f1"
    measured: ClassVar[tuple[str, ...]] = ("macro_f1", "micro_f1", "subset_accuracy", "loss")

    def __init__(self, labels: int, positive_weights: list[float] | None = None) -> None:
        if labels < 1:
            raise ConfigError("multilabel needs at least one label, found none")
        if positive_weights is not None and len(positive_weights) != labels:
            raise ConfigError(f"positive weights: {len(positive_weights)} given for {labels} labels")
        self.outputs = labels
        self._weights = None if positive_weights is None else torch.tensor(positive_weights, dtype=torch.float32)

    @classmethod
    def balanced(cls, target: Tensor) -> Multilabel:
        """Return a task in which samples that have a label count as much as those that have not.

        Args:
            target: Labels of the training samples, 0 or 1 of shape (samples, labels); of each both must occur.
        """
        positive = target.double().sum(0)
        return cls(target.shape[1], ((len(target) - positive) / positive).tolist())

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        if self._weights is not None:
            self._weights = self._weights.to(logits.device)
        truth = target.to(logits.dtype).expand(logits.shape)
        return F.binary_cross_entropy_with_logits(logits, truth, reduction="none", pos_weight=self._weights).mean(-1)

    @torch.no_grad()
    def score(self, logits: Tensor, target: Tensor) -> Tensor:
        return torch.sigmoid(logits * (2 * target - 1).to(logits.dtype)).mean(-1)

    def confidence(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits.abs()).mean(-1)

    @property
    def largest_uncertainty(self) -> float:
        return log(2.0)

    def uncertainty(self, logits: Tensor) -> Tensor:
        log_p = _both(logits)
        return -(log_p.exp() * log_p).sum(-1).mean(-1)

    def predictions(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits)

    def divergence(self, first: Tensor, second: Tensor) -> Tensor:
        log_p = _both(first)
        return (log_p.exp() * (log_p - _both(second))).sum(-1).mean(-1)

    def disagreement(self, first: Tensor, second: Tensor) -> Tensor:
        return jensen_shannon(_both(first), _both(second)).mean(-1)

    @torch.no_grad()
    def metrics(self, logits: Tensor, target: Tensor) -> list[dict[str, float]]:
        return label_metrics.summaries(logits, target)

    def to_json(self) -> dict[str, Any]:
        weights = None if self._weights is None else self._weights.tolist()
        return {"name": self.name, "labels": self.outputs, "positive_weights": weights}


def _both(logits: Tensor) -> Tensor:
    """Return the log-probabilities of having and of not having each label, of shape (..., labels, 2)."""
    return F.logsigmoid(torch.stack([logits, -logits], -1))
