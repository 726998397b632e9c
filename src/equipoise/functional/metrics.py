"""Metrics of classification as tensor functions, fast enough for every epoch and every modality.

Counts and their ratios are float64, so they equal scikit-learn's to the last digits. Over no samples a metric is NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def confusion(predicted: Tensor, target: Tensor, classes: int) -> Tensor:
    """Count how often each class is taken for each other one.

    Args:
        predicted: Predicted class codes of shape (..., samples): one or many predictions of the same samples.
        target: True class codes of shape (samples,).
        classes: Number of classes.

    Returns:
        Counts of shape (..., classes, classes): the row is the true class, the column the predicted one.

    Example:
        >>> confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]), 2)
        tensor([[1, 1],
                [0, 1]])
    """
    cells = predicted.reshape(predicted.shape[:-1].numel(), predicted.shape[-1]) + target * classes
    number = torch.arange(len(cells), device=cells.device)[:, None] * classes**2
    counts = torch.bincount((cells + number).flatten(), minlength=len(cells) * classes**2)
    return counts.view(*predicted.shape[:-1], classes, classes)


def accuracy(matrix: Tensor) -> Tensor:
    """Return the share of samples that are predicted right.

    Args:
        matrix: Counts of shape (..., classes, classes) from :func:`confusion`.

    Returns:
        A float64 number per matrix, of shape (...).

    Example:
        >>> accuracy(torch.tensor([[3, 1], [0, 1]]))
        tensor(0.8000, dtype=torch.float64)
    """
    return _hits(matrix).sum(-1) / matrix.sum((-2, -1))


def balanced_accuracy(matrix: Tensor) -> Tensor:
    """Return the recall averaged over the classes that have samples.

    Args:
        matrix: Counts of shape (..., classes, classes) from :func:`confusion`.

    Returns:
        A float64 number per matrix, of shape (...).

    Reference:
        Brodersen, Ong, Stephan and Buhmann, "The balanced accuracy and its posterior distribution", ICPR 2010.

    Example:
        >>> balanced_accuracy(torch.tensor([[3, 1], [0, 1]]))
        tensor(0.8750, dtype=torch.float64)
    """
    support = matrix.sum(-1)
    return (_hits(matrix) / support.clamp(min=1)).sum(-1) / support.count_nonzero(-1)


def macro_f1(matrix: Tensor) -> Tensor:
    """Return the F1 score averaged over the classes that occur among targets or predictions.

    Per class ``F1 = 2 hits / (samples + predictions)``, as scikit-learn's ``f1_score(average="macro", zero_division=0)``.

    Args:
        matrix: Counts of shape (..., classes, classes) from :func:`confusion`.

    Returns:
        A float64 number per matrix, of shape (...).

    Example:
        >>> macro_f1(torch.tensor([[3, 1], [0, 1]]))
        tensor(0.7619, dtype=torch.float64)
    """
    both = matrix.sum(-2) + matrix.sum(-1)
    return (2 * _hits(matrix) / both.clamp(min=1)).sum(-1) / both.count_nonzero(-1)


def quadratic_kappa(matrix: Tensor) -> Tensor:
    """Return Cohen's kappa with quadratic weights: agreement beyond chance where far off is worse than near.

    ``1 - sum_ij (i - j)^2 n_ij / sum_ij (i - j)^2 e_ij`` with ``e_ij`` the counts expected of independent margins; 0 where
    that is not defined.

    Args:
        matrix: Counts of shape (..., classes, classes) from :func:`confusion`, classes in their order.

    Returns:
        A float64 number per matrix, of shape (...).

    Reference:
        Cohen, "Weighted kappa: nominal scale agreement with provision for scaled disagreement", Psychological Bulletin 1968.

    Example:
        >>> quadratic_kappa(torch.tensor([[2, 0, 0], [0, 2, 0], [0, 1, 1]]))
        tensor(0.8571, dtype=torch.float64)
    """
    counts = matrix.double()
    expected = counts.sum(-1)[..., :, None] * counts.sum(-2)[..., None, :] / counts.sum((-2, -1))[..., None, None]
    weights = _distances(matrix).square()
    seen, chance = (weights * counts).sum((-2, -1)), (weights * expected).sum((-2, -1))
    return torch.where(chance > 0, 1 - seen / chance.clamp_min(1e-300), 0.0)


def mean_distance(matrix: Tensor) -> Tensor:
    """Return how many classes the prediction is off, on average.

    Args:
        matrix: Counts of shape (..., classes, classes) from :func:`confusion`, classes in their order.

    Returns:
        A float64 number per matrix, of shape (...).

    Example:
        >>> mean_distance(torch.tensor([[1, 0, 1], [0, 2, 0], [0, 0, 0]]))
        tensor(0.5000, dtype=torch.float64)
    """
    return (_distances(matrix) * matrix).sum((-2, -1)) / matrix.sum((-2, -1))


def _distances(matrix: Tensor) -> Tensor:
    codes = torch.arange(matrix.shape[-1], device=matrix.device, dtype=torch.float64)
    return (codes[:, None] - codes).abs()


def _hits(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).double()


def negative_log_likelihood(log_probabilities: Tensor, target: Tensor) -> Tensor:
    """Return the mean of ``-log p`` of the true class, in nats.

    Args:
        log_probabilities: Log-probabilities of shape (samples, classes).
        target: True class codes of shape (samples,).

    Returns:
        A scalar.

    Example:
        >>> negative_log_likelihood(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([1]))
        tensor(0.6931)
    """
    return F.nll_loss(log_probabilities, target)


def brier_score(probabilities: Tensor, target: Tensor) -> Tensor:
    """Return the squared distance between probabilities and truth, summed over classes and averaged over samples.

    Args:
        probabilities: Probabilities of shape (samples, classes).
        target: True class codes of shape (samples,).

    Returns:
        A scalar between 0 and 2.

    Reference:
        Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 1950.

    Example:
        >>> brier_score(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([0, 1]))
        tensor(0.2500)
    """
    truth = F.one_hot(target, probabilities.shape[1])
    return (probabilities - truth).square().sum(1).mean()


def expected_calibration_error(probabilities: Tensor, target: Tensor, bins: int = 15) -> Tensor:
    """Return the mean gap between the confidence in the predicted class and how often it is right.

    Samples are put into bins of equal width by their confidence ``c = max p``; a bin holds its lower edge, the last one also
    its upper. With ``h`` = 1 for a hit and N samples: ``ECE = sum over bins |sum in bin (c - h)| / N``.

    Args:
        probabilities: Probabilities of shape (samples, classes).
        target: True class codes of shape (samples,).
        bins: Number of bins between 0 and 1.

    Returns:
        A scalar between 0 and 1.

    Reference:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, arXiv:1706.04599; there a bin
        holds its upper edge.

    Example:
        >>> expected_calibration_error(torch.tensor([[0.75, 0.25], [0.75, 0.25]]), torch.tensor([0, 1]))
        tensor(0.2500)
    """
    confidence, predicted = probabilities.max(1)
    edges = torch.linspace(0, 1, bins + 1, dtype=probabilities.dtype, device=probabilities.device)[1:-1]
    gaps = confidence - (predicted == target).to(confidence.dtype)
    return gaps.new_zeros(bins).index_add(0, torch.bucketize(confidence, edges, right=True), gaps).abs().sum() / len(target)


def summary(log_probabilities: Tensor, target: Tensor) -> dict[str, float]:
    """Return the metrics of an epoch, with one transfer from the device.

    Args:
        log_probabilities: Log-probabilities of shape (samples, classes).
        target: True class codes of shape (samples,).

    Returns:
        ``accuracy``, ``balanced_accuracy``, ``macro_f1`` and ``loss``, the mean negative log-likelihood in nats.

    Example:
        >>> values = summary(torch.tensor([[0.8, 0.2], [0.8, 0.2]]).log(), torch.tensor([0, 1]))
        >>> {name: round(value, 4) for name, value in values.items()}
        {'accuracy': 0.5, 'balanced_accuracy': 0.5, 'macro_f1': 0.3333, 'loss': 0.9163}
    """
    return summaries(log_probabilities[None], target)[0]


def summaries(log_probabilities: Tensor, target: Tensor) -> list[dict[str, float]]:
    """Return the metrics of many predictions of the same samples, at about the price of one.

    Args:
        log_probabilities: Log-probabilities of shape (predictions, samples, classes).
        target: True class codes of shape (samples,).

    Returns:
        For each prediction what :func:`summary` returns.
    """
    matrix = confusion(log_probabilities.argmax(-1), target, log_probabilities.shape[-1])
    true = log_probabilities.gather(-1, target.expand(len(log_probabilities), -1)[:, :, None]).squeeze(-1)
    loss = -true.mean(-1).double()
    values = torch.stack([accuracy(matrix), balanced_accuracy(matrix), macro_f1(matrix), loss], 1).tolist()
    return [dict(zip(("accuracy", "balanced_accuracy", "macro_f1", "loss"), row, strict=True)) for row in values]
