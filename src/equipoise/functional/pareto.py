"""Gradients of two losses that may conflict: their minimum-norm combination, and MMPareto's use of it."""

from __future__ import annotations

import torch
from torch import Tensor


def min_norm_pair(first: Tensor, second: Tensor) -> Tensor:
    """Return the weights of the shortest convex combination of two vectors.

    ``argmin_w ||w g_1 + (1 - w) g_2||`` over ``0 <= w <= 1`` is ``w = <g_2 - g_1, g_2> / ||g_1 - g_2||^2``, clipped.

    Args:
        first: Vector of shape (size,).
        second: Vector of shape (size,).

    Returns:
        Weights of shape (2,) that sum to 1; one half each for equal vectors.

    References:
        Sener and Koltun, NeurIPS 2018, arXiv 1810.04650; Desideri 2012.

    Example:
        >>> min_norm_pair(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])).tolist()
        [0.20000000298023224, 0.800000011920929]
    """
    difference = second - first
    square = difference.dot(difference)
    weight = torch.where(square > 0, difference.dot(second) / square, 0.5).clamp(0, 1)
    return torch.stack([weight, 1 - weight])


def mmpareto_weights(fused: Tensor, unimodal: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of the fused and the unimodal gradient of one encoder.

    One half each while they agree (cosine > 0); the minimum-norm weights while they conflict, so that neither loss rises.

    Args:
        fused: Gradient of the fused loss, of shape (size,).
        unimodal: Gradient of the modality's own loss, of shape (size,).

    Returns:
        Weights of shape (2,), and the cosine (0 where a gradient is zero).

    References:
        Wei and Hu, MMPareto, ICML 2024, arXiv 2405.17730.
    """
    norms = fused.norm() * unimodal.norm()
    cosine = torch.where(norms > 0, fused.dot(unimodal) / norms, 0.0)
    return torch.where(cosine > 0, torch.full_like(cosine, 0.5).expand(2), min_norm_pair(fused, unimodal)), cosine


def mmpareto_combine(fused: Tensor, unimodal: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """Combine the two gradients and restore the length that the combination lost.

    ``h = 2 (w_0 g_fused + w_1 g_unimodal)``; ``g = gamma * h * max(1, ||g_fused + g_unimodal|| / ||h||)``.

    Args:
        fused: Gradient of the fused loss, of any shape.
        unimodal: Gradient of the modality's own loss, of the same shape.
        weights: Their weights, of shape (2,).
        gamma: Factor on the length; larger gradients keep the noise of stochastic descent, and with it generalisation.

    References:
        Wei and Hu, MMPareto, ICML 2024, arXiv 2405.17730.
    """
    combined = 2 * (weights[0] * fused + weights[1] * unimodal)
    length = combined.norm()
    stretch = torch.where(length > 0, (fused + unimodal).norm() / length, 1.0).clamp_min(1.0)
    return combined * (gamma * stretch)
