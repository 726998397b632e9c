"""Class prototypes of the leading modality, how far the others are drawn to them, and how much each counts per sample.

That the anchor's prototypes follow a moving average, that alignment acts only on a modality below its budget, and that the
fusion weight is a prior times a gate is the published design of IIBalance; rules and constants are not public and our choice.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.errors import ConfigError, DataError


def update_prototypes(
    prototypes: Tensor, seen: Tensor, features: Tensor, target: Tensor, rate: float = 0.99
) -> tuple[Tensor, Tensor]:
    """Move the prototypes of the classes in a batch towards their mean features.

    With ``c_k`` the mean feature of class ``k`` in the batch: ``P_k <- normalise(rate * P_k + (1 - rate) * c_k)``; a class seen
    for the first time gets ``normalise(c_k)``. Classes that are not in the batch stay as they are.

    Args:
        prototypes: ``P`` of shape (classes, dimensions).
        seen: Which classes have a prototype, of shape (classes,), boolean.
        features: Features of the anchor of length 1, of shape (samples, dimensions); no gradient flows back.
        target: True class codes of shape (samples,).
        rate: How much is kept; 0 takes the batch mean, 1 keeps what there is.

    Returns:
        New prototypes of length 1 and the new mask; the arguments are left as they are.

    Raises:
        DataError: If shapes do not match.
        ConfigError: If the rate is not between 0 and 1.

    References:
        Xiong et al., IIBalance, ICME 2026, arXiv 2603.17347.

    Example:
        >>> empty = torch.zeros(3, 2), torch.zeros(3, dtype=torch.bool)
        >>> features, target = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 2, 2])
        >>> update_prototypes(*empty, features, target)[0]
        tensor([[1., 0.],
                [0., 0.],
                [0., 1.]])
    """
    _check(features, prototypes, seen, target)
    features = features.detach().to(prototypes.dtype)
    sums = torch.zeros_like(prototypes).index_add(0, target, features)
    counts = features.new_zeros(len(prototypes)).index_add(0, target, features.new_ones(len(target)))
    return move_prototypes(prototypes, seen, sums, counts, rate)


def move_prototypes(prototypes: Tensor, seen: Tensor, sums: Tensor, counts: Tensor, rate: float = 0.99) -> tuple[Tensor, Tensor]:
    """Do as :func:`update_prototypes` does, from what is known of each class in the batch.

    Args:
        prototypes: As there.
        seen: As there.
        sums: Sum of the features of each class, of shape (classes, dimensions).
        counts: Samples of each class, of shape (classes,).
        rate: As there.

    Returns:
        As there.

    Raises:
        ConfigError: If the rate is not between 0 and 1.
    """
    if not 0 <= rate <= 1:
        raise ConfigError(f"the rate is {rate}, expected a number from 0 to 1")
    present = counts > 0
    means = sums / counts.clamp_min(1).unsqueeze(1)
    moved = torch.where(seen.unsqueeze(1), rate * prototypes + (1 - rate) * means, means)
    return torch.where(present.unsqueeze(1), F.normalize(moved, dim=1), prototypes), seen | present


def prototype_losses(features: Tensor, prototypes: Tensor, seen: Tensor, target: Tensor, temperature: float = 0.1) -> Tensor:
    """Return how far each sample is from the prototype of its class, against those of other classes.

    ``l_i = -log (exp(<z_i, P_y> / tau) / sum_{k seen} exp(<z_i, P_k> / tau))``. A sample of a class without prototype has loss
    0 and no gradient. The prototypes get no gradient.

    Args:
        features: ``z``, features of length 1 of the modality to be aligned, of shape (samples, dimensions).
        prototypes: ``P`` of shape (classes, dimensions).
        seen: Which classes have a prototype, of shape (classes,), boolean.
        target: True class codes of shape (samples,).
        temperature: ``tau``.

    Returns:
        Losses of shape (samples,), in nats.

    Raises:
        DataError: If shapes do not match.
        ConfigError: If the temperature is not positive.

    References:
        Xiong et al., ICME 2026, arXiv 2603.17347.

    Example:
        >>> prototype_losses(torch.eye(2), torch.eye(2), torch.tensor([True, True]), torch.tensor([0, 0]), temperature=1.0)
        tensor([0.3133, 1.3133])
    """
    if not temperature > 0:
        raise ConfigError(f"the temperature is {temperature}, expected a positive number")
    _check(features, prototypes, seen, target)
    scores = features @ prototypes.detach().to(features.dtype).T / temperature
    scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    return torch.where(seen.index_select(0, target), F.cross_entropy(scores, target, reduction="none"), 0.0)


def below_budget(current: Tensor, budgets: Tensor, slack: float = 0.05) -> Tensor:
    """Return which modalities do not yet make of their data what their budget says they can.

    ``U_m < (1 - slack) B_m``, both measured in the same way and on the same held-out data. Rule G1, our choice.

    Args:
        current: ``U``, what each modality resolves now, of shape (modalities,): :func:`~equipoise.functional.budgets.budget`.
        budgets: ``B``, what it resolved alone, of shape (modalities,), from logits scaled as those of ``U``.
        slack: How far below counts as reached.

    Returns:
        Booleans of shape (modalities,).

    Raises:
        DataError: If the shapes differ.

    Example:
        >>> below_budget(torch.tensor([0.2, 0.6]), torch.tensor([0.5, 0.6]))
        tensor([ True, False])
    """
    if current.shape != budgets.shape:
        raise DataError(f"{tuple(current.shape)} measures were given for {tuple(budgets.shape)} budgets, expected one shape")
    return current < (1 - slack) * budgets


def sample_switch(score: Tensor, anchor_score: Tensor, budget: float, anchor_budget: float) -> Tensor:
    """Return which samples fall short of their modality's fraction of the anchor's score.

    ``q_m < (B_m / B_anchor) q_anchor``, with ``q`` the probability of the true class by the prototypes, which is
    ``exp(-prototype_losses)``. Rule G2, our choice. The fraction is limited to [0, 1], and is 1 if the anchor has no budget.

    Args:
        score: ``q_m`` of shape (samples,).
        anchor_score: ``q`` of the anchor, of shape (samples,).
        budget: ``B_m``.
        anchor_budget: ``B_anchor``.

    Returns:
        Booleans of shape (samples,), without gradient.

    Raises:
        DataError: If the shapes differ.

    Example:
        >>> sample_switch(torch.tensor([0.3, 0.5]), torch.tensor([0.8, 0.8]), budget=0.5, anchor_budget=1.0)
        tensor([ True, False])
    """
    if score.shape != anchor_score.shape:
        raise DataError(f"scores of shapes {tuple(score.shape)} and {tuple(anchor_score.shape)} were given, expected one shape")
    fraction = min(max(budget / anchor_budget, 0.0), 1.0) if anchor_budget > 0 else 1.0
    return score.detach() < fraction * anchor_score.detach()


def posterior_weights(prior: Tensor, gates: Tensor, present: Tensor | None = None) -> Tensor:
    """Return how much each modality counts for each sample: prior times gate, normalised.

    ``omega_m = beta_m r_m / sum_j beta_j r_j`` over the modalities that are present. The product is the published design; the
    normalisation is our choice, as is to fall back on the prior where all gates are 0, and to give 0 where nothing is present.

    Args:
        prior: ``beta`` of shape (modalities,).
        gates: ``r``, from 0 to 1, of shape (samples, modalities).
        present: Which modalities a sample has, of the same shape, boolean; all if left out.

    Returns:
        Weights of shape (samples, modalities); each row sums to 1, or is 0 if nothing is present.

    Raises:
        DataError: If shapes do not match.

    References:
        Xiong et al., ICME 2026, arXiv 2603.17347.

    Example:
        >>> posterior_weights(torch.tensor([0.75, 0.25]), torch.tensor([[0.5, 0.5], [0.2, 0.6]]))
        tensor([[0.7500, 0.2500],
                [0.5000, 0.5000]])
    """
    if gates.dim() != 2 or prior.shape != gates.shape[1:] or (present is not None and present.shape != gates.shape):
        shapes = [tuple(gates.shape), tuple(prior.shape), tuple(gates.shape if present is None else present.shape)]
        raise DataError(
            f"gates, prior and presence of shapes {shapes} were given, expected (samples, modalities), one prior for each"
        )
    weights = prior * gates
    fallback = prior.expand_as(gates)
    if present is not None:
        weights, fallback = torch.where(present, weights, 0.0), torch.where(present, fallback, 0.0)
    weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, fallback)
    total = weights.sum(1, keepdim=True)
    return weights / torch.where(total > 0, total, 1.0)


def _check(features: Tensor, prototypes: Tensor, seen: Tensor, target: Tensor) -> None:
    if (
        features.dim() != 2
        or prototypes.dim() != 2
        or features.shape[1] != prototypes.shape[1]
        or seen.shape != prototypes.shape[:1]
        or target.shape != features.shape[:1]
    ):
        shapes = [tuple(value.shape) for value in (features, prototypes, seen, target)]
        raise DataError(
            f"features, prototypes, mask and target of shapes {shapes} were given, "
            "expected (samples, dimensions), (classes, dimensions), (classes,) and (samples,)"
        )
