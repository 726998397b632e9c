"""Modalities that teach each other: for each sample, of each pair, the one that is surer of the truth teaches the other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Lessons(NamedTuple):
    """What each modality has to learn from each other one, of shape (teachers, students, samples).

    Attributes:
        weight: How far the teacher is ahead; 0 where it is not, or where there is nothing to learn. Without gradient.
        distance: Mean squared distance of the logits.
        divergence: ``KL(teacher || student)`` in nats.
    """

    weight: Tensor
    distance: Tensor
    divergence: Tensor


def lessons(logits: Tensor, target: Tensor, present: Tensor) -> Lessons:
    """Compare all modalities, sample by sample.

    Of two modalities the teacher is the one with the larger true-class probability, without gradient; the weight is
    ``|p_a(y) - p_b(y)|`` if one of the two is right, else 0.

    Args:
        logits: Unimodal logits of shape (modalities, samples, classes).
        target: True class codes of shape (samples,).
        present: Which sample has which modality, booleans of shape (modalities, samples); a lesson needs both.

    Returns:
        Weights, distances and divergences, for all teachers and students.

    Example:
        >>> first = lessons(
        ...     torch.tensor([[[2.0, 0.0]], [[0.0, 0.0]]]), torch.tensor([0]), torch.ones(2, 1, dtype=torch.bool)
        ... )
        >>> [[round(number, 4) for number in value.detach().flatten().tolist()] for value in first]
        [[0.0, 0.3808, 0.0, 0.0], [0.0, 2.0, 2.0, 0.0], [0.0, 0.3278, 0.4338, 0.0]]
    """
    log_p = logits.log_softmax(-1)
    known, p = log_p.detach(), log_p.detach().exp()
    score = p.gather(-1, target.expand(p.shape[:-1]).unsqueeze(-1)).squeeze(-1)
    right = score == p.amax(-1)
    able = (right[:, None] | right) & present[:, None] & present
    weight = (score[:, None] - score).clamp_min(0) * able
    distance = (logits - logits.detach()[:, None]).square().mean(-1)
    divergence = (p * known).sum(-1)[:, None] - torch.einsum("tic,sic->tsi", p, log_p)
    return Lessons(weight, distance, divergence)
