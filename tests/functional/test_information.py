"""Estimates of mutual information equal other libraries', brute force, and closed forms within stated tolerances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import digamma
from scipy.stats import norm
from sklearn.feature_selection import mutual_info_classif

from equipoise.errors import ConfigError, DataError
from equipoise.functional.information import (
    debiased,
    joint_softmax_information,
    ksg,
    label_entropy,
    normalised,
    represent,
    ross,
    within_class_information,
    within_class_permutation,
)

GOLDEN = Path(__file__).parents[1] / "golden"
KSG: dict[str, Any] = json.loads((GOLDEN / "ksg_mi.json").read_text())["cases"][0]
ROSS: dict[str, Any] = json.loads((GOLDEN / "ross_mi.json").read_text())["cases"][0]
Floats = NDArray[np.float64]


def gaussians(samples: int, dimensions: int, rho: float, seed: int = 0) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(samples, dimensions))
    return x, rho * x + np.sqrt(1 - rho**2) * generator.normal(size=(samples, dimensions))


def brute_ksg(x: Floats, y: Floats, k: int) -> float:
    total = 0.0
    for i in range(len(x)):
        dx, dy = np.abs(x - x[i]).max(1), np.abs(y - y[i]).max(1)
        radius = np.sort(np.maximum(dx, dy))[k]
        total += digamma(np.sum(dx < radius)) + digamma(np.sum(dy < radius))
    return float(digamma(k) + digamma(len(x)) - total / len(x))


def brute_ross(x: Floats, labels: NDArray[np.int64], k: int) -> float:
    total = 0.0
    for i in range(len(x)):
        distance = np.abs(x - x[i]).max(1)
        radius = np.sort(distance[labels == labels[i]])[k]
        total += digamma(np.sum(labels == labels[i])) + digamma(np.sum(distance < radius))
    return float(digamma(k) + digamma(len(x)) - total / len(x))


@pytest.mark.parametrize("value", KSG["outputs"]["values"], ids=lambda value: f"d{value['d']}-rho{value['rho']}")
@pytest.mark.parametrize("k", [3, 5, 10])
def test_ksg_equals_two_libraries(value: dict[str, Any], k: int) -> None:
    dimensions, rho = value["d"], value["rho"]
    x = np.array(KSG["inputs"]["Z1"])[:, :dimensions]
    y = rho * x + np.sqrt(1 - rho**2) * np.array(KSG["inputs"]["Z2"])[:, :dimensions]
    assert ksg(x, y, k, jitter=0) == pytest.approx(value["ksg1"][str(k)], abs=1e-12)
    assert ksg(x, y, k) == pytest.approx(value["npeet_plus"][str(k)], abs=1e-4)  # the noise may flip a count


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("feature", [0, 1, 2])
def test_ross_equals_scikit_learn_golden(feature: int, k: int) -> None:
    x, labels = np.array(ROSS["inputs"]["X"])[:, feature], np.array(ROSS["inputs"]["y"])
    found = ross(x, labels, k, jitter=0)
    assert found == pytest.approx(ROSS["outputs"]["own_unclipped"][f"unclipped_own_k{k}_f{feature}"], abs=1e-12)
    assert max(found, 0) == pytest.approx(ROSS["outputs"]["mutual_info_classif_by_k"][str(k)][feature], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_ross_equals_scikit_learn_here(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, 200)
    x = labels + generator.normal(size=200)
    expected = mutual_info_classif(x[:, None], labels, n_neighbors=4, random_state=0)[0]
    assert max(ross(x, labels, 4), 0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("dimensions", [(1, 1), (2, 3), (4, 1)])
@pytest.mark.parametrize("k", [1, 4])
def test_brute_force(dimensions: tuple[int, int], k: int) -> None:
    generator = np.random.default_rng(k)
    x, y = generator.normal(size=(120, dimensions[0])), generator.normal(size=(120, dimensions[1]))
    y[:, 0] += x[:, 0]
    labels = (x[:, 0] + generator.normal(size=120) > 0).astype(np.int64)
    assert ksg(x, y, k, jitter=0) == pytest.approx(brute_ksg(x, y, k), abs=1e-12)
    assert ross(x, labels, k, jitter=0) == pytest.approx(brute_ross(x, labels, k), abs=1e-12)


@pytest.mark.parametrize(
    ("dimensions", "rho", "tolerance"), [(1, 0.0, 0.03), (1, 0.5, 0.03), (1, 0.9, 0.03), (2, 0.3, 0.05), (2, 0.8, 0.15)]
)
def test_gaussian_closed_form(dimensions: int, rho: float, tolerance: float) -> None:
    """``I = -d/2 log(1 - rho^2)``, by 3000 samples."""
    assert ksg(*gaussians(3000, dimensions, rho)) == pytest.approx(-dimensions / 2 * np.log(1 - rho**2), abs=tolerance)


def test_bias_towards_zero_grows_with_dimensions() -> None:
    """1 nat in truth each time; the reason to estimate on few coordinates."""
    found = [ksg(*gaussians(511, d, float(np.sqrt(1 - np.exp(-2 / d))))) for d in (1, 3, 8)]
    assert found[0] == pytest.approx(1.0, abs=0.1)
    assert found[0] > found[1] > found[2] > 0.2


@pytest.mark.parametrize("distance", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("extra", [0, 1])
def test_mixture_by_quadrature(distance: float, extra: int) -> None:
    """Two Gaussians at +-distance with priors .3 and .7; a column of noise changes nothing in truth."""

    def integrand(x: float) -> float:
        parts = 0.3 * norm.pdf(x, -distance), 0.7 * norm.pdf(x, distance)
        return float(sum(part * np.log(part / prior / sum(parts)) for part, prior in zip(parts, (0.3, 0.7), strict=True)))

    truth = quad(integrand, -10, 10)[0]
    generator = np.random.default_rng(0)
    labels = (generator.random(3000) < 0.7).astype(np.int64)
    x = generator.normal(size=(3000, 1 + extra))
    x[:, 0] += distance * (2 * labels - 1)
    assert ross(x, labels) == pytest.approx(truth, abs=0.03)


def test_order_scale_and_shift_do_not_matter() -> None:
    x, y = gaussians(200, 2, 0.7)
    labels = (x[:, 0] > 0).astype(np.int64)
    order = np.random.default_rng(1).permutation(200)
    assert ksg(x[order], y[order], jitter=0) == pytest.approx(ksg(x, y, jitter=0), abs=1e-12)
    assert ross(x[order], labels[order], jitter=0) == pytest.approx(ross(x, labels, jitter=0), abs=1e-12)
    assert ksg(y, x, jitter=0) == pytest.approx(ksg(x, y, jitter=0), abs=1e-12)
    assert ksg(8 * x, 8 * y) == ksg(x, y)
    assert ross(8 * x, labels) == ross(x, labels)
    assert ksg(x[:, ::-1], y, jitter=0) == ksg(x, y, jitter=0)
    assert ross(x, np.array(["b", "a"])[labels]) == ross(x, labels)


def test_constant_input_tells_nothing() -> None:
    x, y = gaussians(100, 1, 0.9)
    labels = (x[:, 0] > 0).astype(np.int64)
    assert ksg(x, np.full((100, 3), 0.1)) == 0.0
    assert ross(np.full(100, 0.1), labels) == 0.0
    assert ksg(np.hstack([x, np.ones((100, 1))]), y, jitter=0) == ksg(x, y, jitter=0)


def test_ties_are_broken_the_same_way_each_time() -> None:
    x, y = (np.random.default_rng(seed).integers(0, 5, 300).astype(np.float64) for seed in (0, 1))
    assert ksg(x, y) == ksg(x, y)
    assert abs(ksg(x, y)) < 0.1
    assert ksg(x, x) > 1  # log 5 = 1.6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ross(np.arange(20.0), [0] * 17 + [1] * 3, 3),
            "class 1 has 3 samples, more than k = 3 are needed in every",
        ),
        (lambda: ksg(np.arange(5.0), np.arange(5.0), 5), "5 samples were given, more than k = 5"),
        (lambda: ksg(np.arange(9.0), np.arange(8.0)), "y has 8 samples, expected 9"),
        (lambda: ksg(np.array([np.nan] * 9), np.arange(9.0)), "x has values that are not finite"),
        (lambda: ross(np.arange(9.0), np.zeros(8)), r"labels of shape \(8,\) were given for 9 samples"),
        (lambda: ksg(np.zeros((2, 2, 2)), np.zeros(2)), "x has 3 axes"),
        (lambda: represent([[1.0, 2.0]]), "logits of 1 samples"),
        (lambda: label_entropy([]), "labels of shape"),
        (lambda: normalised(float("nan"), 1.0), "information nan"),
        (lambda: joint_softmax_information(torch.ones(2, 2), torch.ones(3, 2)), "expected one row per sample"),
    ],
)
def test_bad_data_is_named(call: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()


def test_bad_options_are_named() -> None:
    with pytest.raises(ConfigError, match="k is 0"):
        ksg(np.arange(9.0), np.arange(9.0), 0)
    with pytest.raises(ConfigError, match="at least 2"):
        debiased(0.0, lambda _: 0.0, repeats=1)
    with pytest.raises(ConfigError, match="at least 1"):
        within_class_information(np.arange(9.0), np.arange(9.0), np.zeros(9), repeats=0)


def test_debiasing_takes_off_the_mean_of_the_permuted() -> None:
    draws = np.random.default_rng(7).normal(size=10)
    value, floor = debiased(3.0, lambda generator: float(generator.normal()), repeats=10, seed=7)
    assert value == pytest.approx(3 - draws.mean())
    assert floor == pytest.approx(draws.std(ddof=1))
    assert debiased(-5.0, lambda generator: float(generator.normal()))[0] == 0.0


def test_debiased_noise_is_within_the_floor() -> None:
    x, y = gaussians(400, 3, 0.0)
    value, floor = debiased(ksg(x, y), lambda generator: ksg(x, generator.permutation(y)))
    assert value < 3 * floor < 0.2
    x, y = gaussians(400, 3, 0.6)
    value, floor = debiased(ksg(x, y), lambda generator: ksg(x, generator.permutation(y)))
    assert value > 3 * floor


def test_within_class_order_keeps_classes_and_moves_samples() -> None:
    labels = np.random.default_rng(0).integers(0, 3, 50)
    first, second = (within_class_permutation(labels, np.random.default_rng(seed)) for seed in (1, 2))
    assert (labels[first] == labels).all()
    assert sorted(first) == list(range(50))
    assert (first != second).any()
    assert (first != np.arange(50)).any()
    alone = within_class_permutation(np.arange(4), np.random.default_rng(0))
    assert alone.tolist() == [0, 1, 2, 3]


def test_within_class_orders_are_all_equally_likely() -> None:
    generator = np.random.default_rng(0)
    firsts = [int(within_class_permutation([0, 1, 0, 0], generator)[0]) for _ in range(900)]
    assert {value: pytest.approx(300, abs=60) for value in (0, 2, 3)} == {value: firsts.count(value) for value in set(firsts)}


def test_label_only_share() -> None:
    """Independent given the class: nothing beyond the label. Shared noise: something beyond it."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 600)
    x, y = (3 * labels + generator.normal(size=600) for _ in range(2))
    assert within_class_information(x, y, labels) == pytest.approx(ksg(x, y), abs=0.06)
    assert ksg(x, x + 0.3 * generator.normal(size=600)) > within_class_information(x, x, labels) + 0.5
    assert within_class_information(x, y, np.zeros(600)) == pytest.approx(0, abs=0.03)


