"""Flat directions: along which a layer may change without disturbing what it does on known inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def flat_projector(energy: Tensor, temperature: float) -> Tensor:
    """Return the matrix that damps the directions in which a layer's inputs have much energy.

    ``P = V diag(exp(-tau (l - l_min) / (l_max - l_min))) V^T`` with ``energy = V diag(l) V^T``: directions without energy stay
    as they are, the one with most is multiplied by ``exp(-tau)``. A gradient G of the layer's weight becomes ``G P``. Where all
    directions have the same energy none is damped (our choice; the formula is undefined there).

    Args:
        energy: Sum or mean of ``x x^T`` over inputs x, of shape (size, size); its scale does not matter.
        temperature: ``tau``; 0 damps nothing.

    Returns:
        ``P``, symmetric, of shape (size, size).

    References:
        Jiang, Chi and Yang, Multimodal Classification via Modal-Aware Interactive Enhancement, arXiv 2407.04587.

    Example:
        >>> flat_projector(torch.diag(torch.tensor([4.0, 0.0])), 1.0)
        tensor([[0.3679, 0.0000],
                [0.0000, 1.0000]])
    """
    values, vectors = torch.linalg.eigh(energy)
    place = (values - values[0]) / (values[-1] - values[0]).clamp_min(torch.finfo(values.dtype).tiny)
    projector: Tensor = vectors * (-temperature * place).exp() @ vectors.T
    return projector


def joint_energy(energies: Sequence[Tensor]) -> Tensor:
    """Return the energy of several kinds of inputs, each counting the same however large its inputs are.

    ``sum_n G_n / trace(G_n)``; a kind without energy is left out.

    Args:
        energies: ``G_n``, each of shape (size, size); at least one.

    Example:
        >>> joint_energy([torch.diag(torch.tensor([6.0, 2.0])), torch.zeros(2, 2)])
        tensor([[0.7500, 0.0000],
                [0.0000, 0.2500]])
    """
    return torch.stack([energy / energy.trace().clamp_min(torch.finfo(energy.dtype).tiny) for energy in energies]).sum(0)
