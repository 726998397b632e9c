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
