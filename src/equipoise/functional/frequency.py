"""How much of what a modality shows lies in low frequencies, and the weight that follows from it."""

from __future__ import annotations

from functools import cache
from math import cos, pi, sqrt

import torch
from torch import Tensor

_SMALL = 1e-6


def cosine_basis(size: int) -> Tensor:
    """Return the orthonormal discrete cosine transform (DCT-II) of a length as a matrix: row k is the k-th frequency.

    ``c_k cos(pi (2 n + 1) k / (2 size))`` with ``c_0 = sqrt(1 / size)`` and ``c_k = sqrt(2 / size)``.

    Args:
        size: The length.

    Returns:
        Double-precision numbers of shape (size, size).

    Example:
        >>> basis = cosine_basis(8)
        >>> torch.allclose(basis @ basis.T, torch.eye(8, dtype=torch.float64))
        True
    """
    rows = [[cos(pi * (2 * place + 1) * k / (2 * size)) for place in range(size)] for k in range(size)]
    basis = torch.tensor(rows, dtype=torch.float64) * sqrt(2 / size)
    basis[0] /= sqrt(2)
    return basis


@cache
def _corners(height: int, width: int, band: int) -> Tensor:
    """Return what turns flattened patches into their lowest and their highest coefficients, of shape (patch, 2 coefficients)."""
    low = high = torch.ones(1, 1, dtype=torch.float64)
    for size in (height, width):
        basis, count = cosine_basis(size), max(1, min(band, size // 2))
        low, high = torch.kron(low, basis[:count]), torch.kron(high, basis.flip(0)[:count])
    return torch.cat([low, high]).T.contiguous()


def frequency_corners(values: Tensor, patch: int = 8, band: int = 2) -> tuple[Tensor, Tensor]:
    """Cut samples into patches and return the lowest and the highest coefficients of the patches' cosine transforms.

    Pictures are cut along height and width, sequences along their steps, rows of numbers along the row. A patch is never longer
    than the sample; what is left over at an end is not looked at. The highest coefficients come in reverse, so that the lowest
    of all is paired with the highest of all.

    Args:
        values: Samples of shape (batch, ..., height, width), (batch, steps, width) or (batch, width).
        patch: Length of a patch along each axis.
        band: Coefficients along each axis that are low, and as many that are high; at most half of the patch.

    Returns:
        Low and high coefficients in double precision, each of shape (batch, patches, coefficients); channels are patches, too.

    Example:
        >>> low, high = frequency_corners(torch.ones(1, 1, 8, 8), band=1)
        >>> round(low.item(), 6), round(abs(high.item()), 6)
        (8.0, 0.0)
    """
    if values.ndim < 4:
        values = (values.unsqueeze(1) if values.ndim == 2 else values.transpose(1, 2)).unsqueeze(2)
    values = values.flatten(1, -3).double()
    height, width = (min(patch, size) for size in values.shape[2:])
    down, across = values.shape[2] // height, values.shape[3] // width
    tiles = values[:, :, : down * height, : across * width].unflatten(3, (across, width)).unflatten(2, (down, height))
    patches = tiles.transpose(3, 4).reshape(len(values), -1, height * width)
    low, high = (patches @ _corners(height, width, band).to(values.device)).chunk(2, 2)
    return low, high


def frequency_ratios(values: Tensor, patch: int = 8, band: int = 2) -> Tensor:
    """Return how much larger the low coefficients of each sample are than its high ones: the frequency ratio metric.

    ``mean |low| / (|high| + 1e-6)`` over channels, patches and coefficients. The paper has the sum over a batch, which a smaller
    last batch would shake; the mean, and the absolute value before 1e-6 is added, so that no sum can be zero, are our choices.
    Few coefficients near zero make up most of it: it is computed in double precision.

    Args:
        values: Samples of shape (batch, ...); see :func:`frequency_corners`.
        patch: Length of a patch along each axis.
        band: Coefficients along each axis that are low, and as many that are high.

    Returns:
        Double-precision numbers of shape (batch,); near 1 where there is but one number and so no frequency.

    References:
        Lu et al., Plug, Play, and Fortify, ICLR 2026, arXiv 2602.22644.

    Example:
        >>> smooth, rough = torch.linspace(1, 2, 8), torch.tensor([1.0, -1.0]).repeat(4)
        >>> frequency_ratios(torch.stack([smooth, rough]), band=1).round().tolist()
        [586.0, 0.0]
    """
    low, high = frequency_corners(values, patch, band)
    return (low.abs() / (high.abs() + _SMALL)).mean((1, 2))


def remembered(bank: Tensor, ratios: Tensor, memory: float) -> Tensor:
    """Return a moving average after one more batch: ``memory * bank + (1 - memory) * ratios``.

    Args:
        bank: The average before, of shape (modalities,); nan where there was nothing yet, which then starts at the ratio itself.
        ratios: What the batch shows, of the same shape; nan where no sample has the modality, which keeps the average.
        memory: Share of the past.

    Example:
        >>> remembered(torch.tensor([2.0, float("nan"), 3.0]), torch.tensor([4.0, 5.0, float("nan")]), 0.5).tolist()
        [3.0, 5.0, 3.0]
    """
    known = torch.where(bank.isnan(), ratios, memory * bank + (1 - memory) * ratios)
    return torch.where(ratios.isnan(), bank, known)


def frequency_weights(
    ratios: Tensor, bank: Tensor, highest: float = 1.5, span: float = 1.0, slope: float = 10.0, centre: float = 1.0
) -> Tensor:
    """Return the weight of each modality: low where its low frequencies are rich, high where they are poor.

    ``K_m = highest - span * sigmoid(slope (T_m - centre))`` with ``T_m = ratio_m / mean_n bank_n``.

    Args:
        ratios: Frequency ratio of each modality in this batch, of shape (modalities,); nan where no sample has it.
        bank: Their moving averages, of the same shape; see :func:`remembered`.
        highest: Largest weight (the paper's alpha).
        span: Distance to the smallest (beta).
        slope: How sharply the weight falls (lambda).
        centre: Where it is half-way (gamma).

    Returns:
        Weights of shape (modalities,); 1 where no sample has the modality.

    References:
        Lu et al., Plug, Play, and Fortify, ICLR 2026, arXiv 2602.22644.

    Example:
        >>> frequency_weights(torch.tensor([4.0, 4.0]), torch.tensor([4.0, 4.0])).tolist()
        [1.0, 1.0]
    """
    relative = ratios / bank.nanmean().clamp_min(_SMALL)
    return torch.where(ratios.isnan(), 1.0, highest - span * torch.sigmoid(slope * (relative - centre)))
