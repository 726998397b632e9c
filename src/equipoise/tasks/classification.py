"""One of several classes, in an order or not."""

from __future__ import annotations

from math import log
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.errors import ConfigError, DataError
from equipoise.functional import metrics
from equipoise.functional.agreement import jensen_shannon
from equipoise.tasks.base import Task


class Classification(Task):
    """One of several classes; targets are class codes of shape (samples,).

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

    name: ClassVar[str] = "classification"
    main_metric: ClassVar[str] = "macro_f1"
    measured: ClassVar[tuple[str, ...]] = ("accuracy", "balanced_accuracy", "macro_f1", "loss")

    def __init__(self, classes: int, class_weights: list[float] | None = None) -> None:
        if classes < 2:
            raise ConfigError(f"{self.name} needs at least two classes, found {classes}")
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

    def check_target(self, target: Tensor, place: str = "target") -> None:
        """Refuse what are no class codes; those on a GPU are not looked at one by one, since that would have to wait for it."""
        if target.ndim != 1 or target.dtype != torch.int64:
            found = f"{target.dtype} of shape {tuple(target.shape)}"
            raise DataError(f"{place}: found {found}, expected class codes: torch.int64 of shape (samples,)")
        if target.device.type == "cpu" and len(target):
            for code in map(int, target.aminmax()):
                if not 0 <= code < self.outputs:
                    raise DataError(f"{place}: found class code {code}, expected 0 to {self.outputs - 1}")

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

    def confidence(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(-1).amax(-1).exp()

    @property
    def largest_uncertainty(self) -> float:
        return log(self.outputs)

    def uncertainty(self, logits: Tensor) -> Tensor:
        log_p = logits.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def predictions(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(-1).exp()

    def votes(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(-1)

    def divergence(self, first: Tensor, second: Tensor) -> Tensor:
        log_p = first.log_softmax(-1)
        return (log_p.exp() * (log_p - second.log_softmax(-1))).sum(-1)

    def disagreement(self, first: Tensor, second: Tensor) -> Tensor:
        return jensen_shannon(first.log_softmax(-1), second.log_softmax(-1))

    @torch.no_grad()
    def metrics(self, logits: Tensor, target: Tensor) -> list[dict[str, float]]:
        return metrics.summaries(logits.log_softmax(-1), target)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "classes": self.outputs,
            "class_weights": None if self._weights is None else self._weights.tolist(),
        }


class Ordinal(Classification):
    """One of several classes that have an order: trained as :class:`Classification`, judged by how far off it is.

    The main metric is Cohen's kappa with quadratic weights; ``mae`` is the mean distance of the predicted class from the true
    one, in classes. That the loss does not know of the order is our choice: every method then runs as it does for classes.

    Example:
        >>> said = torch.eye(3)[torch.tensor([[0, 1, 2], [1, 1, 2], [2, 1, 2]])]
        >>> exact, near, far = Ordinal(3).metrics(said, torch.tensor([0, 1, 2]))
        >>> [round(item["mae"], 2) for item in (exact, near, far)]
        [0.0, 0.33, 0.67]
    """

    name: ClassVar[str] = "ordinal"
    main_metric: ClassVar[str] = "kappa"
    measured: ClassVar[tuple[str, ...]] = ("kappa", "mae", *Classification.measured)

    @torch.no_grad()
    def metrics(self, logits: Tensor, target: Tensor) -> list[dict[str, float]]:
        matrix = metrics.confusion(logits.argmax(-1), target, self.outputs)
        ordered = torch.stack([metrics.quadratic_kappa(matrix), metrics.mean_distance(matrix)], 1).tolist()
        return [
            {"kappa": kappa, "mae": distance, **plain}
            for (kappa, distance), plain in zip(ordered, super().metrics(logits, target), strict=True)
        ]
