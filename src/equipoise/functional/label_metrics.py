"""Metrics of labels that do not exclude each other, as tensor functions, fast enough for every epoch and every modality.

A label counts as predicted from probability 1/2 on. Ratios are float64, so they equal scikit-learn's to the last digits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def label_f1(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the F1 score averaged over labels, and that of all labels together.

    Per label ``F1 = 2 hits / (samples + predictions)``. The average is over labels among targets or predictions; where there is
    none, both scores are 0.

    Args:
        predicted: Predicted labels, booleans of shape (..., samples, labels).
        target: True labels, booleans of shape (samples, labels).

    Returns:
        ``macro`` and ``micro``, float64 numbers of shape (...).

    Example:
        >>> macro, micro = label_f1(torch.tensor([[True, True], [False, True]]), torch.tensor([[True, True], [True, False]]))
        >>> round(float(macro), 4), round(float(micro), 4)
        (0.6667, 0.6667)
    """
    hits = (predicted & target).sum(-2).double()
    both = predicted.sum(-2) + target.sum(-2)
    macro = (2 * hits / both.clamp_min(1)).sum(-1) / both.count_nonzero(-1).clamp_min(1)
    return macro, 2 * hits.sum(-1) / both.sum(-1).clamp_min(1)


def subset_accuracy(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the share of samples of which every label is right.

    Args:
        predicted: Predicted labels, booleans of shape (..., samples, labels).
        target: True labels, booleans of shape (samples, labels).

    Example:
        >>> subset_accuracy(torch.tensor([[True, True], [False, True]]), torch.tensor([[True, True], [True, True]]))
        tensor(0.5000, dtype=torch.float64)
    """
    return (predicted == target).all(-1).double().mean(-1)


def balanced_label_mean(values: Tensor, target: Tensor, counts: Tensor | None = None) -> Tensor:
    """Return means over samples that are averaged over both sides of each label, and then over labels.

    ``1/L sum_l (mean of v_l over the samples that have l + mean of v_l over those that have not) / 2``, over the L labels that
    some samples have and others have not: where the values are hits, the balanced accuracy of each label, averaged. It is linear
    in the values; whoever knows nothing has one half, however frequent the labels are.

    Args:
        values: Values of shape (variables, samples, labels).
        target: Labels, 0 or 1 of shape (samples, labels).
        counts: How often each sample counts, of shape (resamples, samples); once by default.

    Returns:
        Means of shape (variables,), or (resamples, variables) where counts are given; nan where no label has both sides.

    References:
        Brodersen, Ong, Stephan and Buhmann, "The balanced accuracy and its posterior distribution", ICPR 2010.

    Example:
        >>> hits = torch.tensor([[[1.0], [1.0], [0.0], [1.0]]], dtype=torch.float64)
        >>> balanced_label_mean(hits, torch.tensor([[1.0], [0.0], [0.0], [0.0]]))
        tensor([0.8333], dtype=torch.float64)
    """
    every = torch.ones(1, len(target), dtype=values.dtype) if counts is None else counts.to(values.dtype)
    total, labels = every.new_zeros(len(every), len(values)), every.new_zeros(len(every), 1)
    for hits, truth in zip(values.unbind(2), (target > 0.5).unbind(1), strict=True):
        both, mean = every.new_ones(len(every), 1, dtype=torch.bool), torch.zeros_like(total)
        for side in (truth, ~truth):
            weight = every[:, side].sum(1, keepdim=True)
            mean += every[:, side] @ hits[:, side].T / weight.clamp_min(1) / 2
            both &= weight > 0
        total += torch.where(both, mean, 0.0)
        labels += both
    means = total / labels
    return means[0] if counts is None else means


def summaries(logits: Tensor, target: Tensor) -> list[dict[str, float]]:
    """Return the metrics of an epoch of several predictions of the same samples.

    Args:
        logits: Log-odds of shape (predictions, samples, labels).
        target: Labels, 0 or 1 of shape (samples, labels).

    Returns:
        For each prediction ``macro_f1``, ``micro_f1``, ``subset_accuracy`` and ``loss``, the binary cross-entropy in nats,
        averaged over samples and labels.

    Example:
        >>> (found,) = summaries(torch.tensor([[[9.0, -9.0], [9.0, 9.0]]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        >>> found["macro_f1"], found["subset_accuracy"]
        (1.0, 1.0)
    """
    predicted, truth = logits >= 0, target > 0.5
    losses = F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype).expand(logits.shape), reduction="none")
    values = [*label_f1(predicted, truth), subset_accuracy(predicted, truth), losses.mean((-2, -1)).double()]
    names = ("macro_f1", "micro_f1", "subset_accuracy", "loss")
    return [dict(zip(names, row, strict=True)) for row in torch.stack(values, 1).tolist()]
