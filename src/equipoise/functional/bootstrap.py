"""Intervals by resampling the samples: each resample is a count per sample, so that a statistic of all is matrix products."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.errors import DataError

_AT_ONCE = 2**22


def bootstrap(
    statistic: Callable[[Tensor], Tensor], samples: int, resamples: int = 1000, seed: int = 0, groups: Tensor | None = None
) -> Tensor:
    """Return a statistic of resamples, drawn with replacement and as large as the sample itself.

    Statistics that are computed with the same seed are paired: they see the same resamples. Samples of one group (frames of
    a video, recordings of a person) are not independent: with ``groups`` whole groups are drawn, as many as there are.

    Args:
        statistic: Turns counts of shape (block, samples), how often each resample has each sample, into values of shape
            (block, ...).
        samples: Number of samples.
        resamples: Number of resamples.
        seed: Seed of the draws.
        groups: Group of each sample, codes of shape (samples,); None where samples are independent.

    Returns:
        Values of shape (resamples, ...).

    Raises:
        DataError: There is no sample.

    References:
        Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979; of groups: Davison and Hinkley,
        "Bootstrap methods and their application", Cambridge University Press 1997, section 3.8.

    Example:
        >>> values = torch.tensor([0.0, 1.0, 1.0, 2.0], dtype=torch.float64)
        >>> means = bootstrap(lambda counts: counts @ values / 4, 4)
        >>> means.shape, bool((means.mean() - 1).abs() < 0.1)
        (torch.Size([1000]), True)
    """
    if samples < 1:
        raise DataError("resamples of no samples were asked for, expected at least one sample")
    random = torch.Generator().manual_seed(seed)
    block = max(1, _AT_ONCE // samples)
    codes = None if groups is None else groups.unique(return_inverse=True)[1]
    units = samples if codes is None else int(codes.max()) + 1
    found = []
    for start in range(0, resamples, block):
        draws = torch.randint(units, (min(block, resamples - start), units), generator=random)
        counts = torch.zeros(draws.shape, dtype=torch.float64)
        counts.scatter_add_(1, draws, torch.ones_like(counts))
        found.append(statistic(counts if codes is None else counts[:, codes]))
    return torch.cat(found)


def interval(values: Tensor, level: float = 0.95) -> Tensor:
    """Return the percentile interval of resampled values.

    Args:
        values: Values of shape (resamples, ...); those that are not numbers are left out.
        level: Share of the values inside.

    Returns:
        Lower and upper ends, of shape (2, ...).

    Example:
        >>> interval(torch.arange(101.0), level=0.9).tolist()
        [5.0, 95.0]
    """
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=values.dtype)
    return values.nanquantile(ends, dim=0)


def balanced_mean(values: Tensor, target: Tensor, counts: Tensor | None = None) -> Tensor:
    """Return means over samples that are averaged over the classes: the balanced accuracy, where the values are hits.

    ``1/K sum_k (sum over samples of class k of c_i v_i) / (sum over samples of class k of c_i)`` over the K classes that have
    samples. It is linear in the values, and guessing evenly among the classes of a task has the value one over their number.

    Args:
        values: Values of shape (variables, samples).
        target: Class codes of shape (samples,).
        counts: How often each sample counts, of shape (resamples, samples); once by default.

    Returns:
        Means of shape (variables,), or (resamples, variables) where counts are given.

    Example:
        >>> hits = torch.tensor([[1.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
        >>> balanced_mean(hits, torch.tensor([0, 0, 0, 1]))
        tensor([0.8333], dtype=torch.float64)
    """
    every = torch.ones(1, len(target), dtype=values.dtype) if counts is None else counts.to(values.dtype)
    total = every.new_zeros(len(every), len(values))
    classes = every.new_zeros(len(every), 1)
    for code in target.unique():
        own = target == code
        weight = every[:, own].sum(1, keepdim=True)
        total += (every[:, own] @ values[:, own].T) / weight.clamp_min(1)
        classes += weight > 0
    means = total / classes
    return means[0] if counts is None else means