def test_normalised_and_entropy() -> None:
    assert normalised(3.0, 1.0) == 0.75
    assert normalised(1.0, 0.0) == 1.0
    assert label_entropy(["a", "b", "c"]) == pytest.approx(np.log(3))
    assert label_entropy([1, 1]) == 0.0
    assert label_entropy([0, 0, 0, 1]) == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))


def test_representation_has_rank_of_the_classes_and_unit_variance() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 4)) * [5, 1, 1, 1]
    found = represent(logits)
    assert found.shape == (50, 3)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(found.T @ found / 50, np.eye(3), atol=1e-12)
    centred = logits - logits.mean(1, keepdims=True)
    solution, *_ = np.linalg.lstsq(np.hstack([found, np.ones((50, 1))]), centred, rcond=None)
    np.testing.assert_allclose(np.hstack([found, np.ones((50, 1))]) @ solution, centred, atol=1e-9)  # nothing is lost
    np.testing.assert_allclose(represent(logits + np.arange(50)[:, None]), found, atol=1e-9)
    np.testing.assert_allclose(represent(torch.from_numpy(logits).log_softmax(1).numpy()), found, atol=1e-9)
    np.testing.assert_allclose(represent(10 * logits), found, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_signs_of_a_representation_do_not_depend_on_the_decomposition(seed: int) -> None:
    """The class that weighs most on an axis weighs on its positive side."""
    logits = np.random.default_rng(seed).normal(size=(50, 4)) * [5, 1, 3, 2]
    found = represent(logits)
    axes = found.T @ (logits - logits.mean(1, keepdims=True))
    assert (np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], axis=1) > 0).all()


