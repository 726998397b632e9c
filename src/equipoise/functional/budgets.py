"""How much each modality can be asked for: budgets from the entropy of its own predictions, and the prior made of them.

The pipeline (mean predictive entropy of each modality alone, softmax over modalities, the largest budget is the anchor) is
that of IIBalance; constants, signs and temperatures are not public and hence our choice.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.errors import ConfigError, DataError, suggest

STRENGTHS = ("gap", "constant", "inverse")


def mean_entropy(logits: Tensor) -> Tensor:
    """Return how undecided predictions are: the mean over samples of ``H(p) = - sum_k p_k log p_k``, ``p = softmax(logits)``.

    Args:
        logits: Logits of shape (samples, classes), from data the model was not fitted to.

    Returns:
        A scalar between 0 and ``log K``, in nats.

    Raises:
        DataError: If there are no samples or no classes.

    Example:
        >>> mean_entropy(torch.tensor([[0.0, 0.0], [100.0, 0.0]]))
        tensor(0.3466)
    """
    _check(logits)
    entropy: Tensor = torch.special.entr(logits.softmax(1)).sum(1).mean()
    return entropy


def temperature_scale(logits: Tensor, labels: Tensor, low: float = 0.01, high: float = 100.0) -> float:
    """Return the temperature that makes predictions as sure as they are right.

    ``argmin_T mean_i -log softmax(logits_i / T)[y_i]``, by bisection on ``1 / T``, in which the loss is convex. The limits
    are our choice: logits that are never wrong want ``T = 0``, logits that tell nothing want ``T`` without bound.

    Args:
        logits: Logits of shape (samples, classes), from data the model was not fitted to.
        labels: True class codes of shape (samples,).
        low: Smallest temperature.
        high: Largest temperature.

    Returns:
        The temperature ``T``; ``logits / T`` are the scaled logits. 1 where it makes no difference.

    Raises:
        DataError: If there are no samples, not one label for each, or a logit is not finite.
        ConfigError: If not ``0 < low < high``.

    References:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, arXiv 1706.04599.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
        >>> round(temperature_scale(logits, torch.tensor([0, 0, 0, 1])), 4)  # 2 / log 3: sure by 3 to 1
        1.8205
    """
    _check(logits, labels)
    if not 0 < low < high:
        raise ConfigError(f"limits {low} and {high} of the temperature were given, expected 0 < low < high")
    if not bool(logits.isfinite().all()):
        raise DataError("logits that are not finite were given, expected numbers only")
    values = logits.detach().cpu().double()  # some devices have no float64
    values = values - values.gather(1, labels.cpu().unsqueeze(1))  # against the true class: only differences count
    if not bool(values.any()):
        return 1.0

    def rises(inverse: Tensor) -> bool:
        return bool(((values * inverse).softmax(1) * values).sum(1).mean() >= 0)

    least, most = (torch.tensor(limit, dtype=torch.float64).log() for limit in (1 / high, 1 / low))
    if rises(least.exp()):
        return high
    if not rises(most.exp()):
        return low
    for _ in range(60):
        middle = (least + most) / 2
        least, most = (least, middle) if rises(middle.exp()) else (middle, most)
    return float((-(least + most) / 2).exp())


def budget(logits: Tensor) -> Tensor:
    """Return what a modality alone resolves of the task: ``B = log K - mean_i H(p_i)``.

    A plug-in estimate of ``I(X; Y)`` for equally frequent classes; the constant makes no difference to :func:`prior`. It
    takes the model at its word, so scale by :func:`temperature_scale` first, and compare with :func:`grounded_budget`.

    Args:
        logits: Logits of shape (samples, classes), from data the model was not fitted to.

    Returns:
        A scalar between 0 and ``log K``, in nats.

    Raises:
        DataError: If there are no samples or no classes.

    References:
        Xiong et al., IIBalance, ICME 2026, arXiv 2603.17347.

    Example:
        >>> budget(torch.tensor([[100.0, 0.0], [0.0, 100.0]])), budget(torch.zeros(2, 4))
        (tensor(0.6931), tensor(0.))
    """
    return (log(logits.shape[-1]) - mean_entropy(logits)).clamp_min(0)


def grounded_budget(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the budget by what is true instead of what is said: ``B' = log K - mean_i -log p_i[y_i]``.

    Below 0 for a modality that is worse than a guess. Our choice, as a check: a model that is confidently wrong has a large
    :func:`budget`, but not a large ``B'``.

    Args:
        logits: Logits of shape (samples, classes), from data the model was not fitted to.
        labels: True class codes of shape (samples,).

    Returns:
        A scalar up to ``log K``, in nats.

    Raises:
        DataError: If there are no samples, or not one label for each.

    Example:
        >>> grounded_budget(torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1]))
        tensor(-3.8070)
    """
    _check(logits, labels)
    return log(logits.shape[1]) - F.cross_entropy(logits, labels)


