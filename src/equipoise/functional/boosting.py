"""Boosting the classifier of a modality that lags: what a new head learns, and which modality gets one."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.errors import ConfigError, DataError


class BoostingLosses(NamedTuple):
    """Losses of one modality's heads per sample, each of shape (samples,); their sum is what is minimised."""

    ensemble: Tensor
    previous: Tensor
    residual: Tensor


def residual_weight(previous_logits: Tensor, target: Tensor, strength: float = 0.5) -> Tensor:
    """Return how much of a sample is left to learn once earlier heads have had their say.

    ``1 - lambda * q_i``, with ``q`` the probability of the true class by the softmax of the *summed* logits of the earlier
    heads, without gradient. It stays in ``[1 - lambda, 1]``. The paper sums the heads' *probabilities* instead, and so goes
    below 0 once ``lambda * sum_j p_j > 1``; its released code has the form used here.

    As the label is one-hot, the cross-entropy with the paper's residual label ``y - lambda * y * q`` is exactly this weight
    times the plain cross-entropy.

    Args:
        previous_logits: Summed logits of the earlier heads, of shape (samples, classes).
        target: True class codes of shape (samples,).
        strength: ``lambda``, from 0 (each head learns everything) to 1.

    Returns:
        Weights of shape (samples,), without gradient.

    Raises:
        DataError: If there is not one target for each sample.
        ConfigError: If the strength is not between 0 and 1.

    References:
        Jiang, Huang and Yang, AUG, NeurIPS 2025, arXiv 2502.20120.

    Example:
        >>> residual_weight(torch.tensor([[9.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 0]))
        tensor([0.5001, 0.7500])
    """
    if not 0 <= strength <= 1:
        raise ConfigError(f"the strength of the residual is {strength}, expected a number from 0 to 1")
    return 1 - strength * confidence(previous_logits.unsqueeze(0), target)


def boosting_losses(logits: Tensor, target: Tensor, strength: float = 0.5) -> BoostingLosses:
    """Return the losses of a modality whose heads are added up.

    With ``z_j`` the logits of head ``j`` of ``t``: ``ensemble = CE(sum_{j <= t} z_j, y)``, ``previous = CE(sum_{j < t} z_j, y)``
    and ``residual = (1 - lambda * q) CE(z_t, y)`` with :func:`residual_weight`. Only ``q`` is without gradient: earlier heads
    learn by the first two, the newest by the first and the last.

    With one head the last two are 0, as in the released code; the paper's formula, read literally, would count that head's
    loss twice.

    Args:
        logits: ``z`` of shape (heads, samples, classes), oldest head first.
        target: True class codes of shape (samples,).
        strength: ``lambda``, from 0 to 1.

    Returns:
        Three losses of shape (samples,), in nats.

    Raises:
        DataError: If there is no head, or not one target for each sample.
        ConfigError: If the strength is not between 0 and 1.

    References:
        Jiang, Huang and Yang, NeurIPS 2025, arXiv 2502.20120.

    Example:
        >>> losses = boosting_losses(torch.zeros(2, 1, 2), torch.tensor([0]))
        >>> [round(loss.item(), 4) for loss in losses]
        [0.6931, 0.6931, 0.5199]
    """
    _check(logits, target)
    if not 0 <= strength <= 1:
        raise ConfigError(f"the strength of the residual is {strength}, expected a number from 0 to 1")
    ensemble = F.cross_entropy(logits.sum(0), target, reduction="none")
    if len(logits) == 1:
        nothing = torch.zeros_like(ensemble)
        return BoostingLosses(ensemble, nothing, nothing)
    previous = logits[:-1].sum(0)
    newest = F.cross_entropy(logits[-1], target, reduction="none")
    return BoostingLosses(
        ensemble, F.cross_entropy(previous, target, reduction="none"), residual_weight(previous, target, strength) * newest
    )


def confidence(logits: Tensor, target: Tensor) -> Tensor:
    """Return the probability that a modality's heads together give to the true class: ``softmax(sum_j z_j)[y]``.

    The paper sums the heads' probabilities, which is not a probability and grows with their number; its released code has the
    form used here.

    Args:
        logits: ``z`` of shape (heads, samples, classes).
        target: True class codes of shape (samples,).

    Returns:
        Probabilities of shape (samples,), without gradient.

    Raises:
        DataError: If there is no head, or not one target for each sample.

    References:
        Jiang, Huang and Yang, NeurIPS 2025, arXiv 2502.20120.

    Example:
        >>> confidence(torch.zeros(3, 1, 4), torch.tensor([2]))
        tensor([0.2500])
    """
    _check(logits, target)
    return logits.detach().sum(0).softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)


def assign_head(scores: Sequence[float], sigma: float = 1.0, margin: float = 0.01) -> int | None:
    """Return which modality gets another head, if any.

    The weakest one, if the strongest is clearly ahead: ``max_n s_n - sigma * min_n s_n > margin``. For two modalities this is
    the rule of the paper's text, with the dead zone on both sides that its second test, read literally, lacks (and without the
    swap of branches in its algorithm). For more modalities the paper has none, and this one is our choice. The released code
    compares the ratio of sums with ``sigma +- 0.01``; for ``sigma`` above 1 that may give a head to the modality ahead.

    Args:
        scores: Mean :func:`confidence` of each modality, of length modalities; nan where none was measured.
        sigma: How many times the weakest the strongest may be; from 1.
        margin: Dead zone, in units of the score.

    Returns:
        Number of the modality (the first of equal ones), or None.

    Raises:
        ConfigError: If sigma is below 1 or the margin below 0.

    References:
        Jiang, Huang and Yang, NeurIPS 2025, arXiv 2502.20120.

    Example:
        >>> assign_head([0.8, 0.5, 0.6]), assign_head([0.5, 0.505])
        (1, None)
    """
    if not sigma >= 1 or not margin >= 0:
        raise ConfigError(f"sigma {sigma} and margin {margin} were given, expected a sigma from 1 and a margin from 0")
    known = [number for number, score in enumerate(scores) if isfinite(score)]
    if len(known) < 2:
        return None
    weakest = min(known, key=lambda number: scores[number])
    return weakest if max(scores[number] for number in known) - sigma * scores[weakest] > margin else None


def _check(logits: Tensor, target: Tensor) -> None:
    if logits.dim() != 3 or not len(logits) or target.shape != logits.shape[1:2]:
        raise DataError(
            f"logits of shape {tuple(logits.shape)} and target of {tuple(target.shape)} were given, "
            "expected (heads, samples, classes) with at least one head, and (samples,)"
        )
