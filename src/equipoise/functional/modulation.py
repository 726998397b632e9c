"""How far modalities are apart, and how hard the leading one is slowed."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, tanh


def discrepancy_ratios(scores: Sequence[float]) -> list[float]:
    """Return how far each modality is ahead of the others.

    ``rho_m = s_m / mean_{n != m} s_n``. For two modalities this is the paper's ratio ``s_m / s_n``; the mean for more is our
    choice (the paper has two).

    Args:
        scores: Mean probability of the true class by each modality alone, of length modalities; nan where none was measured.

    Returns:
        Ratios of the same length; 1 where there is nothing to compare with.

    References:
        Peng et al., Balanced Multimodal Learning via On-the-fly Gradient Modulation, CVPR 2022, arXiv 2203.15332.

    Example:
        >>> [round(ratio, 6) for ratio in discrepancy_ratios([0.6, 0.3])]
        [2.0, 0.5]
    """
    known = [score for score in scores if isfinite(score)]
    total, others = sum(known), len(known) - 1
    return [score * others / (total - score) if isfinite(score) and others > 0 and total > score else 1.0 for score in scores]


def ogm_coefficient(ratio: float, alpha: float) -> float:
    """Return the factor on the gradients of a modality's encoder.

    ``k = 1 - tanh(alpha * rho)`` if ``rho > 1``, else 1 (equation 10 of the paper). It jumps as ``rho`` crosses 1.

    Args:
        ratio: Discrepancy ratio ``rho`` of the modality.
        alpha: Strength; 0 switches the modulation off.

    References:
        Peng et al., CVPR 2022, arXiv 2203.15332.

    Example:
        >>> ogm_coefficient(0.9, 0.3)
        1.0
        >>> round(ogm_coefficient(2.0, 0.3), 4)
        0.463
    """
    return 1.0 - tanh(alpha * ratio) if ratio > 1 else 1.0
