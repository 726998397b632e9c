"""How often the features of the leading modality are dropped."""

from __future__ import annotations

from math import tanh


def drop_probability(ratio: float, base: float, strength: float, largest: float = 0.9) -> float:
    """Return the probability with which the features of a modality are dropped.

    ``q = q_base (1 + lambda tanh(rho - 1))`` if ``rho > 1``, else 0.

    Args:
        ratio: Discrepancy ratio ``rho`` of the modality: :func:`~equipoise.functional.modulation.discrepancy_ratios`.
        base: ``q_base``, the probability of a modality that hardly leads.
        strength: ``lambda``, how much it grows with the lead.
        largest: Limit; below 1 so that the leading modality is never gone for good. Our choice.

    References:
        Wei et al., On-the-fly Modulation for Balanced Multimodal Learning, TPAMI 2024, arXiv 2410.11582.

    Example:
        >>> drop_probability(0.9, 0.5, 0.5)
        0.0
        >>> round(drop_probability(2.0, 0.5, 0.5), 4)
        0.6904
    """
    return min(base * (1.0 + strength * tanh(ratio - 1.0)), largest) if ratio > 1 else 0.0
