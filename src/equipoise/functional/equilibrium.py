"""How far the contributions of modalities are from being equal."""

from __future__ import annotations

from torch import Tensor


def contribution_shares(contributions: Tensor) -> Tensor:
    """Return the share of each modality in what all contribute.

    ``pi_m = max(phi_m, 0) / sum_n max(phi_n, 0)``; equal shares where nobody contributes anything.

    Args:
        contributions: ``phi`` of shape (modalities,), of which negative ones count as 0.

    Example:
        >>> import torch
        >>> contribution_shares(torch.tensor([0.3, 0.1, -0.2]))
        tensor([0.7500, 0.2500, 0.0000])
    """
    gains = contributions.clamp_min(0)
    equal = gains.new_full(gains.shape, 1 / len(gains))
    return gains / gains.sum() if bool(gains.any()) else equal


def equilibrium_deviation(shares: Tensor) -> Tensor:
    """Return how far shares are from being equal: 0 where they are, 1 where one modality has everything.

    ``sqrt(sum_m (pi_m - 1/M)^2 / (1 - 1/M))``: the standard deviation of the shares, divided by the largest it can be; 0 for
    one modality. The source names the metric; this formula of it is our choice.

    Args:
        shares: ``pi`` of shape (modalities,), at least 0, with sum 1.

    References:
        Shi et al., Modality Equilibrium Matters, arXiv 2506.00030.

    Example:
        >>> import torch
        >>> equilibrium_deviation(torch.tensor([0.5, 0.5])), equilibrium_deviation(torch.tensor([1.0, 0.0, 0.0]))
        (tensor(0.), tensor(1.))
    """
    count = len(shares)
    return ((shares - 1 / count).square().sum() / max(1 - 1 / count, 0.5)).sqrt()
