"""Whether a difference between methods is more than chance, for results over overlapping training sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from equipoise.errors import DataError


@dataclass(frozen=True)
class PairedTest:
    """The outcome of a paired test.

    Attributes:
        difference: Mean difference, first minus second.
        low: Lower end of its 95 % confidence interval.
        high: Upper end.
        p: Two-sided p-value.
    """

    difference: float
    low: float
    high: float
    p: float


def corrected_paired_test(first: Sequence[float], second: Sequence[float], train: int, test: int) -> PairedTest:
    """Compare two methods over the same splits, corrected for training sets that overlap.

    ``t = mean(d) / sqrt((1 / J + n_test / n_train) var(d))`` with ``J - 1`` degrees of freedom, ``d`` being the ``J`` paired
    differences: resampled training sets share samples, so the naive variance ``var(d) / J`` is far too small.

    Args:
        first: Scores of the first method, one per split.
        second: Scores of the second method on the same splits.
        train: Samples in a training set.
        test: Samples in a test set.

    Returns:
        Mean difference, its interval and the p-value; p is 1 where all differences are zero, 0 where all are the same.

    Raises:
        DataError: There are fewer than two pairs, or the scores are not paired.

    References:
        Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.

    Example:
        >>> corrected_paired_test([0.9, 0.8, 0.85], [0.7, 0.75, 0.75], train=80, test=20).p < 0.2
        True
    """
    from scipy import stats

    if len(first) != len(second) or len(first) < 2:
        raise DataError(f"a paired test needs at least two pairs of scores, found {len(first)} and {len(second)}")
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    count, mean, variance = len(differences), float(differences.mean()), float(differences.var(ddof=1))
    if variance == 0:
        return PairedTest(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    error = sqrt((1 / count + test / train) * variance)
    p = float(2 * stats.t.sf(abs(mean / error), count - 1))
    reach = float(stats.t.ppf(0.975, count - 1)) * error
    return PairedTest(mean, mean - reach, mean + reach, p)


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the number of comparisons.

    In ascending order, ``p_(i)`` becomes ``max over j <= i of (m - j + 1) p_(j)``, at most 1.

    Args:
        values: The p-values.

    Returns:
        Adjusted p-values in the order given.

    References:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(values, kind="stable")
    steps = np.asarray(values, dtype=np.float64)[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(values) else steps
    return [float(value) for value in adjusted]