def prior(budgets: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the share of each modality in the fusion before a sample is seen: ``beta = softmax(B / temperature)``.

    Args:
        budgets: ``B`` of shape (modalities,), in nats.
        temperature: 1 is the literal reading of the published design; the smaller, the more the anchor gets.

    Returns:
        Shares of shape (modalities,) that sum to 1; a constant added to all budgets changes nothing.

    Raises:
        DataError: If budgets are not a vector of finite numbers.
        ConfigError: If the temperature is not positive.

    References:
        Xiong et al., ICME 2026, arXiv 2603.17347.

    Example:
        >>> prior(torch.tensor([1.0, 1.0, 0.0]))
        tensor([0.4223, 0.4223, 0.1554])
    """
    _vector(budgets)
    if not temperature > 0:
        raise ConfigError(f"the temperature is {temperature}, expected a positive number")
    return (budgets / temperature).softmax(0)


def anchor(budgets: Tensor, losses: Tensor | None = None) -> int:
    """Return the modality that the others are aligned to: the one with the largest budget.

    Of exactly equal ones, our choice is that with the smallest loss, and of those the first.

    Args:
        budgets: ``B`` of shape (modalities,).
        losses: Negative log-likelihood of each modality alone, of shape (modalities,).

    Returns:
        Number of the modality.

    Raises:
        DataError: If budgets, or losses, are not a vector of finite numbers, or their sizes differ.

    References:
        Xiong et al., ICME 2026, arXiv 2603.17347.

    Example:
        >>> anchor(torch.tensor([0.2, 0.5, 0.5])), anchor(torch.tensor([0.2, 0.5, 0.5]), torch.tensor([0.1, 0.9, 0.8]))
        (1, 2)
    """
    _vector(budgets)
    if losses is not None:
        _vector(losses)
        if len(losses) != len(budgets):
            raise DataError(f"{len(losses)} losses were given for {len(budgets)} budgets, expected as many")
    order = losses.tolist() if losses is not None else [0.0] * len(budgets)
    values = budgets.tolist()
    return min(range(len(values)), key=lambda number: (-values[number], order[number]))


def alignment_strength(prior: Tensor, anchor: int, kind: str = "gap") -> Tensor:
    """Return how hard each modality is pulled towards the anchor.

    ``gap``: ``beta_anchor - beta_m``, so equal budgets are not aligned. That the difference of budgets decides is what public
    text says; this form is our choice, and the others are for comparison: ``constant`` is 1, ``inverse``
    ``beta_m / beta_anchor``.

    Args:
        prior: ``beta`` of shape (modalities,).
        anchor: Number of the anchor, which gets 0.
        kind: ``gap``, ``constant`` or ``inverse``.

    Returns:
        Numbers from 0 of shape (modalities,).

    Raises:
        DataError: If the prior is not a vector of finite numbers, or has no such modality.
        ConfigError: If the kind is unknown.

    Example:
        >>> alignment_strength(torch.tensor([0.5, 0.3, 0.2]), anchor=0)
        tensor([0.0000, 0.2000, 0.3000])
    """
    if kind not in STRENGTHS:
        raise ConfigError(f"strength {kind!r} is unknown, {suggest(kind, STRENGTHS)}")
    _vector(prior)
    if not 0 <= anchor < len(prior):
        raise DataError(f"the anchor is modality {anchor}, expected one of 0 to {len(prior) - 1}")
    if kind == "gap":
        return (prior[anchor] - prior).clamp_min(0)
    strength = torch.ones_like(prior) if kind == "constant" else prior / prior[anchor]
    return strength * (torch.arange(len(prior), device=prior.device) != anchor)


def _check(logits: Tensor, labels: Tensor | None = None) -> None:
    if logits.dim() != 2 or not logits.numel():
        raise DataError(
            f"logits of shape {tuple(logits.shape)} were given, expected (samples, classes) with at least one of each"
        )
    if labels is not None and labels.shape != logits.shape[:1]:
        raise DataError(f"labels of shape {tuple(labels.shape)} were given for {len(logits)} samples, expected one for each")


def _vector(values: Tensor) -> None:
    if values.dim() != 1 or not len(values) or not bool(values.isfinite().all()):
        raise DataError(f"{values.tolist()} were given, expected one finite number per modality")
