"""How much a branch over-fits for what it learns, and the weight of its loss that follows."""

from __future__ import annotations

from torch import Tensor

_LEAST = 0.01
"""A smaller gain or change of the gap, in nats, is noise and counts as this much (our choice)."""


def blending_weights(before: Tensor, after: Tensor) -> Tensor:
    """Return loss weights that minimise the ratio of over-fitting to generalisation.

    ``w_k`` is proportional to ``G_k / O_k^2``: ``G`` is by how much the validation loss of branch k fell, ``O`` by how much the
    gap of validation and training loss changed. The published formula divides by zero where the gap did not change, and has no
    weight for a branch whose validation loss rose; here ``G`` and ``|O|`` count as at least 0.01 (our choice).

    Args:
        before: Training and validation loss of each branch at first, of shape (2, branches); nan where it cannot be measured.
        after: The same after training the branch.

    Returns:
        Weights of shape (branches,) that sum to 1; 0 for a branch that was not measured.

    References:
        Wang, Tran and Feiszli, "What makes training multi-modal classification networks hard?", CVPR 2020, arXiv 1905.12681.

    Example:
        >>> import torch
        >>> start = torch.ones(2, 2)
        >>> blending_weights(start, torch.tensor([[0.4, 0.1], [0.5, 0.5]]))
        tensor([0.9412, 0.0588])
    """
    gain = (before[1] - after[1]).clamp_min(_LEAST)
    gap = ((after[1] - after[0]) - (before[1] - before[0])).abs().clamp_min(_LEAST)
    ratio = (gain / gap.square()).nan_to_num(nan=0.0)
    return ratio / ratio.sum()
