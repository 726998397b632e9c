"""Whether a difference between methods is more than chance, for results over overlapping training sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from math import exp, inf, lgamma, sqrt

import numpy as np
from numpy.typing import NDArray

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
    from scipy import special

    if len(first) != len(second) or len(first) < 2:
        raise DataError(f"a paired test needs at least two pairs of scores, found {len(first)} and {len(second)}")
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    count, mean, variance = len(differences), float(differences.mean()), float(differences.var(ddof=1))
    if variance == 0:
        return PairedTest(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    error = sqrt((1 / count + test / train) * variance)
    p = float(2 * special.stdtr(count - 1, -abs(mean / error)))
    reach = _quantile(count - 1) * error
    return PairedTest(mean, mean - reach, mean + reach, p)


@cache
def _quantile(free: int) -> float:
    """The 97.5 % quantile of Student's t with some degrees of freedom."""
    from scipy import special

    return float(special.stdtrit(free, 0.975))


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


def mean_interval(scores: Sequence[float], train: int, test: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a mean score over resampled training sets.

    ``mean(s) +- t sqrt((1 / J + n_test / n_train) var(s))`` with ``J - 1`` degrees of freedom: the correction of
    :func:`corrected_paired_test`, since runs that share samples are not independent.

    Args:
        scores: Scores of ``J`` runs, over folds and seeds.
        train: Samples in a training set.
        test: Samples in a test set.

    Returns:
        Both ends.

    Raises:
        DataError: There are fewer than two scores.

    Example:
        >>> low, high = mean_interval([0.9, 0.8, 0.85], train=80, test=20)
        >>> low < 0.85 < high
        True
    """
    if len(scores) < 2:
        raise DataError(f"an interval needs at least two scores, found {len(scores)}")
    values = np.asarray(scores, dtype=np.float64)
    mean, variance = float(values.mean()), float(values.var(ddof=1))
    reach = _quantile(len(scores) - 1) * sqrt((1 / len(scores) + test / train) * variance)
    return mean - reach, mean + reach


@dataclass(frozen=True)
class Ranking:
    """Methods compared over many data sets.

    Attributes:
        ranks: Mean rank of each method, 1 being best.
        statistic: Friedman's statistic, corrected for ties.
        p: Its p-value: the chance of such a statistic if all methods were alike.
        f: The same as an F statistic, which is less conservative, see :func:`iman_davenport`.
        f_p: Its p-value.
        critical_difference: Mean ranks that differ by less do not differ significantly (Nemenyi, 5 %).
        pairs: The p-value of each pair of methods (Nemenyi), symmetric.
        sets: Number of data sets.
    """

    ranks: list[float]
    statistic: float
    p: float
    f: float
    f_p: float
    critical_difference: float
    pairs: list[list[float]]
    sets: int


def friedman_nemenyi(scores: Sequence[Sequence[float]]) -> Ranking:
    """Compare methods by their ranks over many data sets.

    With mean ranks ``R_j`` of ``k`` methods on ``N`` data sets Friedman's statistic is
    ``12 N / (k (k + 1)) sum_j (R_j - (k + 1) / 2)^2``, divided by ``1 - sum_ties (t^3 - t) / (N k (k^2 - 1))``, against
    chi-squared with ``k - 1`` degrees of freedom. Two methods differ if their mean ranks are ``q sqrt(k (k + 1) / (6 N))``
    apart, ``q`` being the 95 % quantile of the studentised range over ``sqrt(2)`` (Nemenyi).

    Args:
        scores: Scores of shape (data sets, methods), the larger the better; equal ones share their mean rank.

    Returns:
        Mean ranks and the tests.

    Raises:
        DataError: There are fewer than two data sets or methods.

    References:
        Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006.

    Example:
        >>> found = friedman_nemenyi([[0.9, 0.8, 0.7], [0.8, 0.7, 0.75], [0.95, 0.9, 0.8]])
        >>> found.ranks[0], round(found.critical_difference, 2)
        (1.0, 1.91)
    """
    from scipy import stats

    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise DataError(f"ranks need scores of at least two methods on at least two data sets, found shape {table.shape}")
    sets, methods = table.shape
    ranks = stats.rankdata(-table, axis=1)
    means = ranks.mean(0)
    ties = sum(float((counts**3 - counts).sum()) for counts in (np.unique(row, return_counts=True)[1] for row in ranks))
    spread = 12 * sets / (methods * (methods + 1)) * float(((means - (methods + 1) / 2) ** 2).sum())
    free = 1 - ties / (sets * methods * (methods**2 - 1))
    statistic = spread / free if free > 0 else 0.0  # every method is tied with every other on every set
    unit = sqrt(methods * (methods + 1) / (6 * sets))
    distances, which = np.unique(np.abs(means[:, None] - means[None, :]) / unit, return_inverse=True)
    return Ranking(
        [float(rank) for rank in means],
        statistic,
        float(stats.chi2.sf(statistic, methods - 1)),
        *iman_davenport(statistic, sets, methods),
        float(stats.studentized_range.ppf(0.95, methods, np.inf)) / sqrt(2) * unit,
        stats.studentized_range.sf(distances * sqrt(2), methods, np.inf)[which].reshape(methods, methods).tolist(),
        sets,
    )


def iman_davenport(statistic: float, sets: int, methods: int) -> tuple[float, float]:
    """Return Friedman's statistic as an F statistic, and its p-value.

    ``F = (N - 1) chi2 / (N (k - 1) - chi2)`` with ``k - 1`` and ``(k - 1) (N - 1)`` degrees of freedom, for ``k`` methods on
    ``N`` data sets: less conservative than chi-squared. Where all data sets order the methods alike, F is infinite and p the
    chance of that, ``(1 / k!)^(N - 1)``.

    Args:
        statistic: Friedman's statistic.
        sets: Number of data sets.
        methods: Number of methods.

    References:
        Iman and Davenport, Approximations of the Critical Region of the Friedman Statistic, Communications in Statistics 9,
        1980; Conover, Practical Nonparametric Statistics, 1999, for orders that are all alike.

    Example:
        >>> f, p = iman_davenport(9.28, sets=14, methods=4)  # Demsar 2006, section 3.2.2
        >>> round(f, 2), round(p, 2)
        (3.69, 0.02)
    """
    from scipy import stats

    rest = sets * (methods - 1) - statistic
    if rest < 1e-9 * sets:
        return inf, exp((1 - sets) * lgamma(methods + 1))
    f = (sets - 1) * statistic / rest
    return f, float(stats.f.sf(f, methods - 1, (methods - 1) * (sets - 1)))


def bayesian_signed_rank(
    differences: Sequence[float], *, region: float = 0.01, prior: float = 0.5, samples: int = 50_000, seed: int = 0
) -> tuple[float, float, float]:
    """Return how probable it is that a method is worse than, practically equal to, or better than another one.

    The differences ``z_1 ... z_q`` over data sets and a pseudo-difference ``z_0 = 0`` get weights
    ``w ~ Dirichlet(prior, 1, ..., 1)``; in each draw the largest of ``sum_ij w_i w_j [(z_i + z_j) / 2 < -region]``, the same
    in between, and above ``region`` wins.

    Args:
        differences: One mean difference per data set, first method minus second.
        region: Differences up to this are practically none.
        prior: Weight of the pseudo-difference.
        samples: Number of draws.
        seed: Seed of the draws.

    Returns:
        Probabilities of: the second method is better, practically equal, the first is better. They sum to 1.

    Raises:
        DataError: There is no difference.

    References:
        Benavoli et al., A Bayesian Wilcoxon Signed-rank Test Based on the Dirichlet Process, ICML 2014; with the region,
        Benavoli et al., Time for a Change, JMLR 18, 2017.

    Example:
        >>> worse, equal, better = bayesian_signed_rank([0.05, 0.04, 0.06, 0.03, 0.05])
        >>> better > 0.95
        True
    """
    if len(differences) == 0:
        raise DataError("the signed-rank test needs at least one difference, found none")
    values = np.concatenate([[0.0], np.asarray(differences, dtype=np.float64)])
    average = (values[:, None] + values[None, :]) / 2
    regions = np.stack([average < -region, np.abs(average) <= region, average > region]).astype(np.float64)
    weights = _weights(prior, len(values) - 1, samples, seed)
    shares = np.stack([((weights @ one) * weights).sum(1) for one in regions])
    best = shares >= shares.max(0) - 1e-12
    worse, equal, better = (best / best.sum(0)).mean(1)
    return float(worse), float(equal), float(better)


@lru_cache(maxsize=1)
def _weights(prior: float, count: int, samples: int, seed: int) -> NDArray[np.float64]:
    """Draws of weights, which are the same for every pair of methods."""
    return np.random.default_rng(seed).dirichlet([prior, *np.ones(count)], samples)


def cliques(ranks: Sequence[float], critical_difference: float) -> list[list[int]]:
    """Return the largest groups of methods that do not differ significantly: the bars of a critical-difference diagram.

    All members of a group are within the critical difference of each other, no method could be added, and groups of one are
    left out. A method may be in several groups.

    Args:
        ranks: Mean rank of each method.
        critical_difference: See :class:`Ranking`.

    Returns:
        Places of the members of each group in ``ranks``, best first, in order of the best members.

    References:
        Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006.

    Example:
        >>> cliques([1.0, 3.5, 2.0, 2.6], 1.5)
        [[0, 2], [2, 3, 1]]
    """
    order = sorted(range(len(ranks)), key=lambda place: ranks[place])
    found: list[list[int]] = []
    reached = 0
    for first, best in enumerate(order):
        end = next((at for at in range(first, len(order)) if ranks[order[at]] - ranks[best] > critical_difference), len(order))
        if end > max(reached, first + 1):
            found.append(order[first:end])
        reached = max(reached, end)
    return found
