"""Strata: which samples are alike in their target, so that each part of a split gets its share of every kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from equipoise.data.dataset import Target
from equipoise.data.schema import CLASSES

BINS = 10
"""Into how many bins numbers are put at most."""

LEAST = 10
"""Samples of a stratum of its own: a part of a tenth still gets one."""


def strata(target: Target, task: str) -> NDArray[np.int64]:
    """Return the stratum of each sample.

    Classes are strata as they are. Numbers are put into at most ten bins of equally many samples, by their mean rank where there
    are several. Labels: each combination that at least ten samples have is a stratum, and other samples are with those of the
    rarest label that they have. All our choice.

    Args:
        target: Known targets, see :class:`~equipoise.data.dataset.Dataset`.
        task: One of :data:`~equipoise.data.schema.TASKS`.

    Returns:
        Numbers from 0, of shape (samples,).

    Example:
        >>> strata(np.arange(20.0)[:, None], "regression").tolist()
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    if task in CLASSES:
        return target.astype(np.int64)
    return _by_labels(target > 0.5) if task == "multilabel" else _by_rank(target)


def _by_rank(target: Target) -> NDArray[np.int64]:
    samples = len(target)
    rank = target.argsort(0, kind="stable").argsort(0, kind="stable").mean(1)
    bins = min(BINS, max(1, samples // LEAST))
    place: NDArray[np.int64] = rank.argsort(kind="stable").argsort(kind="stable").astype(np.int64)
    return place * bins // max(1, samples)


def _by_labels(has: NDArray[np.bool_]) -> NDArray[np.int64]:
    _, combination, counts = np.unique(has, axis=0, return_inverse=True, return_counts=True)
    combination = combination.reshape(-1)
    rarity = np.where(has, has.sum(0), np.iinfo(np.int64).max)
    # samples without any label are a stratum too
    rarest = np.where(has.any(1), rarity.argmin(1), has.shape[1])
    return np.where(counts[combination] >= LEAST, combination, len(counts) + rarest).astype(np.int64)
