"""The fast metrics equal scikit-learn's, published numbers and naive loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, recall_score
from torch import Tensor

from equipoise.functional import metrics

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "calibration_metrics.json").read_text())
PROBABILITIES = torch.tensor(GOLDEN["probabilities"], dtype=torch.float64)
TARGET = torch.tensor(GOLDEN["target"])
EXPECTED: dict[str, Any] = GOLDEN["expected"]


@st.composite
def codes(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    """Predicted and true class codes in which classes may be missing from either."""
    classes = draw(st.integers(2, 6))
    code = st.integers(0, classes - 1)
    pairs = draw(st.lists(st.tuples(code, code), min_size=1, max_size=30))
    predicted, target = torch.tensor(pairs).unbind(1)
    return predicted, target, classes


@given(codes())
@settings(max_examples=60, deadline=None)
def test_counts_equal_scikit_learn(case: tuple[Tensor, Tensor, int]) -> None:
    predicted, target, classes = case
    matrix = metrics.confusion(predicted, target, classes)
    assert matrix.tolist() == confusion_matrix(target, predicted, labels=range(classes)).tolist()
    assert metrics.accuracy(matrix).item() == pytest.approx(accuracy_score(target, predicted), abs=1e-12)
    assert metrics.macro_f1(matrix).item() == pytest.approx(
        f1_score(target, predicted, average="macro", zero_division=0), abs=1e-12
    )
    recall = recall_score(target, predicted, labels=target.unique(), average="macro", zero_division=0)
    assert metrics.balanced_accuracy(matrix).item() == pytest.approx(recall, abs=1e-12)


@given(codes(), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_the_summary_equals_scikit_learn(case: tuple[Tensor, Tensor, int], seed: int) -> None:
    _, target, classes = case
    logits = torch.randn(len(target), classes, generator=torch.Generator().manual_seed(seed))
    values = metrics.summary(logits.log_softmax(1), target)
    predicted = logits.argmax(1)
    assert list(values) == ["accuracy", "balanced_accuracy", "macro_f1", "loss"]
    assert values["accuracy"] == pytest.approx(accuracy_score(target, predicted), abs=1e-12)
    assert values["macro_f1"] == pytest.approx(f1_score(target, predicted, average="macro", zero_division=0), abs=1e-12)
    assert values["loss"] == pytest.approx(log_loss(target, logits.double().softmax(1), labels=range(classes)), rel=1e-5)


def test_published_numbers() -> None:
    predicted = PROBABILITIES.argmax(1)
    ece = metrics.expected_calibration_error
    assert ece(PROBABILITIES, TARGET, bins=10).item() == pytest.approx(EXPECTED["ece_10_bins"], abs=1e-6)
    assert ece(PROBABILITIES, TARGET).item() == pytest.approx(EXPECTED["ece_15_bins"], abs=1e-6)
    assert metrics.brier_score(PROBABILITIES, TARGET).item() == pytest.approx(EXPECTED["brier"], abs=1e-12)
    assert metrics.negative_log_likelihood(PROBABILITIES.log(), TARGET).item() == pytest.approx(EXPECTED["nll"], abs=1e-12)
    assert metrics.macro_f1(metrics.confusion(predicted, TARGET, 4)).item() == pytest.approx(EXPECTED["macro_f1"], abs=1e-12)


def test_macro_f1_of_absent_classes_is_as_published() -> None:
    predicted = PROBABILITIES.argmax(1)
    target = TARGET.where(TARGET != 3, 0)
    value = metrics.macro_f1(metrics.confusion(predicted, target, 4)).item()
    assert value == pytest.approx(EXPECTED["macro_f1_targets_3_as_0"], abs=1e-12)
    value = metrics.macro_f1(metrics.confusion(predicted.where(predicted != 3, 1), target, 4)).item()
    assert value == pytest.approx(EXPECTED["macro_f1_targets_3_as_0_predictions_3_as_1"], abs=1e-12)


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_calibration_error_equals_a_naive_loop(bins: int) -> None:
    probabilities = torch.randn(200, 3, dtype=torch.float64).softmax(1)
    target = torch.randint(3, (200,))
    total = 0.0
    for number in range(bins):
        inside = [
            (row.max().item(), float(row.argmax() == truth))
            for row, truth in zip(probabilities, target, strict=True)
            if number / bins <= row.max() < (number + 1) / bins
        ]
        if inside:
            confidence = sum(c for c, _ in inside) / len(inside)
            hits = sum(h for _, h in inside) / len(inside)
            total += len(inside) / 200 * abs(confidence - hits)
    assert metrics.expected_calibration_error(probabilities, target, bins).item() == pytest.approx(total, abs=1e-12)


def test_calibration_error_of_certain_predictions() -> None:
    certain = torch.eye(3)
    assert metrics.expected_calibration_error(certain, torch.tensor([0, 1, 2])).item() == 0
    assert metrics.expected_calibration_error(certain, torch.tensor([1, 2, 0])).item() == 1
    assert metrics.brier_score(certain, torch.tensor([1, 2, 0])).item() == 2


def test_over_no_samples_metrics_are_nan() -> None:
    values = metrics.summary(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert all(value != value for value in values.values())


@pytest.mark.gpu
def test_the_summary_is_the_same_on_a_gpu() -> None:
    values = metrics.summary(PROBABILITIES.log().cuda(), TARGET.cuda())
    assert values == pytest.approx(metrics.summary(PROBABILITIES.log(), TARGET), abs=1e-12)
    assert metrics.expected_calibration_error(PROBABILITIES.cuda(), TARGET.cuda()).item() == pytest.approx(
        EXPECTED["ece_15_bins"], abs=1e-6
    )
