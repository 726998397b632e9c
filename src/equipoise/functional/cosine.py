"""Logits from directions alone: no modality can say more by longer features or longer weights."""

from __future__ import annotations

from math import inf

from torch import Tensor
from torch.linalg import vector_norm


def cosine_logits(features: Tensor, weights: Tensor, scaling: Tensor | float) -> Tensor:
    """Return the cosine of each feature vector with each class's weights, scaled.

    ``z_mc = s <f_m, w_mc> / (|f_m| |w_mc|)``: each modality's logits lie in [-s, s]. A vector of length 0 has no direction: its
    logits are 0 and it gets no gradient (dividing by a small number instead would give it a huge one).

    Args:
        features: ``f`` of shape (modalities, batch, width).
        weights: ``w`` of shape (modalities, outputs, width).
        scaling: ``s``.

    Returns:
        Logits of shape (modalities, batch, outputs).

    References:
        Xu et al., MMCosine: Multi-Modal Cosine Loss Towards Balanced Audio-Visual Fine-Grained Learning, ICASSP 2023, arXiv
        2303.05338.

    Example:
        >>> import torch
        >>> cosine_logits(torch.tensor([[[3.0, 4.0]]]), torch.eye(2)[None], 10.0)
        tensor([[[6., 8.]]])
    """
    products = features @ weights.transpose(-1, -2)
    lengths: Tensor = vector_norm(features, dim=-1)[..., None] * vector_norm(weights, dim=-1)[..., None, :]
    return scaling * products / lengths.masked_fill(lengths == 0, inf)
