"""What modalities contribute beyond a few: interactions of pairs, and Shapley values by sampling orders.

Exact values of a table of all coalitions are in :func:`equipoise.functional.coalitions.shapley_values`; both use its order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import comb

import torch
from torch import Tensor

from equipoise.errors import ConfigError
from equipoise.functional.coalitions import members_of_all

EXACT_UP_TO = 12
"""The most modalities of which all coalitions are evaluated."""


@cache
def _interaction_weights(modalities: int) -> Tensor:
    inside = torch.cat([torch.zeros(1, modalities, dtype=torch.bool), members_of_all(modalities)]).T
    others = inside.sum(0) - inside[:, None].long() - inside.long()
    shares = [1 / ((modalities - 1) * comb(modalities - 2, size)) for size in range(modalities - 1)]
    chance = torch.tensor(shares, dtype=torch.float64)
    weights = torch.where(inside[:, None] == inside, 1.0, -1.0) * chance[others.clamp(0, modalities - 2)]
    return weights * ~torch.eye(modalities, dtype=torch.bool)[:, :, None]


def shapley_interactions(values: Tensor) -> Tensor:
    """Return how much more (or less) two modalities bring together than apart: the Shapley interaction index.

    ``I_mn = sum_{S without m, n} |S|! (M - |S| - 2)! / (M - 1)! (v(S + m + n) - v(S + m) - v(S + n) + v(S))``: above 0 where
    they complement each other, below 0 where they say the same, 0 where the value is a sum of a part of each.

    Args:
        values: ``v`` of shape (2^modalities, ...): the empty coalition first, then as
            :func:`~equipoise.functional.coalitions.members_of_all` lists them.

    Returns:
        Indices of shape (modalities, modalities, ...), symmetric, with zeros for m = n.

    References:
        Grabisch and Roubens, "An axiomatic approach to the concept of interaction among players in cooperative games",
        International Journal of Game Theory 28, 1999.

    Example:
        >>> shapley_interactions(torch.tensor([0.0, 1.0, 1.0, 5.0]))[0, 1]
        tensor(3.)
    """
    modalities = len(values).bit_length() - 1
    if modalities < 2:
        return values.new_zeros(modalities, modalities, *values.shape[1:])
    weights = _interaction_weights(modalities).to(values.device, values.dtype)
    return (weights @ values.flatten(1)).view(modalities, modalities, *values.shape[1:]) if values.ndim > 1 else weights @ values


def sampled_shapley(
    value: Callable[[Tensor], Tensor], modalities: int, orders: int = 256, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Estimate Shapley values from random orders, for modalities too many to evaluate all coalitions.

    The mean over orders of what each modality adds to those before it. It is unbiased, and over the sampled orders the values
    sum to ``v(all) - v(none)`` exactly.

    Args:
        value: Gives ``v`` of coalitions, of shape (coalitions, ...), from booleans of shape (coalitions, modalities). It is
            asked once, for each coalition that occurs.
        modalities: Number of modalities.
        orders: Number of orders; at least 2.
        seed: Seed of the orders.

    Returns:
        Values and their standard errors, each of shape (modalities, ...).

    Raises:
        ConfigError: There are fewer than two orders.

    References:
        Castro, Gomez and Tejada, "Polynomial calculation of the Shapley value based on sampling", Computers & Operations
        Research 36, 2009.

    Example:
        >>> worth = torch.tensor([1.0, 2.0, 3.0])
        >>> sampled_shapley(lambda members: members.float() @ worth, 3, orders=4)
        (tensor([1., 2., 3.]), tensor([0., 0., 0.]))
    """
    if orders < 2:
        raise ConfigError(f"{orders} orders were asked for, expected at least 2")
    random = torch.Generator().manual_seed(seed)
    place = torch.rand(orders, modalities, generator=random).argsort(1)  # of each modality in each order
    before = place[:, None, :] < torch.arange(modalities + 1)[None, :, None]
    distinct, where = before.flatten(0, 1).unique(dim=0, return_inverse=True)
    values = value(distinct)
    ladder = values[where.to(values.device)].view(orders, modalities + 1, *values.shape[1:])
    steps = ladder.diff(dim=1)
    added = steps[torch.arange(orders)[:, None], place]
    return added.mean(0), added.std(0) / orders**0.5
