"""What a diagnosis asks of a task: what counts as right, what a guess is worth, and in which words results are told."""

from __future__ import annotations

from torch import Tensor

from equipoise.diagnosis.grading.base import Grading, Terms
from equipoise.diagnosis.grading.classes import ClassGrading, OrdinalGrading
from equipoise.diagnosis.grading.labels import LabelGrading
from equipoise.diagnosis.grading.values import ValueGrading
from equipoise.tasks import Task

__all__ = ["GRADINGS", "Grading", "Terms", "make_grading"]

GRADINGS: dict[str, type[Grading]] = {
    "classification": ClassGrading,
    "ordinal": OrdinalGrading,
    "multilabel": LabelGrading,
    "regression": ValueGrading,
}
"""The grading of each task."""


def make_grading(task: Task, names: tuple[str, ...], train: Tensor) -> Grading:
    """Return how predictions of a task are graded.

    Args:
        task: The task.
        names: The classes, the labels, or the names of the numbers.
        train: Targets of the training samples.
    """
    return GRADINGS[task.name](task, names, train)
