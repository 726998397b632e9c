"""One or several numbers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from equipoise.errors import ConfigError
from equipoise.functional import value_metrics
from equipoise.tasks.base import Task


class Regression(Task):
    """Numbers; targets are of shape (samples, outputs), in their own units.

    A model gives standardised values: with mean ``a`` and standard deviation ``s`` of the training targets it predicts
    ``a + s z``. The loss is ``(z - (y - a) / s)^2 / 2``, averaged over outputs: the negative log-likelihood of a normal
    distribution of unit variance but for a constant. The score is ``exp(-loss)``, 1 for what is exact and 0.61 one standard
    deviation off: our choice.

    No spread is predicted, so all predictions are equally sure: uncertainty, confidence and whatever weighs modalities by them
    are constant. Divergences are those of normal distributions of unit variance; the Jensen-Shannon one is taken to their
    geometric mean.

    Args:
        mean: ``a`` of each output.
        scale: ``s`` of each output, above 0.

    Raises:
        ConfigError: There is no output, or a scale is not above 0.

    Example:
        >>> task = Regression([10.0], [2.0])
        >>> task.predictions(torch.tensor([[0.0], [1.0]])).tolist(), task.losses(torch.zeros(1, 1), torch.tensor([[12.0]]))
        ([[10.0], [12.0]], tensor([0.5000]))
    """

    name: ClassVar[str] = "regression"
    main_metric: ClassVar[str] = "r2"
    measured: ClassVar[tuple[str, ...]] = ("r2", "mse", "rmse", "mae", "loss")

    def __init__(self, mean: list[float], scale: list[float]) -> None:
        if not mean or len(mean) != len(scale) or not min(scale) > 0:
            raise ConfigError(f"regression: mean {mean} and scale {scale} are not valid, expected a scale above 0 for each mean")
        self.outputs = len(mean)
        self._mean, self._scale = (torch.tensor(values, dtype=torch.float64) for values in (mean, scale))

    @classmethod
    def fitted(cls, target: Tensor) -> Regression:
        """Return the task for some training targets of shape (samples, outputs), none of which is constant."""
        values = target.double()
        return cls(values.mean(0).tolist(), values.std(0, correction=0).tolist())

    def standardised(self, target: Tensor) -> Tensor:
        """Return targets as standard deviations from the mean, both of training: what a model is to give."""
        self._mean, self._scale = self._mean.to(target.device), self._scale.to(target.device)
        return (target - self._mean) / self._scale

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        return 0.5 * (logits - self.standardised(target).to(logits.dtype)).square().mean(-1)

    @torch.no_grad()
    def score(self, logits: Tensor, target: Tensor) -> Tensor:
        return (-self.losses(logits, target)).exp()

    def confidence(self, logits: Tensor) -> Tensor:
        return logits.new_ones(logits.shape[:-1])

    @property
    def largest_uncertainty(self) -> float:
        return 1.0

    def uncertainty(self, logits: Tensor) -> Tensor:
        return logits.new_ones(logits.shape[:-1])

    def predictions(self, logits: Tensor) -> Tensor:
        self._mean, self._scale = self._mean.to(logits.device), self._scale.to(logits.device)
        return (self._mean + self._scale * logits.double()).to(logits.dtype)

    def divergence(self, first: Tensor, second: Tensor) -> Tensor:
        return 0.5 * (first - second).square().mean(-1)

    def disagreement(self, first: Tensor, second: Tensor) -> Tensor:
        return 0.25 * self.divergence(first, second)

    def residual_losses(self, previous: Tensor, newest: Tensor, target: Tensor, strength: float) -> Tensor:
        """Return the loss of a predictor that is added to an ensemble: on the residual, whatever the strength.

        Values add up, log-odds sharpen: a second predictor that also fitted the whole target would double the sum.
        """
        return self.losses(previous.detach() + newest, target)

    @torch.no_grad()
    def metrics(self, logits: Tensor, target: Tensor) -> list[dict[str, float]]:
        losses = self.losses(logits.double(), target).mean(-1).tolist()
        found = value_metrics.summaries(self.predictions(logits.double()), target)
        return [{**values, "loss": loss} for values, loss in zip(found, losses, strict=True)]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "mean": self._mean.tolist(), "scale": self._scale.tolist()}
