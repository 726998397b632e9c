"""Stacking: how much each modality's prediction should count, learned from held-out samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.errors import DataError


def convex_weights(logits: Tensor, available: Tensor, losses: Callable[[Tensor], Tensor], iterations: int = 100) -> Tensor:
    """Return the convex weights of modalities that minimise the loss of their weighted logits.

    ``argmin_w mean_i loss_i(sum_m w_m a_im z_im / sum_m w_m a_im)`` over ``w >= 0, sum w = 1``: the loss of the very average
    that is predicted with. Solved by L-BFGS over the logarithms of the weights, from equal weights. Stacking with convex
    weights is Breiman's (Machine Learning 24, 1996); its use here for the fusion weights of boosted modalities is our choice.

    Args:
        logits: Held-out logits of each modality, of shape (modalities, samples, outputs).
        available: Which sample has which modality, 0 or 1, of shape (modalities, samples).
        losses: The loss of each sample from logits of shape (samples, outputs).
        iterations: Most iterations.

    Returns:
        Weights of shape (modalities,) that sum to 1.

    Raises:
        DataError: There is no sample to learn from.

    Example:
        >>> from torch.nn.functional import cross_entropy
        >>> good = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> target = torch.tensor([0, 1])
        >>> weights = convex_weights(torch.stack([good, -good]), torch.ones(2, 2), lambda z: cross_entropy(z, target))
        >>> bool(weights[0] > 0.99)
        True
    """
    if logits.shape[1] == 0:
        raise DataError("fusion weights cannot be learned: the validation part has no sample")
    values = (logits * available[:, :, None]).detach().double()
    have = available.double()
    free = torch.zeros(len(logits), dtype=torch.float64, device=logits.device, requires_grad=True)
    solver = torch.optim.LBFGS([free], max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        shares = free.softmax(0)[:, None] * have
        fused = (shares[:, :, None] * values).sum(0) / shares.sum(0)[:, None].clamp_min(1e-12)
        loss = losses(fused).mean()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(closure)
    return free.detach().softmax(0).to(logits.dtype)


def best_of(candidates: Tensor, logits: Tensor, available: Tensor, losses: Callable[[Tensor], Tensor]) -> int:
    """Return which of some weightings of modalities predicts held-out samples best.

    ``argmin_c mean_i loss_i(sum_m w_cm a_im z_im / sum_m w_cm a_im)``; the first of equal ones. One number is chosen, where
    :func:`convex_weights` learns one per modality: a choice that few held-out samples can bear.

    Args:
        candidates: Weights from 0, of shape (candidates, modalities).
        logits: Held-out logits of each modality, of shape (modalities, samples, outputs).
        available: Which sample has which modality, 0 or 1, of shape (modalities, samples).
        losses: The loss of each sample from logits of shape (samples, outputs).

    Returns:
        The number of the candidate.

    Raises:
        DataError: There is no sample to choose by.

    Example:
        >>> from torch.nn.functional import cross_entropy
        >>> good, target = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1])
        >>> candidates = torch.tensor([[0.5, 0.5], [0.9, 0.1]])
        >>> logits = torch.stack([good, -good])
        >>> best_of(candidates, logits, torch.ones(2, 2), lambda fused: cross_entropy(fused, target, reduction="none"))
        1
    """
    if logits.shape[1] == 0:
        raise DataError("fusion weights cannot be chosen: there is no held-out sample")
    shares = candidates[:, :, None].to(logits) * available
    shares = shares / shares.sum(1, keepdim=True).clamp_min(1e-12)
    fused = torch.einsum("cmn,mno->cno", shares, logits * available[:, :, None])
    return int(torch.stack([losses(values).mean() for values in fused]).argmin())