def test_representation_of_degenerate_logits_is_zero() -> None:
    assert represent(np.full((5, 3), 0.1)).tolist() == [[0.0, 0.0]] * 5
    flat = np.random.default_rng(0).normal(size=(20, 1)) * [1.0, -1.0, 0.0]
    found = represent(flat)
    assert found.shape == (20, 2)
    np.testing.assert_allclose(found.std(0), [1, 0], atol=1e-12)
    assert represent(np.eye(3, 5)).shape == (3, 2)


def naive_joint(p: Floats, q: Floats) -> float:
    joint = sum(np.outer(a, b) for a, b in zip(p, q, strict=True)) / len(p)
    value = 0.0
    for a in range(joint.shape[0]):
        for b in range(joint.shape[1]):
            if joint[a, b] > 0:
                value += joint[a, b] * np.log(joint[a, b] / joint[a].sum() / joint[:, b].sum())
    return value


@pytest.mark.parametrize("classes", [(3, 3), (2, 5), (1, 4)])
def test_joint_softmax_information_equals_a_naive_loop(classes: tuple[int, int]) -> None:
    p, q = (torch.randn(30, size, dtype=torch.float64).softmax(1) for size in classes)
    assert float(joint_softmax_information(p, q)) == pytest.approx(naive_joint(p.numpy(), q.numpy()), abs=1e-12)


def test_joint_softmax_information_is_bounded_and_differentiable() -> None:
    sure = torch.eye(4, dtype=torch.float64).repeat(5, 1)
    assert float(joint_softmax_information(sure, sure)) == pytest.approx(np.log(4))
    assert float(joint_softmax_information(sure, sure[:, [2, 0, 1, 3]], normalise=True)) == pytest.approx(1)
    same = torch.tensor([[1.0, 0.0]]).repeat(20, 1)
    assert float(joint_softmax_information(same, torch.eye(2).repeat(10, 1))) == 0
    assert float(joint_softmax_information(same, same, normalise=True)) == 0
    logits = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    fixed = torch.randn(8, 4, dtype=torch.float64).softmax(1)
    for normalise in (False, True):
        assert torch.autograd.gradcheck(
            lambda z, n=normalise: joint_softmax_information(z, fixed, normalise=n), logits.softmax(1)
        )
    hard = sure.clone().requires_grad_()
    joint_softmax_information(hard, sure, normalise=True).backward()
    assert hard.grad is not None
    assert hard.grad.isfinite().all()
