"""Boosting over modalities: learning what the others have not learned, without drifting away from the one before."""

from __future__ import annotations

from torch import Tensor


def residual_losses(losses: Tensor, own: Tensor, others: Tensor, strength: float) -> Tensor:
    """Return the loss of a learner that should differ from what the others already say.

    ``l_i - lambda KL(q_i || p_i)``, with p the learner's and q the others' probabilities. For the cross-entropy its gradient on
    the learner's logits is ``(1 - lambda) p - (y - lambda q)``: at ``lambda = 1`` exactly minus the residual ``y - q`` that
    gradient boosting fits. No gradient reaches the others.

    The published code keeps the true class of q only, ``-(w_1 - w_2 q_y) log p_y / K``.

    Args:
        losses: Task loss of each sample, of shape (samples,).
        own: Log-probabilities of the learner, of shape (samples, classes).
        others: Log-probabilities of the others together, of the same shape.
        strength: ``lambda``, from 0 (the task loss alone) to 1.

    Returns:
        Losses of shape (samples,), in nats. They are not bounded below.

    References:
        Hua et al., ReconBoost, ICML 2024, arXiv 2405.09321.

    Example:
        >>> import torch
        >>> own, others = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
        >>> residual_losses(-own[:, 0], own, others, 1.0)
        tensor([0.3251])
    """
    others = others.detach()
    return losses - strength * (others.exp() * (others - own)).sum(1)


def disagreement(own: Tensor, previous: Tensor) -> Tensor:
    """Return how far a learner's logit gradients are from those of the learner trained before it.

    ``mean_k (p_k - p'_k)^2``: for the cross-entropy ``p - y`` is the gradient on the logits, so this is the distance of the two
    gradients. Only the learner gets a gradient; in the published code neither does, so that there the term changes nothing.

    Args:
        own: Log-probabilities of the learner, of shape (samples, classes).
        previous: Log-probabilities of the one before, of the same shape.

    Returns:
        Distances of shape (samples,).

    References:
        Hua et al., ReconBoost, ICML 2024, arXiv 2405.09321.

    Example:
        >>> import torch
        >>> disagreement(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log())
        tensor([0.1600])
    """
    return (own.exp() - previous.detach().exp()).square().mean(1)
