"""How much each loss of a multimodal model counts: weights from performance and dependence, GradNorm, uncertainty weighting.

Vectors have one entry per modality (or per loss), in one order throughout; any number of modalities will do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.errors import ConfigError, DataError, suggest

KINDS = ("classification", "regression")


def need(f1: Tensor) -> Tensor:
    """Return how far each modality is behind the best one.

    ``need_m = 1 - F_m / max_n F_n``. That macro-F1 is the signal is what public text on the method says; the formula is our
    choice, for the paper's own is not public.

    Args:
        f1: Macro-F1 (or any score from 0) of each modality alone on validation data, of shape (modalities,).

    Returns:
        Numbers in [0, 1] of the same shape; all 0 if every score is 0.

    Raises:
        DataError: If scores are not a vector of finite numbers from 0.

    References:
        Xie and Sanguinetti, "Balanced multimodal learning via mutual information", 2025, arXiv 2511.00987.

    Example:
        >>> need(torch.tensor([0.8, 0.4]))
        tensor([0.0000, 0.5000])
    """
    _scores(f1, "scores")
    best = f1.max()
    return torch.where(best > 0, 1 - f1 / torch.where(best > 0, best, 1.0), 0.0)


def support(dependence: Tensor, floor: float = 0.0, relevance: Tensor | None = None) -> Tensor:
    """Return how much each modality shares with the others, against the one that shares most.

    ``r_m = mean_{n != m} rho_mn``, negative entries as 0; ``support_m = r_m / max_n r_n``. All our choice. A modality whose
    information is all its own gets little; with ``relevance`` given, ``r_m`` is replaced by ``max(r_m, relevance_m)``.

    Args:
        dependence: ``rho``, the normalised mutual information of every two modalities, of shape (modalities, modalities); the
            diagonal is not read.
        floor: What counts as noise: if no ``r_m`` is above it, all support is 0.
        relevance: What each modality tells about the class, as a share such as ``J_m / H(Y)``, of shape (modalities,).

    Returns:
        Numbers in [0, 1] of shape (modalities,); 0 for a single modality without relevance.

    Raises:
        DataError: If the dependence is not square, or a number that is read is not finite.

    Example:
        >>> support(torch.tensor([[0.0, 0.6, 0.0], [0.6, 0.0, 0.2], [0.0, 0.2, 0.0]]))
        tensor([0.7500, 1.0000, 0.2500])
    """
    others = _others(dependence)
    mean = others.sum(1) / max(len(others) - 1, 1)
    if relevance is not None:
        if relevance.shape != mean.shape or not bool(relevance.isfinite().all()):
            raise DataError(f"relevance of shape {tuple(relevance.shape)} was given, expected {len(mean)} finite numbers")
        mean = torch.maximum(mean, relevance.to(mean))
    largest = mean.max()
    return torch.where(largest > max(floor, 0.0), mean / torch.where(largest > 0, largest, 1.0), 0.0)


def modality_weights(need: Tensor, support: Tensor, temperature: float = 0.25, low: float = 0.2, high: float = 3.0) -> Tensor:
    """Return the weight of each modality's own loss.

    ``s_m = need_m * support_m``; ``w = M softmax(s / temperature)``, clipped to ``[low, high]``, then scaled to sum to ``M``
    (which may take it beyond the limits again). Our choice: the paper's formula is not public. The product matters: need alone
    gives most weight to a modality that tells nothing.

    Args:
        need: From :func:`need`, of shape (modalities,).
        support: From :func:`support`, of shape (modalities,).
        temperature: The smaller, the sharper.
        low: Smallest weight before scaling.
        high: Largest weight before scaling.

    Returns:
        Weights of shape (modalities,) that sum to the number of modalities; 1 each where no modality stands out.

    Raises:
        DataError: If the shapes differ.
        ConfigError: If the temperature is not positive or not ``0 < low <= 1 <= high``.

    Example:
        >>> modality_weights(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([1.0, 0.9, 0.0]))  # strong, weak, junk
        tensor([0.3727, 2.2546, 0.3727])
    """
    if need.shape != support.shape or need.dim() != 1:
        raise DataError(
            f"need of shape {tuple(need.shape)} and support of {tuple(support.shape)} were given, expected one vector size"
        )
    if not temperature > 0 or not 0 < low <= 1 <= high:
        raise ConfigError(
            f"temperature {temperature}, low {low} and high {high} were given, expected a positive one and 0 < low <= 1 <= high"
        )
    weights = (len(need) * (need * support / temperature).softmax(0)).clamp(low, high)
    return weights * (len(need) / weights.sum())


def mean_dependence(dependence: Tensor) -> Tensor:
    """Return the mean of ``rho_mn`` over pairs of modalities, negative entries as 0.

    Args:
        dependence: ``rho`` of shape (modalities, modalities), symmetric; the diagonal is not read.

    Returns:
        A scalar; 1 for a single modality, which has nothing to complement it (our choice).

    Raises:
        DataError: If the dependence is not square, or a number that is read is not finite.

    Example:
        >>> mean_dependence(torch.tensor([[0.0, 0.5], [0.5, 0.0]]))
        tensor(0.5000)
    """
    others = _others(dependence)
    count = len(others)
    return others.sum() / (count * (count - 1)) if count > 1 else others.new_ones(())


def fused_weight(rho_mean: float, eta: float = 0.5) -> float:
    """Return the weight of the fused loss: ``w = 1 + eta * (1 - rho_mean)``.

    The less the modalities repeat one another, the more the joint model counts. Our choice.

    Args:
        rho_mean: From :func:`mean_dependence`, in [0, 1].
        eta: What is added where they have nothing in common.

    Example:
        >>> fused_weight(0.5), fused_weight(1.0)
        (1.25, 1.0)
    """
    return 1 + eta * (1 - rho_mean)


def gates(information: Tensor, entropy: float, floor: float = 0.05) -> Tensor:
    """Return the factor on each modality's features in the fused input, by what it tells about the class.

    ``g_m = M * J_m / sum_n J_n`` with ``J_m`` raised to at least ``floor * entropy``. Our choice.

    Args:
        information: ``J_m``, mutual information of each modality and the class, in nats, of shape (modalities,).
        entropy: Entropy of the class in nats.
        floor: Least information counted, as a share of the entropy.

    Returns:
        Factors of shape (modalities,) that sum to the number of modalities, without gradient; 1 each if all is 0.

    Raises:
        DataError: If information is not a vector of finite numbers, or the entropy or floor is negative.

    Example:
        >>> gates(torch.tensor([1.0, 0.5, 0.0]), entropy=1.0)
        tensor([1.9355, 0.9677, 0.0968])
    """
    if information.dim() != 1 or not bool(information.isfinite().all()):
        raise DataError(f"information of shape {tuple(information.shape)} was given, expected a vector of finite numbers")
    if not entropy >= 0 or not floor >= 0:
        raise DataError(f"entropy {entropy} and floor {floor} were given, expected numbers from 0")
    raised = information.detach().clamp_min(floor * entropy)
    total = raised.sum()
    return torch.where(total > 0, len(raised) * raised / torch.where(total > 0, total, 1.0), 1.0)


def calibration(norms: Tensor, low: float = 1 / 3, high: float = 3.0) -> Tensor:
    """Return factors that would bring the gradients of all modalities to one length: ``mean(G) / G_m``, clipped.

    A closed form in the spirit of GradNorm with ``alpha = 0``; our choice, as are the limits.

    Args:
        norms: ``G_m``, length of the gradient of each modality's loss in its own encoder, of shape (modalities,).
        low: Smallest factor.
        high: Largest factor, also where the gradient is 0 and others' are not.

    Returns:
        Factors of shape (modalities,), without gradient; 1 each if all norms are 0.

    Raises:
        DataError: If norms are not a vector of finite numbers from 0.

    Example:
        >>> calibration(torch.tensor([1.0, 3.0]))
        tensor([2.0000, 0.6667])
    """
    _scores(norms, "gradient norms")
    mean = norms.detach().mean()
    factors = (mean / norms.detach().clamp_min(torch.finfo(norms.dtype).tiny)).clamp(low, high)
    return torch.where(mean > 0, factors, 1.0)


def uncertainty_loss(losses: Tensor, log_variances: Tensor, kind: str = "classification") -> Tensor:
    """Weigh losses by an uncertainty that is learned with them.

    With ``s = log sigma^2``: ``exp(-s_m) L_m + s_m / 2`` for classification, ``exp(-s_m) L_m / 2 + s_m / 2`` for regression
    (the form some libraries use for every loss). At the best ``s_m`` the first weight is ``1 / (2 L_m)``.

    Args:
        losses: Loss of each modality, of shape (modalities,).
        log_variances: ``s``, learned, of shape (modalities,); start at 0.
        kind: ``classification`` or ``regression``.

    Returns:
        Terms of shape (modalities,), whose sum is to be minimised; a term may be negative.

    Raises:
        DataError: If the shapes differ.
        ConfigError: If the kind is unknown.

    References:
        Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses", CVPR 2018, arXiv 1705.07115.

    Example:
        >>> uncertainty_loss(torch.tensor([2.0, 1.0]), torch.zeros(2))
        tensor([2., 1.])
    """
    if kind not in KINDS:
        raise ConfigError(f"kind of loss {kind!r} is unknown, {suggest(kind, KINDS)}")
    _same(losses, log_variances)
    precision = (-log_variances).exp()
    return (precision * losses if kind == "classification" else precision * losses / 2) + log_variances / 2


def gradnorm_targets(norms: Tensor, losses: Tensor, initial: Tensor, alpha: float = 1.5) -> Tensor:
    """Return the gradient norms that GradNorm wants: larger where a loss has fallen less.

    ``mean(G) * r_m^alpha`` with ``r_m = (L_m / L_m(0)) / mean_n (L_n / L_n(0))``.

    Args:
        norms: ``G_m``, norms of the weighted gradients, of shape (modalities,).
        losses: ``L_m``, current losses, of shape (modalities,).
        initial: ``L_m(0)``, losses at the start, of shape (modalities,); positive.
        alpha: How strongly the pace of training is evened out; 0 wants equal norms.

    Returns:
        Norms of shape (modalities,), without gradient.

    Raises:
        DataError: If the shapes differ or an initial loss is not positive.

    References:
        Chen et al., "GradNorm: gradient normalization for adaptive loss balancing", ICML 2018, arXiv 1711.02257.

    Example:
        >>> gradnorm_targets(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]), torch.tensor([1.0, 2.0]), alpha=1.0)
        tensor([2.6667, 1.3333])
    """
    _same(norms, losses)
    _same(losses, initial)
    if not bool((initial > 0).all()):
        raise DataError(f"initial losses {initial.tolist()} were given, expected positive numbers")
    ratio = losses.detach() / initial.detach()
    mean = ratio.mean()
    relative = torch.where(mean > 0, ratio / torch.where(mean > 0, mean, 1.0), 1.0)
    return norms.detach().mean() * relative**alpha


def gradnorm_loss(weights: Tensor, norms: Tensor, losses: Tensor, initial: Tensor, alpha: float = 1.5) -> Tensor:
    """Return GradNorm's loss, by which the weights of the losses are learned.

    ``sum_m |w_m G_m - target_m|``, with ``G_m`` the norm of the gradient of the *unweighted* loss at the shared (or last)
    layer and :func:`gradnorm_targets` of ``w_m G_m`` as constants. Only the weights get a gradient.

    Args:
        weights: ``w``, learned, of shape (modalities,).
        norms: Norms of the unweighted gradients, of shape (modalities,).
        losses: Current losses, of shape (modalities,).
        initial: Losses at the start, of shape (modalities,); positive.
        alpha: How strongly the pace of training is evened out.

    Returns:
        A scalar.

    Raises:
        DataError: If the shapes differ or an initial loss is not positive.

    References:
        Chen et al., ICML 2018, arXiv 1711.02257.

    Example:
        >>> ones = torch.ones(2)
        >>> gradnorm_loss(ones, torch.tensor([1.0, 3.0]), ones, ones)
        tensor(2.)
    """
    _same(weights, norms)
    weighted = weights * norms.detach()
    return (weighted - gradnorm_targets(weighted, losses, initial, alpha)).abs().sum()


def gradnorm_renormalise(weights: Tensor, low: float = 1e-3) -> Tensor:
    """Bring weights back to a sum of ``M`` after a step on :func:`gradnorm_loss`.

    ``w_m <- M w_m / sum_n w_n``. The lower limit that keeps weights positive before it is our choice.

    Args:
        weights: ``w`` of shape (modalities,).
        low: Smallest weight before scaling.

    Returns:
        Weights of shape (modalities,), without gradient.

    References:
        Chen et al., ICML 2018, arXiv 1711.02257.

    Example:
        >>> gradnorm_renormalise(torch.tensor([1.0, 3.0]))
        tensor([0.5000, 1.5000])
    """
    kept = weights.detach().clamp_min(low)
    return kept * (len(kept) / kept.sum())


def gradnorm_step(weights: Tensor, norms: Tensor, losses: Tensor, initial: Tensor, rate: float = 0.025) -> Tensor:
    """Return the weights after one step of gradient descent on :func:`gradnorm_loss`, brought back to their sum.

    Args:
        weights: ``w`` of shape (modalities,).
        norms: As in :func:`gradnorm_loss`.
        losses: As in :func:`gradnorm_loss`.
        initial: As in :func:`gradnorm_loss`.
        rate: Learning rate of the weights.

    Returns:
        Weights of shape (modalities,), without gradient.

    Raises:
        DataError: If the shapes differ or an initial loss is not positive.

    Example:
        >>> ones = torch.ones(2)
        >>> gradnorm_step(ones, torch.tensor([1.0, 3.0]), ones, ones, rate=0.1)
        tensor([1.2222, 0.7778])
    """
    learned = weights.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(gradnorm_loss(learned, norms, losses, initial), learned)
    return gradnorm_renormalise(weights - rate * slope)


def _scores(values: Tensor, name: str) -> None:
    if values.dim() != 1 or not len(values) or not bool((values.isfinite() & (values >= 0)).all()):
        raise DataError(f"{name} {values.tolist()} were given, expected one finite number from 0 per modality")


def _others(dependence: Tensor) -> Tensor:
    """Return the dependence from 0, with a diagonal of 0."""
    if dependence.dim() != 2 or dependence.shape[0] != dependence.shape[1] or not len(dependence):
        raise DataError(f"dependence of shape {tuple(dependence.shape)} was given, expected (modalities, modalities)")
    own = torch.eye(len(dependence), dtype=torch.bool, device=dependence.device)
    others = dependence.masked_fill(own, 0.0).clamp_min(0.0)
    if not bool(others.isfinite().all()):
        raise DataError("dependence between modalities is not finite, expected numbers only")
    return others


def _same(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.dim() != 1:
        raise DataError(
            f"vectors of shapes {tuple(first.shape)} and {tuple(second.shape)} were given, expected one entry per modality"
        )
