"""How much a sample counts by how difficult it is, in a course from easy to hard."""

from __future__ import annotations

import torch
from torch import Tensor

STAGES = ("easy", "medium", "hard")


def difficulty_weights(accuracy: Tensor, stage: str, floor: float = 0.0, unsolved: float = 0.25) -> Tensor:
    """Return the weight of each sample in a stage of the course (the paper's online difficulty soft weighting).

    With ``h(a) = cos(pi (a - 1/2)) = sin(pi a)``, which is 1 where half of the attempts are right and 0 where none or all are:
    ``easy``: ``h(a)`` up to ``a = 1/2``, then 1. ``medium``: ``h(a)``. ``hard``: 1 up to ``a = 1/2``, then ``h(a)``. A sample
    that was never right counts 0, in the last stage ``unsolved``.

    Args:
        accuracy: ``a``, the share of right attempts at each sample, of any shape.
        stage: ``easy``, ``medium`` or ``hard``.
        floor: Least weight.
        unsolved: Weight in the last stage of what was never right.

    Returns:
        Weights in [0, 1] of the same shape.

    References:
        Yuan et al., VL-Cogito, arXiv 2507.22607.

    Example:
        >>> difficulty_weights(torch.tensor([0.0, 0.5, 1.0]), "hard").round(decimals=3).tolist()
        [0.25, 1.0, 0.0]
    """
    low, high = {"easy": (0.0, 0.5), "medium": (0.0, 1.0), "hard": (0.5, 1.0)}[stage]
    weights = torch.sin(torch.pi * accuracy.clamp(low, high)).clamp_min(floor)  # sin(pi) is not quite 0
    return torch.where(accuracy > 0, weights, max(unsolved, floor)) if stage == "hard" else weights
