"""What each modality is worth for each sample, and how often it should be met alone."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.functional.coalitions import members_of_all, shapley_values


def modality_values(right: Tensor, present: Tensor) -> Tensor:
    """Return what each modality is worth for each sample: its Shapley value.

    ``v(S)`` is the number of modalities in S that the sample has if S predicts it rightly, else 0; so a modality is worth 1
    where each says the truth by itself.

    Args:
        right: Whether each non-empty coalition is right, booleans of shape (coalitions, batch), as
            :func:`~equipoise.functional.coalitions.members_of_all` lists them.
        present: Which samples have which modality, booleans of shape (modalities, batch).

    Returns:
        Values of shape (modalities, batch); 0 where the sample lacks the modality.

    References:
        Wei et al., Enhancing Multimodal Cooperation via Sample-level Modality Valuation, CVPR 2024, arXiv 2309.06255.

    Example:
        >>> right = torch.tensor([[True], [False], [True]])  # the first alone, the second alone, both
        >>> modality_values(right, torch.ones(2, 1, dtype=torch.bool)).flatten().tolist()
        [1.5, 0.5]
    """
    sizes = members_of_all(len(present)).to(present.device, torch.float64) @ present.to(torch.float64)
    values = torch.where(right, sizes, 0.0)
    return shapley_values(torch.cat([torch.zeros_like(values[:1]), values])) * present


def sample_copies(values: Tensor, present: Tensor) -> Tensor:
    """Return how many copies of a sample should be met with one modality alone, by what it is worth for the sample.

    ``2 max(0, 1 - phi_im)``: for two modalities the 0, 1, 2 or 3 copies of the published code.

    Args:
        values: ``phi`` of shape (modalities, batch).
        present: Which samples have which modality, booleans of the same shape.

    Example:
        >>> sample_copies(torch.tensor([[1.5], [0.5]]), torch.ones(2, 1, dtype=torch.bool)).flatten().tolist()
        [0.0, 1.0]
    """
    return 2 * (1 - values).clamp_min(0) * present


def modality_copies(values: Tensor, present: Tensor) -> Tensor:
    """Return how many copies of a sample should be met with one modality alone, by what it is worth on average.

    ``2/3 max(0, mean_{n != m} phi_n - phi_m)`` with ``phi_m`` the mean over the samples that have m: for two modalities the
    fraction of the published code, for the weaker one. The mean of the others for more is our choice.

    Args:
        values: ``phi`` of shape (modalities, batch).
        present: Which samples have which modality, booleans of the same shape.

    Example:
        >>> modality_copies(torch.tensor([[1.5, 0.9], [0.5, 0.1]]), torch.ones(2, 2, dtype=torch.bool))
        tensor([[0.0000, 0.0000],
                [0.6000, 0.6000]])
    """
    mean = (values * present).sum(1) / present.sum(1)  # nan where nobody has it
    others = (mean.nansum() - mean) / (mean.isfinite().sum() - 1).clamp_min(1)
    several = mean.isfinite().sum() > 1
    lag = torch.where(several, (others - mean).clamp_min(0).nan_to_num(), 0.0)
    return 2 / 3 * lag[:, None] * present
