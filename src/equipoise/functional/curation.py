"""Whether a modality learns from its own input or rides on what the others pass over to it."""

from __future__ import annotations

import torch
from torch import Tensor


def relative_speed(gradients: Tensor, weights: Tensor) -> Tensor:
    """Return how fast groups of parameters learn in a step: ``|g|^2 / |w|^2``.

    Args:
        gradients: Squared length of each group's gradient, of any shape.
        weights: Squared length of its parameters, of the same shape.

    References:
        Wu et al., ICML 2022, arXiv 2202.05306.
    """
    return gradients / weights.clamp_min(torch.finfo(weights.dtype).tiny)


def most_dependent(bypass: Tensor, own: Tensor, threshold: float) -> int | None:
    """Return the modality that learns most by the bypass, beside what it learns itself, if it stands out.

    The conditional learning speed of the others is ``log10(bypass_m / own_m)``. The modality of the largest one is chosen if it
    exceeds the smallest by more than ``threshold``; for two modalities this is the paper's rule, beyond two it is our choice.

    Args:
        bypass: Accumulated speed of the parameters that bring in other modalities, of shape (modalities,).
        own: Accumulated speed of each modality's own parameters, of shape (modalities,).
        threshold: Smallest difference that counts.

    Returns:
        Number of the modality, or None. One without any speed is left out.

    References:
        Wu et al., ICML 2022, arXiv 2202.05306.

    Example:
        >>> most_dependent(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 1.0]), 0.1)
        0
        >>> most_dependent(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 1.0]), 0.5) is None
        True
    """
    ratio = (bypass / own).log10()
    known = ratio.isfinite()
    if int(known.sum()) < 2:
        return None
    spread = ratio[known].max() - ratio[known].min()
    return int(torch.where(known, ratio, -torch.inf).argmax()) if spread > threshold else None
