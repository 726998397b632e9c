r"""Synthetic modalities whose class information is known exactly.

The class of a sample is a string of independent fair bits (written as -1 and +1). Each bit :math:`B` reaches the
modalities through Gaussian channels of unit noise, in one of three ways, with an amplitude :math:`a_m` per modality:

``redundant``
    :math:`X_m = a_m (B + W(1 / a_m^2))` with one Brownian path :math:`W`: a weaker copy is the strongest copy with noise
    added, and equal amplitudes are identical copies. A coalition knows what its strongest member knows:
    :math:`I(X_S; B) = C(\max_{m \in S} a_m)`. With one modality the information is unique to it.
``independent``
    :math:`X_m = a_m B + N_m`: copies with noise of their own, which a coalition averages:
    :math:`I(X_S; B) = C(\sqrt{\sum_{m \in S} a_m^2})`.
``synergistic``
    :math:`B = L_1 L_2` (an exclusive or) of two latent fair bits, each sent to one of two modalities:
    either alone knows nothing, :math:`I(X_m; B) = 0`, and both know
    :math:`\ln 2 - \mathrm{E}\, h\left(\tfrac12 (1 + \tanh(a_1 X_1) \tanh(a_2 X_2))\right)`, with :math:`h` the binary entropy.

:math:`C(a) = \ln 2 - \mathrm{E}_{n \sim N(0, 1)} \ln(1 + e^{-2 a (a + n)})` is the information of a fair bit through a
Gaussian channel. Bits, noises and latents are independent, so the information of a coalition about the class is the sum over
the bits. Noise columns are added and the columns of each modality are rotated; neither changes the information.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import ConfigError, suggest

NODES = 200
KINDS = ("redundant", "independent", "synergistic")


@dataclass(frozen=True)
class Bit:
    """One bit of the class and how modalities see it.

    Attributes:
        kind: One of :data:`KINDS`.
        amplitudes: Amplitude in each modality that sees it.
    """

    kind: str
    amplitudes: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"gaussian: kind of bit {self.kind!r} is unknown, {suggest(self.kind, KINDS)}")
        if not self.amplitudes or min(self.amplitudes.values()) <= 0:
            raise ConfigError(f"gaussian: amplitudes {dict(self.amplitudes)} must be positive, of at least one modality")
        if self.kind == "synergistic" and len(self.amplitudes) != 2:
            raise ConfigError(f"gaussian: a synergistic bit is seen by two modalities, found {len(self.amplitudes)}")


def default_bits(modalities: int = 3) -> tuple[Bit, ...]:
    """Return the bits of the embedded set: a strong, a weaker and (from the third on) nearly uninformative modalities.

    The strong modality sees a bit of which all others have ever worse copies; the weak one has a bit of its own; one bit
    is known only to both together.

    Args:
        modalities: Number of modalities, at least 1.

    Example:
        >>> [bit.kind for bit in default_bits(2)]
        ['redundant', 'redundant', 'synergistic']
    """
    if modalities < 1:
        raise ConfigError(f"gaussian: modalities = {modalities} is out of range, expected at least 1")
    names = ["strong", "weak", "faint", *(f"faint_{number}" for number in range(2, modalities - 1))][:modalities]
    amplitudes = dict(zip(names, [2.0, 0.6, *[0.2] * modalities], strict=False))
    shared = Bit("redundant", amplitudes)
    if modalities == 1:
        return (shared,)
    return (shared, Bit("redundant", {"weak": 1.0}), Bit("synergistic", {"strong": 1.5, "weak": 1.5}))


def gaussian(
    samples: int = 2000,
    modalities: int = 3,
    *,
    bits: Sequence[Bit] | None = None,
    noise: int = 5,
    rotate: bool = True,
    seed: int = 0,
) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
    """Draw samples.

    Args:
        samples: Number of samples.
        modalities: Number of modalities of the default bits; ignored when ``bits`` are given.
        bits: The bits of the class and who sees them; there are 2 to the number of bits classes.
        noise: Columns of pure noise in each modality.
        rotate: Whether to mix the columns of each modality by a random rotation.
        seed: Seed of everything random.

    Returns:
        Per modality an array of shape (samples, columns), and ``label`` of shape (samples,): the bits as a binary number,
        the first bit the highest.

    Example:
        >>> arrays = gaussian(samples=10, modalities=2)
        >>> {name: array.shape for name, array in arrays.items()}
        {'strong': (10, 7), 'weak': (10, 8), 'label': (10,)}
    """
    bits = default_bits(modalities) if bits is None else tuple(bits)
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size=(len(bits), samples))
    names = list(dict.fromkeys(name for bit in bits for name in bit.amplitudes))
    columns: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for bit, sign in zip(bits, signs, strict=True):
        for name, column in _send(bit, sign, rng).items():
            columns[name].append(column)
    arrays: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {}
    for name in names:
        matrix = np.column_stack([*columns[name], rng.standard_normal((samples, noise))])
        if rotate:
            matrix = matrix @ np.linalg.qr(rng.standard_normal((matrix.shape[1],) * 2))[0]
        arrays[name] = matrix.astype(np.float32)
    arrays["label"] = (signs > 0).astype(np.int64).T @ (2 ** np.arange(len(bits))[::-1])
    return arrays


def _send(bit: Bit, sign: NDArray[np.float64], rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """What each modality sees of one bit, of shape (samples,)."""
    names = sorted(bit.amplitudes, key=lambda name: -bit.amplitudes[name])
    amplitudes = np.array([bit.amplitudes[name] for name in names])[:, None]
    shape = (len(names), len(sign))
    if bit.kind == "redundant":
        variances = amplitudes**-2.0
        steps = np.sqrt(np.diff(variances, axis=0, prepend=0.0)) * rng.standard_normal(shape)
        received = amplitudes * (sign + np.cumsum(steps, axis=0))
    elif bit.kind == "independent":
        received = amplitudes * sign + rng.standard_normal(shape)
    else:
        latent = rng.choice([-1.0, 1.0], size=len(sign))
        received = amplitudes * np.stack([latent, latent * sign]) + rng.standard_normal(shape)
    return dict(zip(names, received, strict=True))


def channel_information(amplitude: float) -> float:
    """Return the information of a fair bit through a Gaussian channel of unit noise, in nats.

    Args:
        amplitude: The bit is sent as plus or minus this.

    Example:
        >>> round(channel_information(0.0), 6), round(channel_information(10.0), 6)
        (0.0, 0.693147)
    """
    nodes, weights = _normal_nodes()
    return float(np.log(2) - weights @ np.logaddexp(0.0, -2 * amplitude * (amplitude + nodes)))


def synergy_information(first: float, second: float) -> float:
    """Return what two modalities together know of the exclusive or of two bits, each sent to one of them, in nats.

    Args:
        first: Amplitude in the one modality.
        second: Amplitude in the other.
    """
    nodes, weights = _normal_nodes()
    # by symmetry both latent bits are taken as +1; the mean of the sign of the product given both is the product of means
    mean = np.tanh(first * (first + nodes))[:, None] * np.tanh(second * (second + nodes))[None, :]
    plus = np.clip((1 + mean) / 2, 1e-300, 1.0)
    minus = np.clip((1 - mean) / 2, 1e-300, 1.0)
    entropy = -(plus * np.log(plus) + minus * np.log(minus))
    return float(np.log(2) - weights @ entropy @ weights)


def information(bits: Sequence[Bit], coalition: Collection[str] | None = None) -> float:
    """Return the information between some modalities together and the class, in nats.

    Args:
        bits: The bits of the class.
        coalition: Names of modalities; all of them when not given.

    Returns:
        The true mutual information, exact to better than 1e-3.

    Example:
        >>> bits = default_bits(3)
        >>> [round(information(bits, [name]), 2) for name in ("strong", "weak", "faint")]
        [0.63, 0.49, 0.02]
        >>> round(information(bits), 2)
        1.38
    """
    total = 0.0
    for bit in bits:
        seen = [amplitude for name, amplitude in bit.amplitudes.items() if coalition is None or name in coalition]
        if bit.kind == "synergistic":
            total += synergy_information(*seen) if len(seen) == 2 else 0.0
        elif seen:
            total += channel_information(max(seen) if bit.kind == "redundant" else float(np.hypot.reduce(seen)))
    return total


@cache
def _normal_nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return nodes, weights / weights.sum()
