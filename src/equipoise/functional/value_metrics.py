"""Metrics of predicted numbers as tensor functions, fast enough for every epoch and every modality."""

from __future__ import annotations

import torch
from torch import Tensor


def r_squared(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the coefficient of determination, ``1 - sum (y - p)^2 / sum (y - mean y)^2``, averaged over outputs.

    Where the targets of an output are all equal it is 1 if the prediction is exact, else 0, as scikit-learn has it.

    Args:
        predicted: Predicted values of shape (..., samples, outputs).
        target: True values of shape (samples, outputs).

    Returns:
        Numbers of shape (...), at most 1; 0 for predicting the mean.

    Example:
        >>> r_squared(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[1.0], [2.0], [3.0]]))
        tensor(0.5000)
    """
    error = (predicted - target).square().sum(-2)
    spread = (target - target.mean(0)).square().sum(0)
    constant = torch.where(error > 0, 0.0, 1.0).to(error)
    return torch.where(spread > 0, 1 - error / spread.clamp_min(torch.finfo(spread.dtype).tiny), constant).mean(-1)


def explained_values(predicted: Tensor, target: Tensor) -> Tensor:
    """Return how much nearer each prediction is than the mean of the targets, ``(y - mean y)^2 - (y - p)^2``.

    Args:
        predicted: Predicted values of shape (..., samples, outputs).
        target: True values of shape (samples, outputs).

    Returns:
        Values of shape (..., samples, outputs), whose :func:`explained_mean` is R^2.

    Example:
        >>> explained_values(torch.tensor([[1.0], [1.0], [4.0]]), torch.tensor([[1.0], [2.0], [3.0]])).flatten().tolist()
        [1.0, -1.0, 0.0]
    """
    return (target - target.mean(-2)).square() - (predicted - target).square()


def explained_mean(values: Tensor, target: Tensor, counts: Tensor | None = None) -> Tensor:
    """Return sums of values over the squared spread of the targets, averaged over the outputs that vary.

    ``1/O sum_o (sum_i c_i v_io) / (sum_i c_i (y_io - mean y_o)^2)``: R^2, where the values are :func:`explained_values`. It is
    linear in the values, so that a difference of values has the difference of R^2. Resamples keep the mean of the targets.

    Args:
        values: Values of shape (variables, samples, outputs).
        target: True values of shape (samples, outputs).
        counts: How often each sample counts, of shape (resamples, samples); once by default.

    Returns:
        Means of shape (variables,), or (resamples, variables) where counts are given; nan where no output varies.

    Example:
        >>> target = torch.tensor([[1.0], [2.0], [3.0]])
        >>> explained_mean(explained_values(torch.tensor([[[1.0], [2.0], [4.0]]]), target), target)
        tensor([0.5000])
    """
    every = torch.ones(1, len(target), dtype=values.dtype) if counts is None else counts.to(values.dtype)
    spread = every @ (target - target.mean(0)).square().to(values.dtype)
    sums = torch.einsum("bs,vso->bvo", every, values)
    shares = torch.where(spread > 0, sums.movedim(1, 0) / spread.clamp_min(torch.finfo(spread.dtype).tiny), 0.0)
    means = (shares.sum(2) / (spread > 0).sum(1)).T
    return means[0] if counts is None else means


def correlation(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the correlation of Pearson between predicted and true values; nan where either is constant.

    Args:
        predicted: Predicted values of shape (samples,).
        target: True values of shape (samples,).

    Example:
        >>> correlation(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([3.0, 2.0, -2.0]))
        tensor(-1.)
    """
    first, second = predicted - predicted.mean(), target - target.mean()
    return (first * second).sum() / (first.square().sum() * second.square().sum()).sqrt()


def summaries(predicted: Tensor, target: Tensor) -> list[dict[str, float]]:
    """Return the metrics of an epoch of several predictions of the same samples, in the units of the target.

    Args:
        predicted: Predicted values of shape (predictions, samples, outputs).
        target: True values of shape (samples, outputs).

    Returns:
        For each prediction ``r2``, ``mse``, ``rmse`` and ``mae``, each averaged over outputs.

    Example:
        >>> summaries(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[1.0], [2.0]]))
        [{'r2': -1.0, 'mse': 0.5, 'rmse': 0.7071067690849304, 'mae': 0.5}]
    """
    error = predicted - target
    squares = error.square().mean(-2)
    values = [r_squared(predicted, target), squares.mean(-1), squares.sqrt().mean(-1), error.abs().mean((-2, -1))]
    return [dict(zip(("r2", "mse", "rmse", "mae"), row, strict=True)) for row in torch.stack(values, 1).tolist()]
