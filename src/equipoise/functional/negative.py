"""Negative learning: a modality that knows better tells another what the class is not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


@torch.no_grad()
def choose_guides(logits: Tensor, fused: Tensor, target: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return by which modality each modality is guided, sample by sample.

    The margin of modality m is ``xi_m = z_m[y] - z_m[j]``, with ``j`` the class that the fused prediction takes for the
    likeliest wrong one. Modality g may guide h where both ``xi_g > xi_h`` and ``p_g[y] > p_h[y]``. Of several the one with the
    largest ``p_g[y]`` guides, which is our choice (the paper has two modalities).

    Args:
        logits: ``z`` of shape (modalities, batch, classes).
        fused: Fused logits of shape (batch, classes).
        target: ``y`` of shape (batch,).
        present: Which samples have which modality, booleans of shape (modalities, batch); all if left out.

    Returns:
        Number of the guide, of shape (modalities, batch), and whether there is one, booleans of the same shape.

    References:
        Gong et al., Multimodal Negative Learning, NeurIPS 2025, arXiv 2510.20877.

    Example:
        >>> logits = torch.tensor([[[3.0, 0.0]], [[1.0, 0.0]]])
        >>> guide, guided = choose_guides(logits, logits.mean(0), torch.tensor([0]))
        >>> guide[1].item(), guided[:, 0].tolist()
        (0, [False, True])
    """
    truth = target[:, None]
    wrong = fused.scatter(1, truth, -torch.inf).argmax(1, keepdim=True).expand(len(logits), -1, -1)
    truth = truth.expand(len(logits), -1, -1)
    margin = (logits.gather(2, truth) - logits.gather(2, wrong)).squeeze(2)
    sure = logits.softmax(2).gather(2, truth).squeeze(2)
    if present is not None:
        margin = margin.masked_fill(~present, -torch.inf)  # an absent modality guides nobody
    may = (margin[:, None] > margin) & (sure[:, None] > sure)
    guided = may.any(0) if present is None else may.any(0) & present
    return torch.where(may, sure[:, None], -1.0).argmax(0), guided


def negative_losses(logits: Tensor, guide: Tensor, guided: Tensor, target: Tensor) -> Tensor:
    """Return how much each guided modality still believes in what its guide rules out.

    ``N_h = - sum_{c != y} p_g[c] log p_h[c]``, without gradient for the guide ``g``.

    With the cross-entropy of the same logits at the same weight, ``CE_h + lambda N_h`` never lowers the logit of the true
    class for ``lambda <= 1``: its derivative there is ``-(1 - p_h[y]) + lambda (1 - p_g[y]) p_h[y]``, and the guide has
    ``p_g[y] > p_h[y]``.

    Args:
        logits: ``z`` of shape (modalities, batch, classes).
        guide: Number of each modality's guide, of shape (modalities, batch).
        guided: Whether it has one, booleans of the same shape.
        target: ``y`` of shape (batch,).

    Returns:
        Losses of shape (modalities, batch); 0 where nobody guides.

    References:
        Gong et al., NeurIPS 2025, arXiv 2510.20877.

    Example:
        >>> logits = torch.tensor([[[3.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]])
        >>> negative_losses(logits, torch.tensor([[0], [0]]), torch.tensor([[False], [True]]), torch.tensor([0]))[1]
        tensor([0.0995])
    """
    classes = logits.shape[2]
    beliefs = logits.detach().softmax(2).gather(0, guide[:, :, None].expand(-1, -1, classes))
    others = 1 - one_hot(target, classes).to(beliefs.dtype)
    return torch.where(guided, -(beliefs * others * logits.log_softmax(2)).sum(2), logits.new_zeros(()))
