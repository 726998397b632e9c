"""What a task is: the loss, the per-sample score in [0, 1], what predictions mean, and the metrics of an epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from equipoise.errors import ConfigError, DataError, suggest

AUTO = "auto"
"""The word for the metric by which a task selects epochs where nothing else is said."""


class Task(ABC):
    """What a model is trained and judged for.

    A model gives ``outputs`` numbers per sample, called logits whatever the task. All functions here take logits of shape
    (..., samples, outputs), of one or many predictions of the same samples, and give values of shape (..., samples).

    Attributes:
        name: How the task is called in files.
        outputs: Numbers a model gives per sample.
        main_metric: The metric by which epochs are selected and methods compared where nothing else is said; more is better.
        measured: The metrics of an epoch; ``loss`` is always among them.
    """

    name: ClassVar[str]
    main_metric: ClassVar[str]
    measured: ClassVar[tuple[str, ...]]
    outputs: int

    def monitor(self, word: str) -> str:
        """Return the metric that selects epochs.

        Args:
            word: One of ``measured``, or ``auto`` for ``main_metric``.

        Raises:
            ConfigError: The task has no such metric.
        """
        if word == AUTO:
            return self.main_metric
        if word not in self.measured:
            raise ConfigError(f"option: monitor = {word!r} is no metric of {self.name}, {suggest(word, self.measured)}")
        return word

    def check_target(self, target: Tensor, place: str = "target") -> None:
        """Refuse targets from outside that the loss cannot take, or would take for something else.

        Args:
            target: By default numbers of shape (samples, outputs).
            place: How messages call them.

        Raises:
            DataError: They have another form.
        """
        if target.ndim != 2 or target.shape[1] != self.outputs:
            raise DataError(f"{place}: found shape {tuple(target.shape)}, expected (samples, {self.outputs}) for {self.name}")

    @property
    @abstractmethod
    def largest_uncertainty(self) -> float:
        """The value of :meth:`uncertainty` when nothing is known, in nats."""

    @abstractmethod
    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each sample."""

    def mean_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the unweighted mean of :meth:`losses`; a task may know a faster way."""
        return self.losses(logits, target).mean()

    def weights(self, target: Tensor) -> Tensor | None:
        """Return the weight of each sample in a mean loss, of shape (samples,), or None when all count the same."""
        return None

    @abstractmethod
    def score(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return how right each prediction is, in [0, 1], without gradient."""

    @abstractmethod
    def confidence(self, logits: Tensor) -> Tensor:
        """Return how sure each prediction is of itself, in [0, 1]: the :meth:`score` that it would have if it were right."""

    @abstractmethod
    def uncertainty(self, logits: Tensor) -> Tensor:
        """Return how unsure each prediction is: its entropy in nats."""

    @abstractmethod
    def predictions(self, logits: Tensor) -> Tensor:
        """Return what people read, of the shape of the logits: probabilities, or values in the units of the target."""

    def votes(self, logits: Tensor) -> Tensor:
        """Return what late fusion averages, of the shape of the logits: their mean is the normalised product of the predictions.

        By default the logits: the mean of log-odds, and that of predicted values, are such products.
        """
        return logits

    @abstractmethod
    def divergence(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``KL(first || second)`` of two predictions, in nats."""

    @abstractmethod
    def disagreement(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the Jensen-Shannon divergence of two predictions, in nats: symmetric, 0 where they agree."""

    def residual_losses(self, previous: Tensor, newest: Tensor, target: Tensor, strength: float) -> Tensor:
        """Return the loss of a predictor that is added to an ensemble, on what the ensemble leaves to learn.

        By default ``(1 - strength * score(previous)) * loss(newest)``: what is solved counts less.

        Args:
            previous: Logits of the ensemble; they get no gradient.
            newest: Logits of the predictor that is added to them.
            target: Targets.
            strength: From 0 (as if nothing were solved) to 1.
        """
        return (1.0 - strength * self.score(previous, target)) * self.losses(newest, target)

    @abstractmethod
    def metrics(self, logits: Tensor, target: Tensor) -> list[dict[str, float]]:
        """Return the fast metrics that are computed every epoch; ``loss``, without class weights, is always among them.

        Args:
            logits: Several predictions of the same samples, of shape (predictions, samples, outputs).
            target: Targets, one per sample.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the task as plain JSON data; :func:`~equipoise.tasks.task_from_json` is its inverse."""
