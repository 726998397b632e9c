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
from equipoise.functional.bootstrap import bootstrap, interval

STRENGTHS = ("gap", "constant", "inverse")

PRIOR_TEMPERATURE = 0.25
"""Temperature of the prior in nats, our choice: by development samples (``benchmarks/results/emphasis_study.md``)."""


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


def label_entropy(labels: Tensor) -> float:
    """Return the entropy of the frequencies of classes, ``H(Y) = - sum_k f_k log f_k``, in nats.

    Args:
        labels: Class codes of shape (samples,).

    Raises:
        DataError: If there are no labels.

    Example:
        >>> round(label_entropy(torch.tensor([0, 1, 1, 0])), 4)
        0.6931
    """
    if not labels.numel():
        raise DataError("the entropy of no labels was asked for, expected at least one")
    shares = torch.bincount(labels).double() / len(labels)
    return float(torch.special.entr(shares).sum())


def budget(logits: Tensor, known: float | None = None) -> Tensor:
    """Return what a modality alone resolves of the task: ``B = H(Y) - mean_i H(p_i)``.

    A plug-in estimate of ``I(X; Y)``; the constant makes no difference to :func:`prior`. It takes the model at its word, so
    scale by :func:`temperature_scale` first, and compare with :func:`grounded_budget`.

    Args:
        logits: Logits of shape (samples, classes), from data the model was not fitted to.
        known: ``H(Y)``, see :func:`label_entropy`; ``log K``, that of equally frequent classes, if left out.

    Returns:
        A scalar from 0, in nats.

    Raises:
        DataError: If there are no samples or no classes.

    References:
        Xiong et al., IIBalance, ICME 2026, arXiv 2603.17347.

    Example:
        >>> budget(torch.tensor([[100.0, 0.0], [0.0, 100.0]])), budget(torch.zeros(2, 4))
        (tensor(0.6931), tensor(0.))
    """
    return ((log(logits.shape[-1]) if known is None else known) - mean_entropy(logits)).clamp_min(0)


def grounded_budget(logits: Tensor, labels: Tensor, known: float | None = None) -> Tensor:
    """Return the budget by what is true instead of what is said: ``B' = H(Y) - mean_i -log p_i[y_i]``.

    Below 0 for a modality that is worse than a guess. Our choice, as a check: a model that is confidently wrong has a large
    :func:`budget`, but not a large ``B'``.

    Args:
        logits: Logits of shape (samples, classes), from data the model was not fitted to.
        labels: True class codes of shape (samples,).
        known: ``H(Y)``; ``log K`` if left out.

    Returns:
        A scalar up to ``H(Y)``, in nats.

    Raises:
        DataError: If there are no samples, or not one label for each.

    Example:
        >>> grounded_budget(torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1]))
        tensor(-3.8070)
    """
    _check(logits, labels)
    return (log(logits.shape[1]) if known is None else known) - F.cross_entropy(logits, labels)


def measure(logits: Tensor, labels: Tensor, known: float | None = None, calibrate: bool = True) -> dict[str, float]:
    """Return the information budget of one modality and what stands beside it.

    Args:
        logits: Its logits on held-out samples, of shape (samples, classes).
        labels: True class codes of shape (samples,).
        known: ``H(Y)``; ``log K`` if left out.
        calibrate: Whether to scale by the temperature of least loss first.

    Returns:
        ``entropy``: the budget in nats; ``grounded``: the same by the loss on true labels; ``raw``: by entropy, without scaling;
        ``temperature``; ``loss``: mean negative log-likelihood in nats; ``accuracy``. Scaled at a temperature within its limits
        the first two are equal: the loss has its minimum where it equals the entropy.

    Raises:
        DataError: If there are no samples, or not one label for each.

    Example:
        >>> found = measure(torch.tensor([[2.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]))
        >>> round(found["temperature"], 2), round(found["entropy"], 3), round(found["grounded"], 3), found["accuracy"]
        (1.82, 0.131, 0.131, 0.75)
    """
    temperature = temperature_scale(logits, labels) if calibrate else 1.0
    scaled = logits / temperature
    return {
        "entropy": float(budget(scaled, known)),
        "grounded": float(grounded_budget(scaled, labels, known)),
        "raw": float(budget(logits, known)),
        "temperature": temperature,
        "loss": float(F.cross_entropy(scaled, labels)),
        "accuracy": float((logits.argmax(1) == labels).float().mean()),
    }


def bootstrap_interval(values: Tensor, resamples: int = 1000, seed: int = 0, groups: Tensor | None = None) -> tuple[float, float]:
    """Return the 95 % interval of a mean over resamples of the samples (percentiles), see :func:`~.bootstrap.bootstrap`.

    Args:
        values: One value per sample, of shape (samples,).
        resamples: Number of resamples.
        seed: Seed of the resamples.
        groups: Group of each sample, codes of shape (samples,), where samples of a group are not independent.

    Returns:
        The 2.5th and the 97.5th percentile.

    Raises:
        DataError: If there is no value.

    Example:
        >>> bootstrap_interval(torch.ones(5))
        (1.0, 1.0)
    """
    if values.dim() != 1 or not len(values):
        raise DataError(f"values of shape {tuple(values.shape)} were given, expected one per sample")
    values = values.detach().cpu().double()
    means = bootstrap(lambda counts: counts @ values / counts.sum(1), len(values), resamples, seed, groups)
    low, high = interval(means).tolist()
    return low, high


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
