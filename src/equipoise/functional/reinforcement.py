"""What a modality contributes, by mutual information with the fused prediction, and how much the lesser are reinforced."""

from __future__ import annotations

import torch
from torch import Tensor


def moments(values: Tensor, weights: Tensor) -> Tensor:
    """Return how many values there are, their sum and that of their squares; sums over processes are those of all.

    Args:
        values: Of shape (kinds, batch, classes).
        weights: How much each sample counts, of shape (kinds, batch).

    Returns:
        Sums of shape (3, kinds).

    Example:
        >>> moments(torch.tensor([[[1.0, 3.0], [5.0, 5.0]]]), torch.tensor([[1.0, 0.0]])).flatten().tolist()
        [2.0, 4.0, 10.0]
    """
    powers = torch.stack([torch.ones_like(values), values, values.square()])
    return (powers * weights[:, :, None]).sum((2, 3))


def standing(values: Tensor, sums: Tensor) -> Tensor:
    """Return where values stand among their kind: the share of a normal distribution of their mean and variance below them.

    ``Phi((v - mean) / deviation)``; one half where values do not vary.

    Args:
        values: Of shape (kinds, batch, classes).
        sums: From :func:`moments`.

    Example:
        >>> values = torch.tensor([[[1.0, 3.0]]])
        >>> standing(values, moments(values, torch.ones(1, 1)))
        tensor([[[0.1587, 0.8413]]])
    """
    mean, square = sums[1:] / sums[0].clamp_min(1)
    deviation = (square - mean.square()).clamp_min(1e-12).sqrt()
    ranks: Tensor = torch.special.ndtr((values - mean[:, None, None]) / deviation[:, None, None])
    return ranks


def joint_histogram(own: Tensor, together: Tensor, others: Tensor, weights: Tensor, bins: int) -> Tensor:
    """Count how often three numbers between 0 and 1 fall into bins of equal width.

    Args:
        own: What one modality says, of shape (batch, classes).
        together: What all modalities say, of the same shape.
        others: What all other modalities say, of the same shape.
        weights: How much each sample counts, of shape (batch,).
        bins: Number of bins.

    Returns:
        Counts of shape (bins, bins, bins), the axes in the order of the arguments.

    Example:
        >>> sure = torch.tensor([[0.9, 0.1]])
        >>> joint_histogram(sure, sure, 1 - sure, torch.ones(1), 2)[:, :, 0]
        tensor([[0., 0.],
                [0., 1.]])
    """
    first, second, third = ((item * bins).long().clamp_(0, bins - 1) for item in (own, together, others))
    cells = ((first * bins + second) * bins + third).flatten()
    return weights.new_zeros(bins**3).index_add(0, cells, weights.repeat_interleave(own.shape[1])).view(bins, bins, bins)


def normalised_information(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return what x and u say about each other, and what they say about each other once z is known.

    ``NMI = 2 I(x; u) / (H(x) + H(u))`` and ``NCMI = 2 I(x; u | z) / (H(x | z) + H(u | z))`` with
    ``I(x; u | z) = sum p(x, u, z) log [p(z) p(x, u, z) / (p(x, z) p(u, z))]``; both are in [0, 1], and 0 where nothing varies.

    Args:
        counts: Counts of (x, u, z) for each modality, of shape (modalities, bins, bins, bins).

    Returns:
        NMI and NCMI, each of shape (modalities,).

    Example:
        >>> copies = torch.zeros(1, 2, 2, 2)  # x = u = z
        >>> copies[0, 0, 0, 0] = copies[0, 1, 1, 1] = 5.0
        >>> normalised_information(copies)
        (tensor([1.]), tensor([0.]))
    """
    p = counts / counts.sum((1, 2, 3), keepdim=True).clamp_min(1)
    x, u, z = (_entropy(p.sum(axes)) for axes in ((2, 3), (1, 3), (1, 2)))
    xu, xz, uz = (_entropy(p.sum(axis)) for axis in (3, 2, 1))
    xuz = _entropy(p)
    return _share(x + u - xu, x + u), _share(xz + uz - xuz - z, xz + uz - 2 * z)


def reinforced_contributions(plain: Tensor, conditional: Tensor, together: Tensor, alone: Tensor) -> Tensor:
    """Return what each modality contributes.

    ``V_m = s NMI_m + mean_{n != m} s_n (NMI_m - NCMI_m)``. For two modalities this is the paper's; the mean of the others for
    more is our choice.

    Args:
        plain: ``NMI`` of shape (modalities,).
        conditional: ``NCMI`` given the other modalities, of the same shape.
        together: ``s``, mean probability of the true class by all modalities, a number.
        alone: ``s_m`` by each modality, of shape (modalities,); nan where none was measured.

    References:
        Gao et al., Asymmetric Reinforcing against Multi-modal Representation Bias, AAAI 2025, arXiv 2501.01240.

    Example:
        >>> plain, conditional = torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.0])
        >>> reinforced_contributions(plain, conditional, torch.tensor(0.8), torch.tensor([0.4, 0.6]))
        tensor([0.4000, 0.6000])
    """
    known = alone.isfinite()
    rest = (alone.nansum() - alone) / (known.sum() - 1).clamp_min(1)
    return together * plain + rest * (plain - conditional)


def reinforcement(contributions: Tensor, limit: float) -> Tensor:
    """Return the factor on the features of each modality: above 1 for who contributes less than the others.

    ``a_m = (prod_{n != m} V_n)^(1 / (M - 1)) / V_m``, within ``[1 / limit, limit]``. For two modalities this is the paper's
    ``V_n / V_m``; the geometric mean of the others for more, and the limit, are our choice.

    Args:
        contributions: ``V`` of shape (modalities,), of which those below 0.001 count as 0.001; nan where none was measured.
        limit: Largest factor, at least 1.

    Returns:
        Factors of the same shape; 1 where there is nothing to compare with.

    References:
        Gao et al., AAAI 2025, arXiv 2501.01240.

    Example:
        >>> reinforcement(torch.tensor([0.6, 0.4]), 2.0)
        tensor([0.6667, 1.5000])
    """
    logs = contributions.clamp_min(1e-3).log()
    count = contributions.isfinite().sum()
    others = (logs.nansum() - logs) / (count - 1).clamp_min(1)
    known = contributions.isfinite() & (count > 1)
    return torch.where(known, (others - logs).exp().clamp(1 / limit, limit), torch.ones_like(logs))


def _entropy(p: Tensor) -> Tensor:
    """Return ``-sum p log p`` over all axes but the first."""
    entropy: Tensor = torch.special.entr(p).flatten(1).sum(1)
    return entropy


def _share(information: Tensor, entropies: Tensor) -> Tensor:
    """Return twice the information by the sum of two entropies, 0 where both are (nearly) 0."""
    return torch.where(entropies > 1e-6, 2 * information / entropies.clamp_min(1e-6), 0.0).clamp(0, 1)
