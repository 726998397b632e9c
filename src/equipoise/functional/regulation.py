"""When modalities acquire information, who is ahead, and how hard the leader is held (InfoReg)."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isfinite, tanh


def information_growth(traces: Sequence[float], span: int) -> float:
    """Return how much the information that was acquired of late has grown over the last epoch.

    ``P = (A_e - A_{e-1}) / A_e`` with ``A_e`` the mean Fisher trace of the last ``span`` epochs up to e; epochs before the first
    count as 0, as in the published code, so that ``P`` is 1 after the first epoch and falls as fewer news come.

    Args:
        traces: Trace of the Fisher information in each epoch so far, not negative.
        span: Epochs in the mean.

    Returns:
        At most 1; 0 where nothing was acquired.

    References:
        Huang, Wei, Yang and Hu, Adaptive Unimodal Regulation for Balanced Multimodal Information Acquisition, CVPR 2025, arXiv
        2503.18595.

    Example:
        >>> information_growth([4.0], 10), information_growth([4.0, 4.0], 10), information_growth([4.0] * 11, 10)
        (1.0, 0.5, 0.0)
    """
    now = sum(traces[-span:])
    before = sum(traces[-span - 1 : -1])
    return (now - before) / now if now > 0 else 0.0


def leads(scores: Sequence[float]) -> list[float]:
    """Return how far each modality is ahead of the others.

    ``gap_m = s_m - mean_{n != m} s_n``: the published code's gap for two modalities; the mean for more is our choice.

    Args:
        scores: Mean probability of the true class by each modality alone, of length modalities; nan where none was measured.

    Returns:
        Gaps of the same length; 0 where there is nothing to compare with.

    Example:
        >>> [round(gap, 6) for gap in leads([0.9, 0.5, 0.3])]
        [0.5, -0.1, -0.4]
    """
    known = [score for score in scores if isfinite(score)]
    total, others = sum(known), len(known) - 1
    return [score - (total - score) / others if isfinite(score) and others > 0 else 0.0 for score in scores]


def regulation_coefficient(gap: float, strength: float) -> float:
    """Return how hard a modality's encoder is held where it was at the start of the epoch.

    ``beta = strength exp(tanh(gap))`` if ``gap > 0``, else 0, as in the published code. It jumps as the gap crosses 0.

    Args:
        gap: How far the modality is ahead: :func:`leads`.
        strength: The coefficient of a modality that hardly leads.

    References:
        Huang et al., CVPR 2025, arXiv 2503.18595.

    Example:
        >>> regulation_coefficient(-0.1, 0.95)
        0.0
        >>> round(regulation_coefficient(0.5, 0.95), 4)
        1.5081
    """
    return strength * exp(tanh(gap)) if gap > 0 else 0.0
