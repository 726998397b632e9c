"""The metrics that are reported, each sample counted once: scikit-learn's, and defined wherever they can be.

What is not defined (the AUROC of a single class, anything over no samples) is None rather than a number or a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import RunError

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "nll", "brier", "ece")
"""The names of the metrics of classes, in the order in which they are shown."""

ORDINAL_METRICS = ("kappa", "mae", *METRICS)
"""Those of classes in an order."""

LABEL_METRICS = ("macro_f1", "micro_f1", "subset_accuracy", "map", "auroc", "nll", "brier", "ece")
"""Those of labels."""

VALUE_METRICS = ("r2", "mse", "rmse", "mae")
"""Those of numbers."""


def task_metrics(
    task: str, predicted: NDArray[np.floating], target: NDArray[np.integer] | NDArray[np.floating]
) -> dict[str, float | None]:
    """Compute all metrics of the predictions of a task.

    Args:
        task: One of :data:`~equipoise.data.schema.TASKS`.
        predicted: Probabilities, or predicted numbers, of shape (samples, outputs).
        target: Class codes of shape (samples,), or labels or numbers of shape (samples, outputs).

    Raises:
        ValueError: The shapes do not fit each other.
        RunError: The values are no predictions, e.g. not finite.
    """
    return _BY_TASK[task](predicted, target)


def classification_metrics(probabilities: NDArray[np.floating], target: NDArray[np.integer]) -> dict[str, float | None]:
    """Compute all metrics of a classifier's probabilities.

    ``balanced_accuracy`` is the recall averaged over the classes that have samples; ``macro_f1`` is averaged over the classes
    among targets or predictions; ``auroc`` is that of class 1 when there are two classes and otherwise one class against the
    rest, averaged over the classes that have samples; ``nll`` is in nats; ``brier`` is summed over the classes; ``ece`` has 15
    bins, see :func:`equipoise.functional.metrics.expected_calibration_error`.

    Args:
        probabilities: Probabilities of shape (samples, classes); each row is brought to a sum of one.
        target: True class codes of shape (samples,).

    Returns:
        The metrics by the names in :data:`METRICS`; None where one is not defined.

    Raises:
        ValueError: The shapes do not fit each other or a class code is out of range.
        RunError: The values are no probabilities, e.g. not finite.

    Example:
        >>> values = classification_metrics(np.array([[0.8, 0.2], [0.4, 0.6], [0.7, 0.3]]), np.array([0, 1, 1]))
        >>> round(values["accuracy"], 3), values["auroc"]
        (0.667, 1.0)
    """
    probabilities, predicted = _checked(probabilities, target)
    if len(target) == 0:
        return dict.fromkeys(METRICS)

    import torch
    from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score

    from equipoise.functional import metrics

    tensors = torch.from_numpy(probabilities), torch.from_numpy(np.ascontiguousarray(target, dtype=np.int64))
    values = {
        "accuracy": accuracy_score(target, predicted),
        "balanced_accuracy": recall_score(target, predicted, labels=np.unique(target), average="macro", zero_division=0),
        "macro_f1": f1_score(target, predicted, average="macro", zero_division=0),
        "auroc": _auroc(probabilities, target),
        "nll": log_loss(target, probabilities, labels=np.arange(probabilities.shape[1])),
        "brier": metrics.brier_score(*tensors),  # scikit-learn has that of several classes only since 1.7
        "ece": metrics.expected_calibration_error(*tensors),
    }
    return {name: None if value is None else float(value) for name, value in values.items()}


def ordinal_metrics(probabilities: NDArray[np.floating], target: NDArray[np.integer]) -> dict[str, float | None]:
    """Compute all metrics of probabilities of classes that have an order.

    ``kappa`` is Cohen's with quadratic weights; ``mae`` the mean distance of the predicted class from the true one, in classes;
    the others are those of :func:`classification_metrics`.

    Args:
        probabilities: Probabilities of shape (samples, classes), the classes in their order.
        target: True class codes of shape (samples,).

    Returns:
        The metrics by the names in :data:`ORDINAL_METRICS`; None where one is not defined.

    Raises:
        ValueError: The shapes do not fit each other or a class code is out of range.
        RunError: The values are no probabilities, e.g. not finite.

    Example:
        >>> ordinal_metrics(np.eye(3)[[0, 1, 1]], np.array([0, 1, 2]))["mae"]
        0.3333333333333333
    """
    plain = classification_metrics(probabilities, target)
    if len(target) == 0:
        return dict.fromkeys(ORDINAL_METRICS)

    from sklearn.metrics import cohen_kappa_score

    predicted = probabilities.argmax(1)
    several = len(np.union1d(predicted, target)) > 1
    kappa = float(cohen_kappa_score(target, predicted, weights="quadratic")) if several else None
    return {"kappa": kappa, "mae": float(np.abs(predicted - target).mean()), **plain}


def multilabel_metrics(probabilities: NDArray[np.floating], target: NDArray[np.floating]) -> dict[str, float | None]:
    """Compute all metrics of the probabilities of labels; a label is predicted from probability 1/2 on.

    ``macro_f1`` is averaged over the labels among targets or predictions, ``micro_f1`` is that of all labels together;
    ``subset_accuracy`` is the share of samples of which every label is right; ``map`` (mean average precision) and ``auroc`` are
    averaged over the labels that some samples have and some have not; ``nll``, in nats, and ``brier`` are averaged over labels;
    ``ece`` takes each label of each sample as a decision between two.

    Args:
        probabilities: Probabilities of shape (samples, labels).
        target: Labels, 0 or 1 of shape (samples, labels).

    Returns:
        The metrics by the names in :data:`LABEL_METRICS`; None where one is not defined.

    Raises:
        ValueError: The shapes do not fit each other.
        RunError: The values are no probabilities, e.g. not finite.

    Example:
        >>> values = multilabel_metrics(np.array([[0.9, 0.2], [0.4, 0.6]]), np.array([[1.0, 0.0], [1.0, 1.0]]))
        >>> values["subset_accuracy"], values["micro_f1"]
        (0.5, 0.8)
    """
    if probabilities.ndim != 2 or target.shape != probabilities.shape:
        raise ValueError(f"probabilities of shape {probabilities.shape} do not fit targets of shape {target.shape}")
    rows, truth = probabilities.astype(np.float64), target > 0.5
    if not ((rows >= 0) & (rows <= 1)).all():
        raise RunError("the model gives values that are no probabilities: its training diverged or its inputs are not finite")
    if len(target) == 0:
        return dict.fromkeys(LABEL_METRICS)

    import torch
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

    from equipoise.functional import metrics

    predicted = rows >= 0.5
    seen, both = np.flatnonzero((truth | predicted).any(0)), np.flatnonzero(truth.any(0) & ~truth.all(0))
    pairs = torch.from_numpy(np.stack([1 - rows, rows], 2).reshape(-1, 2)), torch.from_numpy(truth.reshape(-1).astype(np.int64))
    sure = np.where(truth, rows, 1 - rows)
    return {
        "macro_f1": float(f1_score(truth, predicted, labels=seen, average="macro", zero_division=0)) if len(seen) else None,
        "micro_f1": float(f1_score(truth, predicted, average="micro", zero_division=0)) if len(seen) else None,
        "subset_accuracy": float(accuracy_score(truth, predicted)),
        "map": float(average_precision_score(truth[:, both], rows[:, both])) if len(both) else None,
        "auroc": float(roc_auc_score(truth[:, both], rows[:, both])) if len(both) else None,
        "nll": float(-np.log(sure.clip(np.finfo(np.float64).tiny)).mean()),
        "brier": float(np.square(1 - sure).mean()),
        "ece": float(metrics.expected_calibration_error(*pairs)),
    }


def regression_metrics(predicted: NDArray[np.floating], target: NDArray[np.floating]) -> dict[str, float | None]:
    """Compute all metrics of predicted numbers, in the units of the target, averaged over the outputs.

    Args:
        predicted: Predicted numbers of shape (samples, outputs).
        target: True numbers of shape (samples, outputs).

    Returns:
        The metrics by the names in :data:`VALUE_METRICS`; None where one is not defined, as ``r2`` of equal targets.

    Raises:
        ValueError: The shapes do not fit each other.
        RunError: The values are not finite.

    Example:
        >>> regression_metrics(np.array([[1.0], [4.0]]), np.array([[1.0], [2.0]]))["mse"]
        2.0
    """
    if predicted.ndim != 2 or target.shape != predicted.shape:
        raise ValueError(f"predictions of shape {predicted.shape} do not fit targets of shape {target.shape}")
    if not np.isfinite(predicted).all():
        raise RunError("the model gives values that are no numbers: its training diverged or its inputs are not finite")
    if len(target) == 0:
        return dict.fromkeys(VALUE_METRICS)

    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    varied = bool((target.min(0) < target.max(0)).all())
    squares = mean_squared_error(target, predicted, multioutput="raw_values")
    return {
        "r2": float(r2_score(target, predicted)) if varied else None,
        "mse": float(np.mean(squares)),
        "rmse": float(np.mean(np.sqrt(squares))),
        "mae": float(mean_absolute_error(target, predicted)),
    }


_BY_TASK: dict[str, Callable[..., dict[str, float | None]]] = {
    "classification": classification_metrics,
    "ordinal": ordinal_metrics,
    "multilabel": multilabel_metrics,
    "regression": regression_metrics,
}


def class_report(
    probabilities: NDArray[np.floating], target: NDArray[np.integer], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Compute precision, recall and F1 of each class.

    Args:
        probabilities: Probabilities of shape (samples, classes).
        target: True class codes of shape (samples,).
        classes: The class names in the order of their codes.

    Returns:
        Per class a mapping with ``class``, ``precision``, ``recall``, ``f1`` and ``support``, the number of its samples. A class
        that is never predicted has precision 0, one without samples recall 0.

    Raises:
        ValueError: The shapes do not fit each other or a class code is out of range.
        RunError: The values are no probabilities, e.g. not finite.

    Example:
        >>> class_report(np.array([[0.8, 0.2], [0.7, 0.3]]), np.array([0, 1]), ["cat", "dog"])[0]
        {'class': 'cat', 'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666, 'support': 1}
    """
    probabilities, predicted = _checked(probabilities, target)
    if len(classes) != probabilities.shape[1]:
        raise ValueError(f"{len(classes)} class names for probabilities of {probabilities.shape[1]} classes")
    if len(target) == 0:
        return [{"class": name, "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0} for name in classes]

    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(target, predicted, labels=np.arange(len(classes)), zero_division=0)
    return [
        {"class": name, "precision": float(precision), "recall": float(recall), "f1": float(f1), "support": int(support)}
        for name, precision, recall, f1, support in zip(classes, *columns, strict=True)
    ]


def _checked(probabilities: NDArray[np.floating], target: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return probabilities as float64 rows that sum to one, and the predicted class codes."""
    if probabilities.ndim != 2 or target.shape != probabilities.shape[:1]:
        raise ValueError(f"probabilities of shape {probabilities.shape} do not fit targets of shape {target.shape}")
    if len(target) and (target.min() < 0 or target.max() >= probabilities.shape[1]):
        raise ValueError(f"class codes {target.min()} to {target.max()} are out of range for {probabilities.shape[1]} classes")
    rows = probabilities.astype(np.float64)
    if not (np.isfinite(rows).all() and (rows >= 0).all() and (rows.sum(1) > 0).all()):
        raise RunError("the model gives values that are no probabilities: its training diverged or its inputs are not finite")
    rows /= rows.sum(1, keepdims=True)
    return rows, rows.argmax(1)


def _auroc(probabilities: NDArray[np.float64], target: NDArray[np.integer]) -> float | None:
    """Return the area under the ROC curve, averaged over the classes that have samples on both sides."""
    from sklearn.metrics import roc_auc_score

    present = np.unique(target)
    if len(present) < 2:
        return None
    codes = np.array([1]) if probabilities.shape[1] == 2 else present
    return float(np.mean([roc_auc_score(target == code, probabilities[:, code]) for code in codes]))
