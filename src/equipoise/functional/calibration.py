"""Whether confidence can be believed: reliability curves, and the calibration error with its interval."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from equipoise.functional.bootstrap import bootstrap, interval


class Reliability(NamedTuple):
    """A reliability curve, one number per bin of confidence.

    Attributes:
        samples: How many there are in each bin, of shape (bins,).
        confidence: Their mean confidence; nan where there are none.
        accuracy: The share of them that is right; nan likewise.
    """

    samples: Tensor
    confidence: Tensor
    accuracy: Tensor


def reliability(probabilities: Tensor, target: Tensor, bins: int = 15) -> Reliability:
    """Return how often predictions are right, by how sure they are.

    Bins are those of :func:`equipoise.functional.metrics.expected_calibration_error`, which is the mean of
    ``|accuracy - confidence|`` over samples.

    Args:
        probabilities: Probabilities of shape (samples, classes).
        target: True class codes of shape (samples,).
        bins: Number of bins of equal width between 0 and 1.

    References:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, arXiv 1706.04599.

    Example:
        >>> curve = reliability(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]), torch.tensor([0, 1, 1]), bins=2)
        >>> curve.samples.tolist(), [round(value, 3) for value in curve.accuracy.tolist()]
        ([0.0, 3.0], [nan, 0.667])
    """
    confidence, predicted = probabilities.max(1)
    inside = _bin_of(confidence, bins)
    hits = (predicted == target).to(inside.dtype)
    count = inside.sum(0)
    return Reliability(count, confidence.to(inside.dtype) @ inside / count, hits @ inside / count)


def calibration_interval(
    probabilities: Tensor, target: Tensor, bins: int = 15, resamples: int = 1000, seed: int = 0, groups: Tensor | None = None
) -> tuple[float, float]:
    """Return the 95 % interval of the expected calibration error over resamples of the samples (percentiles).

    A resample adds chance to every bin, so with few samples the interval lies high: a small lower end is good news, a large
    upper end alone is no bad news.

    Args:
        probabilities: Probabilities of shape (samples, classes).
        target: True class codes of shape (samples,).
        bins: Number of bins.
        resamples: Number of resamples.
        seed: Seed of the resamples.
        groups: Group of each sample, codes of shape (samples,), where samples of a group are not independent.

    Example:
        >>> low, high = calibration_interval(torch.tensor([[0.9, 0.1]] * 50), torch.tensor([0] * 25 + [1] * 25))
        >>> low < 0.4 < high
        True
    """
    confidence, predicted = probabilities.max(1)
    inside = _bin_of(confidence, bins)
    gaps = inside * (confidence - (predicted == target).to(confidence.dtype))[:, None]
    errors = bootstrap(lambda counts: (counts @ gaps).abs().sum(1) / counts.sum(1), len(target), resamples, seed, groups)
    low, high = interval(errors).tolist()
    return low, high


def _bin_of(confidence: Tensor, bins: int) -> Tensor:
    """Return which bin each sample is in, 0 or 1 of shape (samples, bins)."""
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype)[1:-1]
    return one_hot(torch.bucketize(confidence, edges, right=True), bins).double()
