"""Inside an encoder: how well each depth tells the classes apart, and which of its channels learn slowly."""

from __future__ import annotations

from math import tanh

import torch
from torch import Tensor
from torch.nn.functional import normalize


def prototype_scores(features: Tensor, means: Tensor, seen: Tensor, target: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the probability of each sample's class by the directions of class means.

    ``softmax_k(cos(f_i, c_k) / temperature)`` at the true class; 0 where it has no mean yet.

    Args:
        features: ``f`` of shape (batch, width).
        means: ``c`` of shape (classes, width).
        seen: Which classes have a mean, booleans of shape (classes,).
        target: True class codes of shape (batch,).
        temperature: How unlike directions must be to be told apart.

    Example:
        >>> means, seen = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([True, True])
        >>> prototype_scores(torch.tensor([[1.0, 1.0], [0.0, 5.0]]), means, seen, torch.tensor([0, 1]))
        tensor([0.5000, 1.0000])
    """
    cosines = normalize(features, dim=1) @ normalize(means, dim=1).T
    lowest = torch.finfo(cosines.dtype).min
    probabilities = (cosines / temperature).masked_fill(~seen, lowest).softmax(1)
    return probabilities.gather(1, target[:, None]).squeeze(1) * seen[target]


def relative_movement(now: Tensor, before: Tensor) -> Tensor:
    """Return how far the weights of each output channel have moved, in parts of their length.

    Args:
        now: Weights of shape (channels, weights per channel).
        before: Earlier weights of the same shape.

    Example:
        >>> relative_movement(torch.tensor([[3.0], [2.0]]), torch.tensor([[2.0], [2.0]]))
        tensor([0.5000, 0.0000])
    """
    change: Tensor = (now - before).norm(dim=1) / before.norm(dim=1).clamp_min(1e-12)
    return change


def slow_channels(movement: Tensor, share: float) -> Tensor:
    """Return which channels move least.

    Args:
        movement: How far each channel has moved, of shape (channels,).
        share: The share of them that is called slow.

    Example:
        >>> slow_channels(torch.tensor([0.3, 0.1, 0.2, 0.4]), 0.5)
        tensor([False,  True,  True, False])
    """
    slow = torch.zeros_like(movement, dtype=torch.bool)
    slow[movement.argsort(stable=True)[: int(share * len(movement))]] = True
    return slow


def depth_strength(ratio: float, kappa: float) -> float:
    """Return how strongly a depth of a modality is modulated: ``tanh(kappa max(0, ratio - 1))``.

    Args:
        ratio: The modality's score at this depth by the mean of the others' scores.
        kappa: How fast the strength rises.

    Example:
        >>> depth_strength(0.8, 1.0), round(depth_strength(1.5, 1.0), 4)
        (0.0, 0.4621)
    """
    return tanh(kappa * max(0.0, ratio - 1.0))
