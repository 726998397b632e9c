"""How well classes separate in a feature space: purity of clusters."""

from __future__ import annotations

from math import tanh

import numpy as np
from numpy.typing import NDArray


def purity(clusters: NDArray[np.int64], target: NDArray[np.int64]) -> float:
    """Return the purity of a clustering: ``(1 / N) sum over clusters of its largest class count``.

    Args:
        clusters: Cluster of each sample, of shape (samples,), counted from 0.
        target: Class of each sample, of shape (samples,), counted from 0.

    Returns:
        A share in (0, 1]; 1 if no cluster mixes classes.

    Example:
        >>> purity(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]))
        0.75
    """
    classes = int(target.max()) + 1
    table = np.bincount(clusters * classes + target, minlength=(int(clusters.max()) + 1) * classes).reshape(-1, classes)
    return float(table.max(1).sum() / len(target))


def relearning_strength(gap: float, strength: float) -> float:
    """Return how far an encoder is set back towards its initial weights: ``alpha = tanh(lambda * gap)``.

    Args:
        gap: Absolute difference of train and validation purity.
        strength: ``lambda``; 0 never sets back.

    References:
        Wei et al., Diagnosing and Re-learning for Balanced Multimodal Learning, ECCV 2024, arXiv 2407.09705.
    """
    return tanh(strength * gap)
