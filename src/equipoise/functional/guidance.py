"""How fast and in which direction each encoder is let go, by what a classifier on each modality says (CGGM)."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALLEST_RISE = 1e-6
"""A total rise below this is taken for none: it may be rounding, and its shares would be arbitrary."""


def guided_factors(changes: Sequence[float], rho: float) -> list[float]:
    """Return the factor on each encoder's gradient from how the metric of its modality's classifier changed.

    ``B_m = rho (sum_{n != m} d_n) / (sum_n d_n)`` with ``d_m = max(change_m, 0)``: who improves faster than the others is
    slowed. Where no metric falls, this is the paper's formula. Where one falls, the paper's sum can be near 0 or negative, and
    so can its factors; that a metric that fell counts as one that stood still, and that all are alike
    (``B = rho (M - 1) / M``) where none rises, is our choice. Factors lie in [0, rho].

    Args:
        changes: Change of each modality's metric since the update before, of length modalities; nan where it is not known.
        rho: ``rho``, the largest factor.

    Returns:
        Factors of the same length; 1 where the change is not known and where there is nobody to compare with.

    References:
        Guo, Jin, Chen and Zhao, Classifier-guided Gradient Modulation for Enhanced Multimodal Learning, NeurIPS 2024, arXiv
        2411.01409.

    Example:
        >>> [round(factor, 6) for factor in guided_factors([0.03, 0.01], 2.0)]
        [0.5, 1.5]
        >>> guided_factors([-0.02, -0.01], 2.0)
        [1.0, 1.0]
    """
    known = {number: max(change, 0.0) for number, change in enumerate(changes) if isfinite(change)}
    if len(known) > 1 and sum(known.values()) < _SMALLEST_RISE:
        known = dict.fromkeys(known, 1.0)
    total = sum(known.values())
    return [rho * (1 - known[number] / total) if number in known and len(known) > 1 else 1.0 for number in range(len(changes))]


def head_gradient(logit_gradient: Tensor, features: Tensor) -> Tensor:
    """Return the gradient of a loss in the weights of a linear head on some features.

    ``G = sum_i (dL / dz_i) f_i^T``.

    Args:
        logit_gradient: ``dL / dz`` of shape (batch, outputs).
        features: ``f`` of shape (batch, width), zero where the modality is absent.

    Returns:
        ``G`` of shape (outputs, width).

    Example:
        >>> head_gradient(torch.tensor([[1.0, -1.0]]), torch.tensor([[2.0, 3.0, 4.0]]))
        tensor([[ 2.,  3.,  4.],
                [-2., -3., -4.]])
    """
    return logit_gradient.T @ features


def direction_loss(factors: Sequence[float], fused: Sequence[Tensor], unimodal: Sequence[Tensor]) -> Tensor:
    """Return how far the fused gradients point away from those of the classifiers.

    ``L_gm = 1/M sum_m (|B_m| - B_m cos(g_m^fused, g_m))``: between 0 (same directions) and ``2/M sum_m |B_m|`` (opposite).

    Args:
        factors: ``B`` of length modalities.
        fused: Gradient of the fused loss with each modality, of any shape.
        unimodal: Gradient of each modality's own loss, of the same shape.

    Returns:
        A number.

    References:
        Guo et al., NeurIPS 2024, arXiv 2411.01409.

    Example:
        >>> direction_loss([1.0, 0.5], [torch.ones(2), torch.ones(2)], [torch.ones(2), -torch.ones(2)])
        tensor(0.5000)
    """
    terms = [
        abs(factor) - factor * F.cosine_similarity(first.flatten(), second.flatten(), dim=0, eps=1e-30)
        for factor, first, second in zip(factors, fused, unimodal, strict=True)
    ]
    return torch.stack(terms).mean()
