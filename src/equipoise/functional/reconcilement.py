"""Boosting over modalities: learning what the others have not learned, without drifting away from the one before."""

from __future__ import annotations

from torch import Tensor


def residual_losses(losses: Tensor, divergences: Tensor, strength: float) -> Tensor:
    """Return the loss of a learner that should differ from what the others already say.

    ``l_i - lambda KL(q_i || p_i)``, with p the learner's and q the others' probabilities. For the cross-entropy its gradient on
    the learner's logits is ``(1 - lambda) p - (y - lambda q)``: at ``lambda = 1`` exactly minus the residual ``y - q`` that
    gradient boosting fits.

    The published code keeps the true class of q only, ``-(w_1 - w_2 q_y) log p_y / K``.

    Args:
        losses: Task loss of each sample, of shape (samples,).
        divergences: ``KL(q_i || p_i)`` of each sample, as the task defines it; no gradient should reach the others.
        strength: ``lambda``, from 0 (the task loss alone) to 1.

    Returns:
        Losses of shape (samples,), in nats. They are not bounded below.

    References:
        Hua et al., ReconBoost, ICML 2024, arXiv 2405.09321.

    Example:
        >>> import torch
        >>> residual_losses(torch.tensor([0.7]), torch.tensor([0.4]), 0.5)
        tensor([0.5000])
    """
    return losses - strength * divergences


def disagreement(own: Tensor, previous: Tensor) -> Tensor:
    """Return how far a learner's logit gradients are from those of the learner trained before it.

    ``mean_k (p_k - p'_k)^2``: for the cross-entropy ``p - y`` is the gradient on the logits, so this is the distance of the two
    gradients. Only the learner gets a gradient; in the published code neither does, so that there the term changes nothing.

    Args:
        own: Predictions of the learner, of shape (samples, outputs): probabilities of the classes (or of each label).
        previous: Those of the one before, of the same shape.

    Returns:
        Distances of shape (samples,).

    References:
        Hua et al., ReconBoost, ICML 2024, arXiv 2405.09321.

    Example:
        >>> import torch
        >>> disagreement(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.9, 0.1]]))
        tensor([0.1600])
    """
    return (own - previous.detach()).square().mean(1)
