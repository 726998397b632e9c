"""How much variables tell about each other: nearest-neighbour estimates of mutual information, in nats.

Estimates of this kind are for a few dimensions: the bias towards zero grows with them (at 500 samples a true value of 1 nat
spread over 8 dimensions reads about 0.4), so put outputs through :func:`represent` first, and compare only like with like.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from scipy.special import digamma
from torch import Tensor

from equipoise.errors import ConfigError, DataError

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]


def ksg(x: ArrayLike, y: ArrayLike, k: int = 5, *, jitter: float = 1e-8, seed: int = 0) -> float:
    """Estimate the mutual information of two continuous variables of any dimensions.

    ``I = psi(k) + psi(N) - mean_i [psi(n_x(i) + 1) + psi(n_y(i) + 1)]``: ``n_x(i)`` counts the other samples that are
    strictly nearer to sample ``i`` in ``x`` than its ``k``-th neighbour in the joint space, all distances in the maximum norm
    (the first estimator of the source). It may come out below 0.

    The estimate depends on the scale of ``x`` against that of ``y``; z-score the columns if they have no common unit. Our
    choice: noise is relative to the standard deviation of each column, constant columns are left out, and a variable of
    constant columns alone gives exactly 0.

    Args:
        x: Values of shape (samples, dimensions) or (samples,).
        y: Values of shape (samples, other dimensions) or (samples,).
        k: Number of neighbours; less than the number of samples.
        jitter: Size of the seeded noise that breaks ties, in standard deviations of a column; 0 adds none.
        seed: Seed of that noise.

    Returns:
        Mutual information in nats.

    Raises:
        DataError: If the lengths differ, a value is not finite, or there are no more than ``k`` samples.
        ConfigError: If ``k`` is less than 1.

    References:
        Kraskov, Stoegbauer and Grassberger, Physical Review E 69, 066138, 2004, arXiv cond-mat/0305641.

    Example:
        >>> x = np.random.default_rng(0).normal(size=500)
        >>> ksg(x, np.ones(500))
        0.0
        >>> noise = np.random.default_rng(1).normal(size=500)
        >>> bool(ksg(x, x + noise) > 0.25)  # 0.35 in truth
        True
    """
    first, second = _table(x, "x"), _table(y, "y")
    samples = len(first)
    _same_length(samples, len(second), "y")
    _neighbours(k, samples)
    generator = np.random.default_rng(seed)
    first, second = _jittered(first, jitter, generator), _jittered(second, jitter, generator)
    if not first.shape[1] or not second.shape[1]:
        return 0.0
    joint = np.hstack([first, second])
    farthest = cKDTree(joint).query(joint, k=[k + 1], p=np.inf)[0][:, 0]
    nearer = np.nextafter(farthest, 0)
    return float(digamma(k) + digamma(samples) - np.mean(digamma(_within(first, nearer)) + digamma(_within(second, nearer))))


def ross(x: ArrayLike, labels: ArrayLike, k: int = 5, *, jitter: float = 1e-8, seed: int = 0) -> float:
    """Estimate the mutual information of a continuous variable of any dimension and a class.

    ``I = psi(N) + psi(k) - mean_i psi(N_class(i)) - mean_i psi(m(i))``: ``m(i)`` counts the samples of any class, sample ``i``
    itself among them, that are strictly nearer to it (in the maximum norm) than its ``k``-th neighbour of its own class. It
    may come out below 0. Without ties this is the source's formula, and in one dimension scikit-learn's
    ``mutual_info_classif`` before its clipping at 0.

    Our choice: ``k`` is never lowered for a small class (scikit-learn lowers it, and drops classes of one sample); noise and
    constant columns as in :func:`ksg`.

    Args:
        x: Values of shape (samples, dimensions) or (samples,).
        labels: Classes of shape (samples,): integers, booleans or strings.
        k: Number of neighbours; less than the number of samples of every class.
        jitter: Size of the seeded noise that breaks ties, in standard deviations of a column; 0 adds none.
        seed: Seed of that noise.

    Returns:
        Mutual information in nats.

    Raises:
        DataError: If the lengths differ, a value is not finite, or a class has no more than ``k`` samples.
        ConfigError: If ``k`` is less than 1.

    References:
        Ross, "Mutual information between discrete and continuous data sets", PLoS ONE 9(2): e87357, 2014.

    Example:
        >>> x = np.arange(400.0)
        >>> round(ross(x, x > 199.5, k=3), 2)  # log 2 = 0.69 in truth
        0.69
    """
    values = _table(x, "x")
    samples = len(values)
    names, codes, counts = np.unique(_labels(labels, samples), return_inverse=True, return_counts=True)
    _neighbours(k, samples)
    if counts.min() <= k:
        raise DataError(f"class {names[counts.argmin()]} has {counts.min()} samples, more than k = {k} are needed in every class")
    values = _jittered(values, jitter, np.random.default_rng(seed))
    if not values.shape[1]:
        return 0.0
    farthest = np.empty(samples)
    for code in range(len(names)):
        own = values[codes == code]
        farthest[codes == code] = cKDTree(own).query(own, k=[k + 1], p=np.inf)[0][:, 0]
    inside = _within(values, np.nextafter(farthest, 0))
    return float(digamma(samples) + digamma(k) - np.mean(digamma(counts[codes])) - np.mean(digamma(inside)))


def joint_softmax_information(p: Tensor, q: Tensor, *, normalise: bool = False) -> Tensor:
    """Return the mutual information of two soft class assignments: differentiable, cheap, and bounded by ``log C``.

    ``Q = (1 / N) sum_i p_i q_i^T``; ``I = sum_ab Q_ab log(Q_ab / (Q_a. Q_.b))``. Normalised: ``I / min(H(Q_a.), H(Q_.b))``.
    It sees only what one drawn class tells about the other, hence underestimates with soft outputs.

    The source makes ``Q`` symmetric, as its two views are interchangeable; modalities are not, so we leave it as it is, and
    dividing by the smaller entropy is our choice too.

    Args:
        p: Probabilities of one modality, of shape (samples, classes).
        q: Probabilities of the other, of shape (samples, other classes).
        normalise: Return a share between 0 and 1; 0 where one of them always names the same class.

    Returns:
        A scalar, in nats unless normalised.

    Raises:
        DataError: If the lengths differ.

    References:
        Ji, Henriques and Vedaldi, "Invariant information clustering", ICCV 2019, arXiv 1807.06653.

    Example:
        >>> sure = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> joint_softmax_information(sure, sure), joint_softmax_information(sure, sure, normalise=True)
        (tensor(0.6931), tensor(1.))
    """
    if p.dim() != 2 or q.dim() != 2 or len(p) != len(q):
        raise DataError(
            f"probabilities of shapes {tuple(p.shape)} and {tuple(q.shape)} were given, expected one row per sample in each"
        )
    joint = p.T @ q / len(p)
    rows, columns = joint.sum(1), joint.sum(0)
    outer = _log(rows).unsqueeze(1) + _log(columns)
    information = (joint * (_log(joint) - outer)).sum()
    if not normalise:
        return information
    entropy = torch.minimum(-(rows * _log(rows)).sum(), -(columns * _log(columns)).sum())
    known = entropy > torch.finfo(entropy.dtype).eps * 16
    return torch.where(known, information / torch.where(known, entropy, 1.0), 0.0)


def debiased(
    estimate: float, permuted: Callable[[np.random.Generator], float], repeats: int = 20, seed: int = 0
) -> tuple[float, float]:
    """Take off what an estimator finds where there is nothing to find.

    ``max(0, estimate - mean of the estimates after permutation)``. It serves any estimator; the procedure and the clip are
    our choice.

    Args:
        estimate: The estimate on the data.
        permuted: The same estimate after the rows of one variable were permuted by the generator it is given.
        repeats: Number of permutations; at least 2.
        seed: Seed of the generator.

    Returns:
        The debiased estimate, and the standard deviation of the permuted ones: the noise floor, in the same unit.

    Raises:
        ConfigError: If there are fewer than 2 repeats.

    Example:
        >>> x = np.random.default_rng(0).normal(size=200)
        >>> value, floor = debiased(ksg(x, x**2), lambda generator: ksg(x, generator.permutation(x**2)))
        >>> value > 10 * floor
        True
    """
    if repeats < 2:
        raise ConfigError(f"{repeats} permutations were asked for, expected at least 2")
    generator = np.random.default_rng(seed)
    null = np.array([permuted(generator) for _ in range(repeats)])
    return max(0.0, estimate - float(null.mean())), float(null.std(ddof=1))


def within_class_permutation(labels: ArrayLike, generator: np.random.Generator) -> _Integers:
    """Return a random order of the samples that keeps the class at every place.

    Args:
        labels: Classes of shape (samples,).
        generator: Where the randomness comes from.

    Returns:
        Sample numbers of shape (samples,): ``labels[order] == labels``.

    Example:
        >>> labels = np.array([1, 0, 1, 0, 0])
        >>> order = within_class_permutation(labels, np.random.default_rng(0))
        >>> labels[order].tolist(), sorted(order.tolist())
        ([1, 0, 1, 0, 0], [0, 1, 2, 3, 4])
    """
    codes = np.unique(np.asarray(labels), return_inverse=True)[1]
    order = np.empty(len(codes), np.int64)
    order[np.argsort(codes, kind="stable")] = np.lexsort((generator.random(len(codes)), codes))
    return order


def within_class_information(
    x: ArrayLike, y: ArrayLike, labels: ArrayLike, k: int = 5, *, repeats: int = 20, seed: int = 0
) -> float:
    """Estimate how much of the information between two modalities is there only because both know the class.

    The mean of :func:`ksg` after the rows of ``y`` are permuted within each class, which keeps ``I(x; class)`` and
    ``I(y; class)`` but makes the two independent given the class. What ``ksg(x, y)`` has above it is shared structure beyond
    the label. It has the estimator's bias, so compare it with the raw estimate, or debias both. The measure is our choice.

    Args:
        x: Values of shape (samples, dimensions) or (samples,).
        y: Values of shape (samples, other dimensions) or (samples,).
        labels: Classes of shape (samples,).
        k: Number of neighbours.
        repeats: Number of permutations; at least 1.
        seed: Seed of the permutations.

    Returns:
        Mutual information in nats.

    Raises:
        DataError: As :func:`ksg`, or if there is not one label for each sample.
        ConfigError: If ``k`` or ``repeats`` is less than 1.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> labels, shared = np.repeat([0, 1], 100), generator.normal(size=200)
        >>> x = 3 * labels + shared
        >>> bool(ksg(x, x + 0.1) > 2 * within_class_information(x, x + 0.1, labels))
        True
    """
    if repeats < 1:
        raise ConfigError(f"{repeats} permutations were asked for, expected at least 1")
    second = _table(y, "y")
    classes = _labels(labels, len(second))
    generator = np.random.default_rng(seed)
    return float(np.mean([ksg(x, second[within_class_permutation(classes, generator)], k) for _ in range(repeats)]))


def normalised(information: float, entropy: float) -> float:
    """Bring a mutual information to the unit interval: ``rho = I / (I + H)``.

    Mutual information of continuous variables has no upper bound; this does not saturate, as ``I / H(class)`` does above 1.
    Negative estimates count as 0. The form is our choice.

    Args:
        information: Mutual information in nats.
        entropy: Entropy of the classes in nats: the scale at which ``rho`` is one half.

    Returns:
        A number in [0, 1); 0 if both are 0.

    Raises:
        DataError: If a number is not finite or the entropy is negative.

    Example:
        >>> normalised(1.0, 1.0), normalised(-0.01, 1.0), normalised(0.0, 0.0)
        (0.5, 0.0, 0.0)
    """
    if not (isfinite(information) and isfinite(entropy)) or entropy < 0:
        raise DataError(
            f"information {information} and entropy {entropy} were given, expected finite numbers and an entropy from 0"
        )
    information = max(information, 0.0)
    return information / (information + entropy) if information else 0.0


def label_entropy(labels: ArrayLike) -> float:
    """Return the entropy of the class frequencies: ``H = - sum_c f_c log f_c``.

    Args:
        labels: Classes of shape (samples,): integers, booleans or strings.

    Returns:
        Entropy in nats.

    Raises:
        DataError: If there are no samples, or labels are not one per sample.

    Example:
        >>> round(label_entropy([0, 1, 0, 1]), 4)
        0.6931
    """
    values = np.asarray(labels)
    shares = np.unique(_labels(values, values.size), return_counts=True)[1] / values.size
    return abs(float(-(shares * np.log(shares)).sum()))


def represent(logits: ArrayLike) -> _Floats:
    """Turn logits into the few coordinates on which information is estimated.

    Log-probabilities centred over the classes of each sample (equal to the centred logits: the normaliser cancels), projected
    on their first ``C - 1`` principal axes - all of them, as centred logits have rank ``C - 1`` - and z-scored. Directions
    without variance become columns of zeros. The whole step is our choice.

    Args:
        logits: Logits or log-probabilities of shape (samples, classes), out of sample.

    Returns:
        Coordinates of shape (samples, classes - 1), or (samples, samples - 1) where that is less: mean 0 and variance 1.

    Raises:
        DataError: If there are fewer than 2 samples or classes, or a value is not finite.

    Example:
        >>> represent([[2.0, 0.0], [0.0, 2.0]]).round(3).tolist()
        [[1.0], [-1.0]]
    """
    values = _table(logits, "logits")
    samples, classes = values.shape
    if samples < 2 or classes < 2:
        raise DataError(f"logits of {samples} samples and {classes} classes were given, expected at least 2 of each")
    values = values - values.mean(1, keepdims=True)
    left, singular, right = np.linalg.svd(values - values.mean(0), full_matrices=False)
    size = min(classes, samples) - 1
    # A coordinate's sign is arbitrary: the largest entry of its axis is made positive.
    signs = np.sign(np.take_along_axis(right, np.abs(right).argmax(1)[:, None], axis=1))[:size, 0]
    noise = np.finfo(np.float64).eps * max(values.shape) * max(singular[0], np.abs(values).max())
    return np.asarray(left[:, :size] * (np.sqrt(samples) * signs * (singular[:size] > noise)), np.float64)


def _table(values: ArrayLike, name: str) -> _Floats:
    table = np.asarray(values, np.float64)
    if table.ndim not in (1, 2):
        raise DataError(f"{name} has {table.ndim} axes, expected (samples,) or (samples, dimensions)")
    if not np.isfinite(table).all():
        raise DataError(f"{name} has values that are not finite, expected numbers only")
    return table.reshape(len(table), -1) if table.size else table.reshape(len(table), 0)


def _labels(labels: ArrayLike, samples: int) -> NDArray[Any]:
    values = np.asarray(labels)
    if values.ndim != 1 or len(values) != samples or not samples:
        raise DataError(
            f"labels of shape {values.shape} were given for {samples} samples, expected one for each, and at least one"
        )
    return values


def _same_length(first: int, second: int, name: str) -> None:
    if first != second:
        raise DataError(f"{name} has {second} samples, expected {first}, as many as the other variable")


def _neighbours(k: int, samples: int) -> None:
    if k < 1:
        raise ConfigError(f"k is {k}, expected at least 1 neighbour")
    if samples <= k:
        raise DataError(f"{samples} samples were given, more than k = {k} are needed")


def _jittered(values: _Floats, jitter: float, generator: np.random.Generator) -> _Floats:
    """Leave out constant columns and break ties in the others."""
    values = values[:, np.ptp(values, axis=0) > 0]
    return values + jitter * values.std(0) * generator.standard_normal(values.shape) if jitter else values


def _within(values: _Floats, radii: _Floats) -> _Integers:
    """Count the samples no farther than the radius of each sample, itself among them."""
    counts: _Integers = cKDTree(values).query_ball_point(values, radii, p=np.inf, return_length=True)
    return counts


def _log(values: Tensor) -> Tensor:
    return values.clamp_min(torch.finfo(values.dtype).tiny).log()
