"""A task owns what "right" means: the loss, the per-sample score in [0, 1], what predictions mean, and metrics.

Methods, the loop and the models ask the task; none of them names cross-entropy or softmax.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from equipoise.errors import ConfigError
from equipoise.tasks.base import Task
from equipoise.tasks.classification import Classification, Ordinal
from equipoise.tasks.multilabel import Multilabel
from equipoise.tasks.regression import Regression

__all__ = ["Classification", "Multilabel", "Ordinal", "Regression", "Task", "main_metric", "make_task", "task_from_json"]

_CLASSES: dict[str, type[Classification]] = {item.name: item for item in (Classification, Ordinal)}
_TASKS: dict[str, type[Task]] = {**_CLASSES, Multilabel.name: Multilabel, Regression.name: Regression}


def make_task(name: str, classes: int, target: Tensor, *, balanced: bool = False) -> Task:
    """Return the task of some training samples.

    Args:
        name: One of :data:`~equipoise.data.schema.TASKS`.
        classes: Number of classes, labels or outputs.
        target: Targets of the training samples.
        balanced: Whether each class counts the same, for labels whether having and not having each of them does.

    Raises:
        ConfigError: Balance is asked for where there are no classes, or the name is unknown.
    """
    if name in _CLASSES:
        return _CLASSES[name].balanced(classes, target) if balanced else _CLASSES[name](classes)
    if name == Multilabel.name:
        return Multilabel.balanced(target) if balanced else Multilabel(classes)
    if name != Regression.name:
        raise ConfigError(f"unknown task {name!r}, expected one of {', '.join(_TASKS)}")
    if balanced:
        raise ConfigError("option: class_weights = 'balanced' is for classes and labels, the task is regression; expected none")
    return Regression.fitted(target)


def main_metric(name: str) -> str:
    """Return the metric by which models of a task are compared.

    Example:
        >>> main_metric("classification"), main_metric("regression")
        ('macro_f1', 'r2')
    """
    return _TASKS[name].main_metric


def task_from_json(value: dict[str, Any]) -> Task:
    """Rebuild a task from :meth:`Task.to_json`'s data."""
    name, rest = value["name"], {key: item for key, item in value.items() if key != "name"}
    if name not in _TASKS:
        raise ConfigError(f"unknown task {name!r}, expected one of {', '.join(_TASKS)}")
    return _TASKS[name](**rest)
