"""Predictions of modalities drawn together, and how much that should count beside the labels."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

import torch
from torch import Tensor


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence of two predictions.

    ``(KL(p || m) + KL(q || m)) / 2`` with ``m = (p + q) / 2``: 0 where both agree, at most ``log 2``.

    Args:
        first: Log-probabilities of shape (..., classes).
        second: Log-probabilities of the same shape.

    Returns:
        Divergences of shape (...), in nats.

    Example:
        >>> one, other = torch.tensor([[1.0, 0.0]]).log(), torch.tensor([[0.5, 0.5]]).log()
        >>> jensen_shannon(one.clamp_min(-100), other)
        tensor([0.2158])
    """
    middle = torch.logaddexp(first, second) - log(2.0)
    return 0.5 * (first.exp() * (first - middle) + second.exp() * (second - middle)).sum(-1)


def falling_share(epoch: int) -> float:
    """Return the share of alignment in the loss of an epoch: ``1 - e^(-1 / t)``, t counted from 1.

    Args:
        epoch: The epoch, counted from 0.

    References:
        Yang et al., "Facilitating multimodal classification via dynamically learning modality gap", NeurIPS 2024.

    Example:
        >>> [round(falling_share(epoch), 3) for epoch in (0, 1, 9)]
        [0.632, 0.393, 0.095]
    """
    return 1.0 - exp(-1.0 / (epoch + 1))


def share_direction(
    held_out: Sequence[Tensor | None], alignment: Sequence[Tensor | None], classification: Sequence[Tensor | None]
) -> Tensor:
    """Return whether more or less alignment would have helped on held-out samples.

    After one step ``theta' = theta - r ((1 - a) g_class + a g_align)`` the held-out loss changes with the share a of alignment
    by ``dL / da = -r <g_held_out(theta'), g_align - g_class>``, exactly: a enters the step linearly, so no second derivative
    is needed. What is returned is the direction of descent, ``cos(g_held_out, g_align - g_class)``.

    Args:
        held_out: Gradient of the held-out loss after the step, one tensor or None per parameter.
        alignment: Gradient of the alignment loss on training samples, likewise.
        classification: Gradient of the classification loss on the same samples, likewise.

    Returns:
        A number from -1 (less) to 1 (more alignment); 0 where a gradient vanishes.

    Example:
        >>> ahead, back = [torch.tensor([1.0, 0.0])], [torch.tensor([-1.0, 0.0])]
        >>> float(share_direction(ahead, ahead, back))
        1.0
    """
    dot, norms = [], []
    for loss, first, second in zip(held_out, alignment, classification, strict=True):
        known = [item for item in (loss, first, second) if item is not None]
        if not known:
            continue
        zero = torch.zeros_like(known[0])
        loss, change = zero if loss is None else loss, (zero if first is None else first) - (zero if second is None else second)
        dot.append((loss * change).sum())
        norms.append(torch.stack([loss.square().sum(), change.square().sum()]))
    product = torch.stack(norms).sum(0).prod().sqrt()
    return torch.where(product > 0, torch.stack(dot).sum() / product, torch.zeros_like(product))
