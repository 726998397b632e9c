"""The reported metrics are scikit-learn's, defined wherever they can be, and silent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, balanced_accuracy_score, cohen_kappa_score, r2_score, roc_auc_score

from equipoise.errors import RunError
from equipoise.evaluation.metrics import (
    LABEL_METRICS,
    METRICS,
    ORDINAL_METRICS,
    VALUE_METRICS,
    class_report,
    classification_metrics,
    multilabel_metrics,
    ordinal_metrics,
    regression_metrics,
    task_metrics,
)
from equipoise.functional import metrics

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "calibration_metrics.json").read_text())


def random_case(samples: int, classes: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.ones(classes), samples), generator.integers(classes, size=samples)


def test_published_numbers() -> None:
    probabilities, target, expected = np.array(GOLDEN["probabilities"]), np.array(GOLDEN["target"]), GOLDEN["expected"]
    values = classification_metrics(probabilities, target)
    assert tuple(values) == METRICS
    assert values["macro_f1"] == pytest.approx(expected["macro_f1"], abs=1e-12)
    assert values["brier"] == pytest.approx(expected["brier"], abs=1e-12)
    assert values["nll"] == pytest.approx(expected["nll"], abs=1e-12)
    assert values["ece"] == pytest.approx(expected["ece_15_bins"], abs=1e-6)
    report = class_report(probabilities, target, ["a", "b", "c", "d"])
    assert [row["f1"] for row in report] == pytest.approx(expected["per_class_f1"], abs=1e-12)
    assert [row["support"] for row in report] == np.bincount(target).tolist()


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_metrics_equal_scikit_learn_and_the_fast_ones(classes: int) -> None:
    probabilities, target = random_case(300, classes)
    values = classification_metrics(probabilities, target)
    auroc = roc_auc_score(target, probabilities[:, 1] if classes == 2 else probabilities, multi_class="ovr")
    assert values["auroc"] == pytest.approx(auroc, abs=1e-12)
    assert values["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(target, probabilities.argmax(1)), abs=1e-12)
    fast = metrics.summary(torch.from_numpy(probabilities).log(), torch.from_numpy(target))
    assert [values[name] for name in ("accuracy", "balanced_accuracy", "macro_f1", "nll")] == pytest.approx(
        list(fast.values()), abs=1e-12
    )


@given(st.integers(1, 12), st.integers(2, 6), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_small_samples_give_numbers_or_none_and_no_warning(samples: int, classes: int, seed: int) -> None:
    probabilities, target = random_case(samples, classes, seed)
    values = classification_metrics(probabilities, target)
    assert (values["auroc"] is None) == (len(set(target)) == 1)
    assert all(np.isfinite(value) for value in values.values() if value is not None)
    report = class_report(probabilities, target, [str(code) for code in range(classes)])
    assert sum(row["support"] for row in report) == samples


def test_many_classes_of_few_samples_give_no_warning() -> None:
    values = classification_metrics(np.eye(40), np.arange(40))
    assert values["accuracy"] == values["auroc"] == 1


def test_an_absent_class_counts_nowhere() -> None:
    probabilities, target = random_case(200, 4)
    target = target % 3
    values = classification_metrics(probabilities, target)
    each = [roc_auc_score(target == code, probabilities[:, code]) for code in range(3)]
    assert values["auroc"] == pytest.approx(np.mean(each), abs=1e-12)
    recall = [np.mean(probabilities.argmax(1)[target == code] == code) for code in range(3)]
    assert values["balanced_accuracy"] == pytest.approx(np.mean(recall), abs=1e-12)
    assert class_report(probabilities, target, ["a", "b", "c", "d"])[3] | {"precision": 0.0} == {
        "class": "d",
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "support": 0,
    }


@pytest.mark.parametrize("classes", [2, 3])
def test_one_class_alone_has_no_auroc(classes: int) -> None:
    probabilities, _ = random_case(10, classes)
    values = classification_metrics(probabilities, np.zeros(10, dtype=np.int64))
    assert values["auroc"] is None
    assert values["accuracy"] == values["balanced_accuracy"]


def test_no_samples_have_no_metrics() -> None:
    assert classification_metrics(np.zeros((0, 3)), np.zeros(0, dtype=np.int64)) == dict.fromkeys(METRICS)
    assert class_report(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), ["a", "b"])[1]["support"] == 0


def test_single_precision_is_enough() -> None:
    probabilities, target = random_case(100, 5)
    assert classification_metrics(probabilities.astype(np.float32), target) == pytest.approx(
        classification_metrics(probabilities, target), abs=1e-6
    )


def test_a_certain_error_has_a_finite_loss() -> None:
    values = classification_metrics(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    assert values["nll"] is not None
    assert np.isfinite(values["nll"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_what_are_no_probabilities_is_said(value: float) -> None:
    with pytest.raises(RunError, match="no probabilities"):
        classification_metrics(np.array([[value, 0.5]]), np.array([0]))


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 2\) do not fit targets of shape \(3,\)"):
        classification_metrics(np.full((2, 2), 0.5), np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="class codes -1 to 2 are out of range for 2 classes"):
        classification_metrics(np.full((2, 2), 0.5), np.array([-1, 2]))
    with pytest.raises(ValueError, match="1 class names for probabilities of 2 classes"):
        class_report(np.full((2, 2), 0.5), np.array([0, 1]), ["a"])


def random_labels(samples: int = 50, labels: int = 3) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    generator = np.random.default_rng(3)
    return generator.random((samples, labels)), generator.integers(2, size=(samples, labels)).astype(float)


def test_metrics_of_labels_are_those_of_each_label() -> None:
    probabilities, target = random_labels()
    found = task_metrics("multilabel", probabilities, target)
    assert tuple(found) == LABEL_METRICS
    sides = np.where(target > 0, probabilities, 1 - probabilities)
    assert found["nll"] == pytest.approx(-np.log(sides).mean())
    assert found["brier"] == pytest.approx(((probabilities - target) ** 2).mean())
    assert found["map"] == pytest.approx(np.mean([average_precision_score(target[:, k], probabilities[:, k]) for k in range(3)]))
    assert found["auroc"] == pytest.approx(np.mean([roc_auc_score(target[:, k], probabilities[:, k]) for k in range(3)]))
    binary = np.stack([1 - probabilities, probabilities], 2).reshape(-1, 2)
    assert found["ece"] == pytest.approx(classification_metrics(binary, target.astype(int).reshape(-1))["ece"])


def test_labels_of_one_kind_have_no_curve() -> None:
    """A label that no sample, or every sample, has is left out of averages over curves; without any other there is none."""
    probabilities, target = random_labels()
    target[:, 0] = 0
    probabilities[:, 0] = 0.1
    found, others = multilabel_metrics(probabilities, target), multilabel_metrics(probabilities[:, 1:], target[:, 1:])
    assert [found[key] for key in ("map", "auroc", "macro_f1")] == [others[key] for key in ("map", "auroc", "macro_f1")]
    nothing = multilabel_metrics(probabilities[:, :1], target[:, :1])
    assert [nothing[key] for key in ("map", "auroc", "macro_f1", "micro_f1")] == [None] * 4
    assert nothing["subset_accuracy"] == 1


def test_metrics_of_numbers_and_orders() -> None:
    generator = np.random.default_rng(0)
    predicted, target = generator.normal(size=(30, 2)), generator.normal(size=(30, 2))
    found = task_metrics("regression", predicted, target)
    assert tuple(found) == VALUE_METRICS
    assert found["r2"] == pytest.approx(r2_score(target, predicted))
    assert found["rmse"] == pytest.approx(np.sqrt(((predicted - target) ** 2).mean(0)).mean())
    assert regression_metrics(predicted[:3], np.ones((3, 2)))["r2"] is None
    probabilities, codes = random_case(40, 4)
    ordered = task_metrics("ordinal", probabilities, codes)
    assert tuple(ordered) == ORDINAL_METRICS
    assert ordered["kappa"] == pytest.approx(cohen_kappa_score(codes, probabilities.argmax(1), weights="quadratic"))
    assert ordinal_metrics(np.array([[0.9, 0.1]]), np.array([0]))["kappa"] is None


@pytest.mark.parametrize("task", ["ordinal", "multilabel", "regression"])
def test_no_samples_and_no_predictions_of_any_task(task: str) -> None:
    nothing = np.zeros((0, 2)) if task != "ordinal" else np.zeros(0, dtype=np.int64)
    assert set(task_metrics(task, np.zeros((0, 2)), nothing).values()) == {None}
    wrong = np.array([[np.nan, 0.5]])
    with pytest.raises(RunError, match="its training diverged"):
        task_metrics(task, wrong, np.array([0]) if task == "ordinal" else np.array([[0.0, 1.0]]))
    with pytest.raises(ValueError, match="do not fit targets of shape"):
        task_metrics(task, np.ones((2, 2)), np.ones((3, 2)))
