"""Every coalition of a few modalities: which there are, whether less of them is surer, and what each modality contributes.

Coalitions are numbered by their members: modality m adds ``2^m``, so that taking it away subtracts ``2^m``. Row ``c`` of a
tensor over the non-empty coalitions is the coalition of number ``c + 1``; the last row has all modalities.
"""

from __future__ import annotations

from functools import cache
from math import comb

import torch
from torch import Tensor


@cache
def members_of_all(modalities: int) -> Tensor:
    """Return which modality is in which non-empty coalition, booleans of shape (2^modalities - 1, modalities).

    Example:
        >>> members_of_all(2).tolist()
        [[True, False], [False, True], [True, True]]
    """
    numbers = torch.arange(1, 2**modalities)
    return (numbers[:, None] >> torch.arange(modalities)) % 2 == 1


@cache
def _removals(modalities: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows of richer and poorer coalitions that differ by one modality, and which it is."""
    richer, removed = members_of_all(modalities).nonzero().unbind(1)
    poorer = richer - 2**removed
    some = poorer >= 0
    return richer[some], poorer[some], removed[some]


def confidence_rises(confidence: Tensor, present: Tensor) -> Tensor:
    """Return by how much predictions get surer as a modality is taken away.

    The mean of ``max(0, conf(T) - conf(S))`` over all coalitions ``S`` and ``T``, ``T`` being ``S`` without one modality. Only
    those count that take away something the sample has and leave something that it has.

    Args:
        confidence: Largest probability of a class by each non-empty coalition, of shape (coalitions, batch).
        present: Which samples have which modality, booleans of shape (modalities, batch).

    Returns:
        Means of shape (batch,); 0 where nothing can be taken away.

    References:
        Ma et al., Calibrating Multimodal Learning, ICML 2023, arXiv 2306.01265.

    Example:
        >>> confidence_rises(torch.tensor([[0.9], [0.5], [0.7]]), torch.ones(2, 1, dtype=torch.bool))
        tensor([0.1000])
    """
    richer, poorer, removed = _removals(len(present))
    left = members_of_all(len(present)).to(present.device, torch.float32) @ present.float() > 0
    counts = present[removed] & left[poorer]
    rises = torch.where(counts, (confidence[poorer] - confidence[richer]).clamp_min(0), confidence.new_zeros(()))
    return rises.sum(0) / counts.sum(0).clamp_min(1)


@cache
def shapley_weights(modalities: int) -> Tensor:
    """Return the weights that turn the values of all coalitions into Shapley values.

    ``phi_m = sum_{S without m} |S|! (M - |S| - 1)! / M! (v(S with m) - v(S))``, written as a matrix over all coalitions, the
    empty one first: row ``c`` of the values belongs to the coalition of number ``c``.

    Args:
        modalities: ``M``.

    Returns:
        Weights of shape (modalities, 2^modalities).

    References:
        Shapley, A Value for n-Person Games, 1953.

    Example:
        >>> shapley_weights(2).tolist()
        [[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5]]
    """
    inside = torch.cat([torch.zeros(1, modalities, dtype=torch.bool), members_of_all(modalities)]).T
    size = inside.sum(0) - inside.long()  # members other than m
    chance = torch.tensor([1.0 / (modalities * comb(modalities - 1, count)) for count in range(modalities)], dtype=torch.float64)
    return torch.where(inside, chance[size], -chance[size])


def shapley_values(values: Tensor) -> Tensor:
    """Return what each modality contributes: its Shapley value.

    Args:
        values: ``v`` of shape (2^modalities, ...): the empty coalition first, then as :func:`members_of_all` lists them.

    Returns:
        Contributions of shape (modalities, ...); they sum to ``v(all) - v(none)``.

    Example:
        >>> shapley_values(torch.tensor([1.0, 2.0, 4.0, 5.0]))
        tensor([1., 3.])
    """
    weights = shapley_weights(len(values).bit_length() - 1).to(values.device, values.dtype)
    return (weights @ values.flatten(1)).view(len(weights), *values.shape[1:]) if values.ndim > 1 else weights @ values
