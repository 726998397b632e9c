"""Class means as a classifier without parameters: how well a modality's features are clustered, and who lags behind.

A class without a mean (no sample of it was seen) is left out of every distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor


def class_sums(features: Tensor, present: Tensor, target: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return the summed features of each class, and of how many samples.

    Args:
        features: Of shape (samples, width), zero for samples that lack the modality.
        present: Which samples have it, booleans of shape (samples,).
        target: True class codes of shape (samples,).
        classes: Number of classes.

    Returns:
        Sums of shape (classes, width) and counts of shape (classes,).

    Example:
        >>> features, every = torch.tensor([[1.0], [3.0], [5.0]]), torch.ones(3, dtype=torch.bool)
        >>> sums, counts = class_sums(features, every, torch.tensor([0, 0, 2]), 3)
        >>> sums.flatten().tolist(), counts.tolist()
        ([4.0, 0.0, 5.0], [2.0, 0.0, 1.0])
    """
    sums = features.new_zeros(classes, features.shape[1]).index_add(0, target, features)
    return sums, features.new_zeros(classes).index_add(0, target, present.to(features.dtype))


def moved_means(means: Tensor, seen: Tensor, sums: Tensor, counts: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
    """Move class means towards new ones.

    ``c_k <- momentum c_k + (1 - momentum) sum_k / count_k``; a class seen for the first time takes its new mean, one without
    new samples keeps its old one.

    Args:
        means: ``c`` of shape (classes, width).
        seen: Which classes have a mean, booleans of shape (classes,).
        sums: Summed features of shape (classes, width).
        counts: Of how many samples, of shape (classes,).
        momentum: How much is kept.

    Returns:
        The new means and which classes have one.

    References:
        Fan et al., PMR: Prototypical Modal Rebalance for Multimodal Learning, CVPR 2023, arXiv 2211.07089.

    Example:
        >>> old, seen = torch.tensor([[2.0], [0.0]]), torch.tensor([True, False])
        >>> moved_means(old, seen, torch.tensor([[8.0], [6.0]]), torch.tensor([2.0, 2.0]), 0.5)[0].flatten().tolist()
        [3.0, 3.0]
    """
    new = sums / counts.clamp_min(1)[:, None]
    moved = torch.where(seen[:, None], momentum * means + (1 - momentum) * new, new)
    return torch.where(counts[:, None] > 0, moved, means), seen | (counts > 0)


def spread_within(squares: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    """Return the variance of features around their class mean, averaged over samples and dimensions.

    ``(sum_i |f_i|^2 - sum_k |sum_k|^2 / count_k) / (N D)``.

    Args:
        squares: Summed squared length of all features, a number.
        sums: Summed features of shape (classes, width).
        counts: Of how many samples, of shape (classes,).

    Returns:
        A number, at least 1e-12.

    Example:
        >>> sums, counts = torch.tensor([[4.0], [5.0]]), torch.tensor([2.0, 1.0])  # of the samples 1, 3 and 5
        >>> spread_within(torch.tensor(35.0), sums, counts)
        tensor(0.6667)
    """
    between = (sums.square().sum(1) / counts.clamp_min(1)).sum()
    return ((squares - between) / (counts.sum() * sums.shape[1]).clamp_min(1)).clamp_min(1e-12)


def class_mean_logits(features: Tensor, means: Tensor, seen: Tensor, spread: Tensor | float = 0.5) -> Tensor:
    """Return logits whose softmax is that of minus the squared Euclidean distances to the class means.

    ``l_ik = (<f_i, c_k> - |c_k|^2 / 2) / v``, which is ``-|f_i - c_k|^2 / (2 v)`` but for what all classes have in common. The
    paper's distances are at ``v = 1/2``. With ``v`` the variance within classes the softmax is that of Gaussian classes and does
    not depend on the length of features; that is our choice. Means get no gradient.

    Args:
        features: ``f`` of shape (batch, width).
        means: ``c`` of shape (classes, width).
        seen: Which classes have a mean, booleans of shape (classes,).
        spread: ``v``.

    Returns:
        Logits of shape (batch, classes), the lowest number where a class has no mean.

    References:
        Fan et al., PMR: Prototypical Modal Rebalance for Multimodal Learning, CVPR 2023, arXiv 2211.07089.

    Example:
        >>> means = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> class_mean_logits(torch.tensor([[1.0, 1.0]]), means, torch.tensor([True, True])).softmax(1)
        tensor([[0.7311, 0.2689]])
    """
    means = means.detach()
    logits = (features.to(means.dtype) @ means.T - means.square().sum(1) / 2) / spread
    return logits.masked_fill(~seen, torch.finfo(logits.dtype).min)


def rebalancing(scores: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return how much each modality is pulled to its class means, and how much it is kept from them.

    ``pull_m = clip(max_n s_n / s_m - 1, 0, 1)`` and ``hold_m = clip(s_m / min_n s_n - 1, 0, 1)``. For two modalities with
    ``rho = s_1 / s_2`` these are the paper's ``clip(1 / rho - 1, 0, 1)`` and ``clip(rho - 1, 0, 1)``: the one that lags is
    pulled and the one that leads is held, equally much. To compare with the best and the worst of more is our choice.

    Args:
        scores: ``s``, mean probability of the true class by the class means of each modality; nan where none was measured.

    Returns:
        Pulls and holds, one of each per modality; 0 where there is nothing to compare.

    References:
        Fan et al., CVPR 2023, arXiv 2211.07089.

    Example:
        >>> rebalancing([0.5, 0.4])
        ([0.0, 0.25], [0.25, 0.0])
    """
    known = [score for score in scores if isfinite(score) and score > 0]
    pulls, holds = [0.0] * len(scores), [0.0] * len(scores)
    for number, score in enumerate(scores):
        if isfinite(score) and score > 0:
            pulls[number] = min(max(known) / score - 1.0, 1.0)
            holds[number] = min(score / min(known) - 1.0, 1.0)
    return pulls, holds
