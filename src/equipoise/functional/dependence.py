"""On which modality a model depends, and how much of that modality's features is hidden (AMCo)."""

from __future__ import annotations

from math import pi, sin

import torch
from torch import Tensor


def logit_shares(logits: Tensor, present: Tensor) -> Tensor:
    """Return how much of the evidence of each sample each modality gives.

    A softmax over the unimodal logits ``[z_1 .. z_M]`` side by side; a modality's share is the sum over its own classes.

    Args:
        logits: Unimodal logits of shape (modalities, batch, outputs).
        present: Which sample has which modality, booleans of shape (modalities, batch).

    Returns:
        Shares of shape (modalities, batch) that sum to 1 over modalities, 0 where one is absent; nan for a sample without any.

    References:
        Zhou, Liang, Zheng, Xuan and Kumada, Adaptive Mask Co-optimization for Modal Dependence in Multimodal Learning, ICASSP
        2023, https://doi.org/10.1109/ICASSP49357.2023.10096641.

    Example:
        >>> logit_shares(torch.tensor([[[0.0, 0.0]], [[0.0, 0.0]]]), torch.tensor([[True], [True]]))
        tensor([[0.5000],
                [0.5000]])
    """
    return logits.masked_fill(~present[..., None], -torch.inf).logsumexp(-1).softmax(0)


def dependence(logits: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of which a quotient says how much the model depends on each modality.

    Over the samples that have the modality and another one, the mean of ``share * n_i / 2``, with ``n_i`` the modalities that
    sample i has: the share itself for two modalities; for more or fewer, our choice, one half is still an equal share.

    Args:
        logits: Unimodal logits of shape (modalities, batch, outputs).
        present: Which sample has which modality, booleans of shape (modalities, batch).

    Returns:
        Sums of ``share * n_i / 2`` and counts of samples, of shape (modalities,) each.

    Example:
        >>> sums, counts = dependence(torch.tensor([[[3.0, 0.0]], [[0.0, 0.0]]]), torch.tensor([[True], [True]]))
        >>> sums / counts
        tensor([0.9134, 0.0866])
    """
    having = present.sum(0)
    compared = present & (having > 1)
    values = torch.where(compared, logit_shares(logits, present) * having / 2, 0.0)
    return values.sum(1), compared.sum(1).to(values.dtype)


def masked_share(passed: float, warmup: float, most: float) -> float:
    """Return the share of a dependent modality's features that is hidden.

    ``most sin(pi / 2 min(passed, warmup) / warmup)``: harder and harder until a share ``warmup`` of the training has passed.

    Args:
        passed: Share of the training that has passed.
        warmup: ``epsilon``; 0 starts with the largest share.
        most: The largest share.

    References:
        Zhou et al., ICASSP 2023.

    Example:
        >>> masked_share(0.0, 0.3, 0.5), round(masked_share(0.15, 0.3, 0.5), 4), masked_share(0.8, 0.3, 0.5)
        (0.0, 0.3536, 0.5)
    """
    return most * (sin(pi / 2 * min(passed, warmup) / warmup) if warmup > 0 else 1.0)
