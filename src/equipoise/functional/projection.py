"""Recursive least squares: which directions of feature space are already in use."""

from __future__ import annotations

from torch import Tensor


def recursive_projector(projector: Tensor, feature: Tensor, alpha: float) -> Tensor:
    """Take one direction out of a projector.

    ``P <- P - (P r)(P r)^T / (alpha + r^T P r)``: repeated over vectors ``r`` it is ``alpha`` times the inverse of
    ``alpha I + sum r r^T`` (Sherman and Morrison), which tends to the projector on what the vectors do not span.

    Args:
        projector: ``P``, symmetric, of shape (size, size); the identity at first.
        feature: ``r``, of shape (size,).
        alpha: How little of a used direction remains, above 0.

    Returns:
        The new projector, of shape (size, size).

    References:
        Zeng et al., Nature Machine Intelligence 2019, arXiv 1810.01256; Zhang et al., MLA, CVPR 2024, arXiv 2311.10707.

    Example:
        >>> import torch
        >>> recursive_projector(torch.eye(2), torch.tensor([1.0, 0.0]), 1.0)
        tensor([[0.5000, 0.0000],
                [0.0000, 1.0000]])
    """
    direction = projector @ feature
    return projector - direction.outer(direction) / (alpha + feature.dot(direction))
