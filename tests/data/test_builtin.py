"""The information that the synthetic set claims is checked against integrals and the true posterior."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from equipoise.config import PreprocessingOptions
from equipoise.data.builtin.gaussian import Bit, channel_information, default_bits, gaussian, information, synergy_information
from equipoise.data.builtin.real import digits, wisconsin
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError

BITS = (
    Bit("redundant", {"a": 1.5, "b": 0.8, "c": 0.8}),
    Bit("independent", {"a": 0.5, "b": 1.2, "c": 0.3}),
    Bit("synergistic", {"a": 2.0, "c": 1.0}),
)


def normal(x: NDArray[np.float64], mean: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize("amplitude", [0.0, 0.1, 0.5, 1.0, 2.0, 4.0])
def test_channel_against_a_fine_integral(amplitude: float) -> None:
    x = np.linspace(-15, 15, 300_001)
    plus, minus = normal(x, amplitude), normal(x, -amplitude)
    mixture = (plus + minus) / 2
    integrand = np.where(mixture > 0, -mixture * np.log(np.maximum(mixture, 1e-300)), 0.0)
    entropy_of_noise = 0.5 * np.log(2 * np.pi * np.e)
    assert channel_information(amplitude) == pytest.approx(np.trapezoid(integrand, x) - entropy_of_noise, abs=1e-4)


def test_synergy_against_a_fine_integral() -> None:
    x = np.linspace(-9, 9, 2001)
    first, second = 2.0, 1.0
    same = np.outer(normal(x, first), normal(x, second)) + np.outer(normal(x, -first), normal(x, -second))
    other = np.outer(normal(x, first), normal(x, -second)) + np.outer(normal(x, -first), normal(x, second))
    mean = (same + other) / 4
    divergence = sum(part / 4 * np.log(np.maximum(part / 2, 1e-300) / np.maximum(mean, 1e-300)) for part in (same, other))
    value = np.trapezoid(np.trapezoid(divergence, x), x)
    assert synergy_information(first, second) == pytest.approx(value, abs=1e-3)
    assert synergy_information(second, first) == pytest.approx(synergy_information(first, second))
    assert synergy_information(first, 0.0) == pytest.approx(0.0, abs=1e-9)


def posterior(bit: Bit, seen: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Probability of +1 given what a coalition sees, by Bayes' rule with the full covariance, of shape (samples,)."""
    names = list(seen)
    if not names:
        return np.full(1, 0.5)
    x = np.stack([seen[name] for name in names])
    a = np.array([bit.amplitudes[name] for name in names])
    if bit.kind == "synergistic":
        if len(names) < 2:
            return np.full(x.shape[1], 0.5)
        agree = normal(x[0], a[0]) * normal(x[1], a[1]) + normal(x[0], -a[0]) * normal(x[1], -a[1])
        differ = normal(x[0], a[0]) * normal(x[1], -a[1]) + normal(x[0], -a[0]) * normal(x[1], a[1])
        return agree / (agree + differ)
    covariance = np.minimum.outer(a, a) / np.maximum.outer(a, a) if bit.kind == "redundant" else np.eye(len(a))
    score = 2 * a @ np.linalg.pinv(covariance) @ x
    return 1 / (1 + np.exp(-score))


@pytest.mark.parametrize("coalition", list(chain.from_iterable(combinations("abc", size) for size in (1, 2, 3))))
def test_coalitions_against_the_true_posterior(coalition: tuple[str, ...]) -> None:
    arrays = gaussian(400_000, bits=BITS, noise=0, rotate=False, seed=1)
    label = arrays["label"]
    total = 0.0
    for number, bit in enumerate(BITS):
        sign = (label >> (len(BITS) - 1 - number)) & 1
        order = {name: [other for other in BITS if name in other.amplitudes].index(bit) for name in bit.amplitudes}
        seen = {name: arrays[name][:, order[name]].astype(np.float64) for name in coalition if name in bit.amplitudes}
        plus = np.broadcast_to(posterior(bit, seen), len(label))
        right = np.where(sign == 1, plus, 1 - plus)
        total += np.log(2) + np.log(np.maximum(right, 1e-300)).mean()
    assert information(BITS, coalition) == pytest.approx(total, abs=5e-3)


def test_default_set_is_imbalanced_and_synergistic() -> None:
    bits = default_bits(3)
    strong, weak, faint = (information(bits, [name]) for name in ("strong", "weak", "faint"))
    assert strong > weak > 0.3
    assert 0 < faint < 0.05
    assert information(bits, ["strong", "weak"]) > strong + weak
    assert information(bits) <= 3 * np.log(2)
    assert information(bits, []) == 0.0


@pytest.mark.parametrize("modalities", [1, 2, 3, 5])
def test_numbers_of_modalities(modalities: int) -> None:
    arrays = gaussian(500, modalities)
    assert len(arrays) == modalities + 1
    assert len(np.unique(arrays["label"])) == 2 ** len(default_bits(modalities))
    again = gaussian(500, modalities)
    assert all((arrays[name] == again[name]).all() for name in arrays)
    assert (gaussian(500, modalities, seed=1)["label"] != arrays["label"]).any()


def test_rotation_hides_no_information() -> None:
    plain, rotated = (gaussian(1000, rotate=rotate)["strong"] for rotate in (False, True))
    assert np.linalg.matrix_rank(rotated) == plain.shape[1]
    np.testing.assert_allclose(np.linalg.norm(plain, axis=1), np.linalg.norm(rotated, axis=1), rtol=1e-4)


def test_equal_amplitudes_are_the_same_copy() -> None:
    arrays = gaussian(100, bits=[Bit("redundant", {"a": 1.0, "b": 1.0})], noise=0, rotate=False)
    np.testing.assert_array_equal(arrays["a"], arrays["b"])


def test_wrong_designs() -> None:
    with pytest.raises(ConfigError, match="kind of bit 'redundnt' is unknown, did you mean 'redundant'"):
        Bit("redundnt", {"a": 1.0})
    with pytest.raises(ConfigError, match="must be positive"):
        Bit("redundant", {"a": 0.0})
    with pytest.raises(ConfigError, match="a synergistic bit is seen by two modalities, found 1"):
        Bit("synergistic", {"a": 1.0})
    with pytest.raises(ConfigError, match="modalities = 0 is out of range"):
        gaussian(10, 0)


def test_real_sets() -> None:
    cancer, numerals = wisconsin(), digits()
    assert [cancer[name].shape for name in ("mean", "error", "worst")] == [(569, 10)] * 3
    assert sorted(set(cancer["label"])) == ["benign", "malignant"]
    upper = np.concatenate([numerals["upper_left"], numerals["upper_right"]], axis=2)
    assert upper.shape == (1797, 4, 8)
    prepared = Preprocessing.fit(open_dataset("digits"), PreprocessingOptions())
    assert prepared.shapes["lower_left"] == (1, 4, 4)
