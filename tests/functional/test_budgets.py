"""Budgets equal naive loops and closed forms, and order modalities as they should."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from equipoise.errors import ConfigError, DataError
from equipoise.functional.budgets import (
    alignment_strength,
    anchor,
    bootstrap_interval,
    budget,
    grounded_budget,
    label_entropy,
    mean_entropy,
    measure,
    prior,
    temperature_scale,
)


def predictions(samples: int = 400, classes: int = 4, signal: float = 2.0) -> tuple[Tensor, Tensor]:
    labels = torch.arange(samples) % classes
    return torch.randn(samples, classes, dtype=torch.float64) + signal * F.one_hot(labels, classes), labels


def test_entropy_and_budgets_equal_naive_loops() -> None:
    logits, labels = predictions(20)
    entropies, losses = [], []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total = sum(math.exp(value) for value in row)
        p = [math.exp(value) / total for value in row]
        entropies.append(-sum(value * math.log(value) for value in p))
        losses.append(-math.log(p[label]))
    assert mean_entropy(logits).item() == pytest.approx(sum(entropies) / 20)
    assert budget(logits).item() == pytest.approx(math.log(4) - sum(entropies) / 20)
    assert grounded_budget(logits, labels).item() == pytest.approx(math.log(4) - sum(losses) / 20)


def test_entropy_at_its_ends() -> None:
    assert mean_entropy(torch.zeros(3, 5)).item() == pytest.approx(math.log(5))
    assert mean_entropy(torch.tensor([[1e4, 0.0, -1e4]])).item() == 0
    assert mean_entropy(torch.tensor([[0.0, -math.inf]])).item() == 0
    assert budget(torch.zeros(3, 5)).item() == pytest.approx(0, abs=1e-6)
    assert budget(torch.zeros(3, 1)).item() == 0


@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_temperature_equals_an_optimiser(scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    logits, labels = predictions()
    logits = logits * scale
    best = minimize_scalar(
        lambda t: F.cross_entropy(logits / math.exp(t), labels).item(), bounds=(-4, 4), method="bounded", options={"xatol": 1e-10}
    )
    assert temperature_scale(logits, labels) == pytest.approx(math.exp(best.x), rel=1e-5)


def test_temperature_undoes_a_scale_and_ignores_a_shift() -> None:
    logits, labels = predictions()
    found = temperature_scale(logits, labels)
    assert temperature_scale(3 * logits, labels) == pytest.approx(3 * found, rel=1e-9)
    assert temperature_scale(logits + torch.arange(400.0).unsqueeze(1), labels) == pytest.approx(found, rel=1e-6)
    calibrated = torch.randn(20000, 3, dtype=torch.float64) * 2
    drawn = torch.multinomial(calibrated.softmax(1), 1).squeeze(1)
    assert temperature_scale(calibrated, drawn) == pytest.approx(1, abs=0.05)


def test_temperature_at_its_limits() -> None:
    labels = torch.tensor([0, 1])
    right = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert temperature_scale(right, labels) == 0.01
    assert temperature_scale(-right, labels) == 100.0
    assert temperature_scale(torch.ones(2, 2), labels) == 1.0
    assert temperature_scale(right, labels, low=0.5) == 0.5


def test_junk_has_no_budget_once_scaled() -> None:
    """Over-confident noise buys nothing: its share is the smallest and it is never the anchor."""
    good, labels = predictions(signal=3.0)
    junk = 6 * torch.randn_like(good)
    constant = torch.zeros_like(good)
    assert budget(junk) > budget(good)  # why scaling comes first
    scaled = torch.stack([budget(logits / temperature_scale(logits, labels)) for logits in (good, junk, constant)])
    assert scaled[0] > 0.5
    assert scaled[1:].max() < 0.02
    shares = prior(scaled)
    assert shares.argmax() == anchor(scaled) == 0
    grounded = torch.stack([grounded_budget(logits, labels) for logits in (good, junk, constant)])
    assert grounded.argmax() == 0
    assert grounded[1] < 0


def test_prior() -> None:
    budgets = torch.tensor([0.9, 0.1, 0.4], dtype=torch.float64)
    shares = prior(budgets)
    expected = np.exp(budgets.numpy()) / np.exp(budgets.numpy()).sum()
    np.testing.assert_allclose(shares.numpy(), expected)
    torch.testing.assert_close(prior(budgets + 7), shares)
    torch.testing.assert_close(prior(budgets, 1e9), torch.full((3,), 1 / 3, dtype=torch.float64))
    torch.testing.assert_close(prior(budgets, 1e-9), torch.tensor([1.0, 0, 0], dtype=torch.float64))
    assert prior(torch.tensor([0.3])).tolist() == [1.0]
    assert prior(torch.tensor([math.log(2), 0.0])).max().item() == pytest.approx(2 / 3)  # the most for two classes


def test_anchor_of_equals() -> None:
    equal = torch.tensor([0.5, 0.5, 0.5])
    assert anchor(equal) == 0
    assert anchor(equal, torch.tensor([0.3, 0.2, 0.2])) == 1
    assert anchor(torch.tensor([0.5, 0.6, 0.5]), torch.tensor([0.0, 9.0, 0.0])) == 1
    assert anchor(torch.tensor([0.0])) == 0


def test_alignment_strength() -> None:
    shares = torch.tensor([0.2, 0.5, 0.3])
    torch.testing.assert_close(alignment_strength(shares, 1), torch.tensor([0.3, 0.0, 0.2]))
    assert alignment_strength(shares, 1, "constant").tolist() == [1, 0, 1]
    torch.testing.assert_close(alignment_strength(shares, 1, "inverse"), torch.tensor([0.4, 0.0, 0.6]))
    assert alignment_strength(torch.full((4,), 0.25), 2).tolist() == [0] * 4
    assert alignment_strength(torch.ones(1), 0).tolist() == [0]
    assert alignment_strength(shares, 0).tolist() == [0] * 3  # nobody is pushed away


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_entropy(torch.zeros(0, 3)), r"\(0, 3\)"),
        (lambda: grounded_budget(torch.zeros(2, 3), torch.zeros(3, dtype=torch.long)), "for 2 samples"),
        (lambda: temperature_scale(torch.tensor([[math.inf, 0.0]]), torch.tensor([0])), "logits that are not finite"),
        (lambda: prior(torch.tensor([1.0, math.nan])), "one finite number per modality"),
        (lambda: anchor(torch.zeros(2), torch.zeros(3)), "3 losses were given for 2 budgets"),
        (lambda: alignment_strength(torch.ones(2), 2), "modality 2, expected one of 0 to 1"),
    ],
)
def test_bad_data_is_named(call: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()


def test_bad_options_are_named() -> None:
    with pytest.raises(ConfigError, match="temperature is 0"):
        prior(torch.ones(2), 0)
    with pytest.raises(ConfigError, match="0 < low < high"):
        temperature_scale(torch.ones(1, 2), torch.tensor([0]), low=2, high=1)
    with pytest.raises(ConfigError, match="'gapp' is unknown, did you mean 'gap'"):
        alignment_strength(torch.ones(2), 0, "gapp")


def test_the_entropy_of_labels_takes_the_place_of_log_k() -> None:
    labels = torch.tensor([0] * 6 + [1] * 2)
    known = label_entropy(labels)
    assert known == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    constant = torch.tensor([[math.log(0.75), math.log(0.25)]]).expand(8, 2)
    assert budget(constant, known).item() == pytest.approx(0, abs=1e-6)
    assert grounded_budget(constant, labels, known).item() == pytest.approx(0, abs=1e-6)
    assert budget(constant).item() > 0.1
    with pytest.raises(DataError, match="no labels"):
        label_entropy(torch.zeros(0).long())


def test_a_measure_is_made_of_its_parts() -> None:
    logits, labels = predictions()
    logits = 4 * logits
    found, raw = measure(logits, labels, 1.2), measure(logits, labels, 1.2, calibrate=False)
    assert found["temperature"] == temperature_scale(logits, labels) > 1.5
    assert found["entropy"] == pytest.approx(budget(logits / found["temperature"], 1.2).item())
    assert found["raw"] == raw["raw"] == raw["entropy"] == pytest.approx(budget(logits, 1.2).item())
    assert raw["grounded"] == pytest.approx(1.2 - raw["loss"])
    assert raw["temperature"] == 1
    assert found["accuracy"] == pytest.approx(
        sum(int(row.argmax()) == int(y) for row, y in zip(logits, labels, strict=True)) / 400
    )
    # At the best temperature the mean loss equals the mean entropy; before, it does not.
    assert found["entropy"] == pytest.approx(found["grounded"], abs=1e-9)
    assert abs(raw["entropy"] - raw["grounded"]) > 0.1


def test_bootstrap_interval_is_that_of_the_normal_distribution_for_many_samples() -> None:
    values = torch.randn(4000, generator=torch.Generator().manual_seed(0)) * 3 + 1
    low, high = bootstrap_interval(values, 4000)
    error = float(values.std()) / math.sqrt(4000)
    assert low == pytest.approx(float(values.mean()) - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(float(values.mean()) + 1.96 * error, abs=0.15 * error)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values)
    with pytest.raises(DataError, match="expected one per sample"):
        bootstrap_interval(torch.zeros(0))
