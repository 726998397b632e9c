"""A task owns what "right" means: the loss, the per-sample score in [0, 1], probabilities and metrics.

Methods, the loop and the models ask the task; none of them names cross-entropy or softmax.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import log
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.errors import ConfigError
from equipoise.functional import metrics


class Task(ABC):
    """What a model is trained and judged for.

    Attributes:
        name: How the task is called in files.
        outputs: Numbers a model gives per sample.
    """

    name: str
    outputs: int

    @property
    @abstractmethod
    def largest_uncertainty(self) -> float:
        """The value of :meth:`uncertainty` when nothing is known, in nats."""

    @abstractmethod
    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each sample, of shape (batch,), from logits of shape (batch, outputs)."""

    def mean_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the unweighted mean of :meth:`losses`; a task may know a faster way."""
        return self.losses(logits, target).mean()

    @abstractmethod
    def weights(self, target: Tensor) -> Tensor | None:
        """Return the weight of each sample in a mean loss, of shape (batch,), or None when all count the same."""

    @abstractmethod
    def score(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return how right each prediction is, in [0, 1], of shape (batch,), without gradient."""

    @abstractmethod
    def uncertainty(self, logits: Tensor) -> Tensor:
        """Return how unsure each prediction is: its entropy in nats, of shape (batch,)."""

    @abstractmethod
    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return log-probabilities of shape (..., outputs)."""

    @abstractmethod
    def metrics(self, logits: Tensor, target: Tensor) -> list[dict[str, float]]:
        """Return the fast metrics that are computed every epoch; ``loss`` is always among them.

        Args:
            logits: Several predictions of the same samples, of shape (predictions, samples, outputs).
            target: Targets of shape (samples,).
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the task as plain JSON data; :func:`task_from_json` is its inverse."""


class Classification(Task):
    """One of several classes.

    The loss is cross-entropy ``-log p_y``; with class weights ``w`` a mean over samples is ``sum w_y l / sum w_y``. The score
    is the probability of the true class, ``p_y``.

    Args:
        classes: Number of classes, at least 2.
        class_weights: Weight of each class in the loss, or None.

    Raises:
        ConfigError: There are fewer than two classes or the weights do not fit them.

    Example:
        >>> task = Classification(3)
        >>> task.score(torch.zeros(2, 3), torch.tensor([0, 2]))
        tensor([0.3333, 0.3333])
    """

    name = "classification"

    def __init__(self, classes: int, class_weights: list[float] | None = None) -> None:
        if classes < 2:
            raise ConfigError(f"classification needs at least two classes, found {classes}")
        if class_weights is not None and len(class_weights) != classes:
            raise ConfigError(f"class weights: {len(class_weights)} given for {classes} classes")
        self.outputs = classes
        self._weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)

    @classmethod
    def balanced(cls, classes: int, target: Tensor) -> Classification:
        """Return a task whose class weights are ``samples / (classes * samples of the class)``.

        Args:
            classes: Number of classes.
            target: Class codes of the training samples, of shape (samples,); every class must occur.
        """
        counts = torch.bincount(target, minlength=classes).to(torch.float64)
        return cls(classes, (len(target) / (classes * counts)).tolist())

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, reduction="none")

    def mean_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target)

    def weights(self, target: Tensor) -> Tensor | None:
        if self._weights is None:
            return None
        self._weights = self._weights.to(target.device)
        return self._weights[target]

    @torch.no_grad()
    def score(self, logits: Tensor, target: Tensor) -> Tensor:
        return logits.softmax(-1).gather(-1, target.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)

    @property
    def largest_uncertainty(self) -> float:
        return log(self.outputs)

    def uncertainty(self, logits: Tensor) -> Tensor:
        log_p = logits.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(-1)

    @torch.no_grad()
    def metrics(self, logits: Tensor, target: Tensor) -> list[dict[str, float]]:
        return metrics.summaries(logits.log_softmax(-1), target)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "classes": self.outputs,
            "class_weights": None if self._weights is None else self._weights.tolist(),
        }


def task_from_json(value: dict[str, Any]) -> Task:
    """Rebuild a task from :meth:`Task.to_json`'s data."""
    if value["name"] != Classification.name:
        raise ConfigError(f"unknown task {value['name']!r}, expected {Classification.name!r}")
    return Classification(value["classes"], value["class_weights"])
