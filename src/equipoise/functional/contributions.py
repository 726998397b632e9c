"""How far modalities are ahead by what they contribute, and how fast each should learn (adaptive gradient modulation)."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isfinite


def contribution_ratios(scores: Sequence[float]) -> list[float]:
    """Return how far each modality is ahead of the others.

    ``r_m = exp(M / (M - 1) (mean s - s_m))``: above 1 where a modality's contribution predicts better than the others' do.
    For two modalities it is ``exp(s_other - s_m)``.

    Args:
        scores: ``s``, mean loss of each modality's contribution, of length modalities; nan where none was measured.

    Returns:
        Ratios of the same length; 1 where there is nothing to compare with.

    References:
        Li et al., Boosting Multi-modal Model Performance with Adaptive Gradient Modulation, ICCV 2023, arXiv 2308.07686.

    Example:
        >>> [round(ratio, 4) for ratio in contribution_ratios([0.5, 1.0])]
        [1.6487, 0.6065]
    """
    known = [score for score in scores if isfinite(score)]
    if len(known) < 2:
        return [1.0] * len(scores)
    mean, factor = sum(known) / len(known), len(known) / (len(known) - 1)
    return [exp(factor * (mean - score)) if isfinite(score) else 1.0 for score in scores]


def agm_coefficient(ratio: float, usual: float, alpha: float, largest: float = 10.0) -> float:
    """Return the factor on the gradients of a modality's encoder.

    ``k = exp(alpha min(tau - r, 10))``: a modality that is further ahead than usual is slowed, one that is less so is sped up.

    Args:
        ratio: ``r`` of this batch.
        usual: ``tau``, the ratio of the scores averaged over all batches before.
        alpha: Strength; 0 switches the modulation off.
        largest: Limit of the difference.

    References:
        Li et al., ICCV 2023, arXiv 2308.07686.

    Example:
        >>> agm_coefficient(1.2, 1.2, 1.0), round(agm_coefficient(1.7, 1.2, 1.0), 4)
        (1.0, 0.6065)
    """
    return exp(alpha * min(usual - ratio, largest))
