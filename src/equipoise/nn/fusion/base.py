"""What a fusion is: it predicts from any coalition of modalities, sample by sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.encoders.base import call_with_options
from equipoise.registry import Registry
from equipoise.tasks import Task

Features = Mapping[str, Tensor]
"""Features of shape (batch, width) per modality; a modality that is not in it is absent from every sample."""

Present = Mapping[str, Tensor]
"""Booleans of shape (batch,) per modality: which samples have it. A modality that is not in it is present in every sample."""

FUSIONS: Registry[type[Fusion]] = Registry("fusion", "equipoise.nn.fusion")


class Fusion(nn.Module, ABC):
    """Turns the features of the present modalities into logits.

    Args:
        sizes: Width of the features of each modality.
        task: Says how many outputs there are and what probabilities are.
    """

    def __init__(self, sizes: Mapping[str, int], task: Task) -> None:
        super().__init__()
        self.sizes = dict(sizes)
        self.names = tuple(sizes)
        self.task = task

    @abstractmethod
    def forward(self, features: Features, present: Present) -> Tensor:
        """Return fused logits.

        Args:
            features: Features per modality, each of shape (batch, width).
            present: Which samples have a modality, each of shape (batch,); all of them where a modality is not named.

        Returns:
            Logits of shape (batch, outputs) that depend on present features only.
        """

    def fuse(self, features: Features, present: Present, contributions: Callable[[], Mapping[str, Tensor]]) -> Tensor:
        """Return what :meth:`forward` does, for a caller that may ask for the contributions as well.

        Args:
            features: As in :meth:`forward`.
            present: As in :meth:`forward`.
            contributions: Gives :meth:`contributions` of the same features, computed once. A fusion that is made of them takes
                them from there.
        """
        logits: Tensor = self(features, present)
        return logits

    def contributions(self, features: Features, present: Present) -> dict[str, Tensor]:
        """Return the unimodal logits: what each modality says by itself.

        The default answers by fusing each modality alone, from the features at hand.

        Args:
            features: As in :meth:`forward`.
            present: As in :meth:`forward`.

        Returns:
            Per modality in ``features`` logits of shape (batch, outputs); zeros where the modality is absent.
        """
        alone = {name: self.forward({name: value}, {}) for name, value in features.items()}
        return {name: _keep(value, present.get(name)) for name, value in alone.items()}

    def sample_weights(self, features: Features, present: Present) -> Tensor | None:
        """Return how much each modality counts for each sample, or None where the fusion has no such numbers.

        Args:
            features: As in :meth:`forward`.
            present: As in :meth:`forward`.

        Returns:
            Weights of shape (modalities, batch) that sum to 1 over modalities, 0 where one is absent.
        """
        return None

    def coalitions(self, features: Features, present: Present, members: Tensor) -> Tensor:
        """Return the fused logits of many coalitions from one set of features.

        Args:
            features: Features of all modalities.
            present: As in :meth:`forward`.
            members: Booleans of shape (coalitions, modalities): which modalities each coalition has, in the order of
                ``names``.

        Returns:
            Logits of shape (coalitions, batch, outputs).
        """
        logits = []
        for row in members.tolist():
            chosen = {name: features[name] for name, member in zip(self.names, row, strict=True) if member}
            logits.append(self.forward(chosen, {name: mask for name, mask in present.items() if name in chosen}))
        return torch.stack(logits)

    def available(self, features: Features, present: Present) -> Tensor:
        """Return which samples have which modality: numbers 0 or 1 of shape (batch, modalities) in the order of ``names``."""
        some = next(iter(features.values()))
        columns = []
        for name in self.names:
            if name not in features:
                columns.append(some.new_zeros(some.shape[0]))
            elif name in present:
                columns.append(present[name].to(some.dtype))
            else:
                columns.append(some.new_ones(some.shape[0]))
        return torch.stack(columns, 1)


class AdditiveFusion(Fusion):
    """A fusion whose logits are a sum of one term per present modality and a constant."""

    @abstractmethod
    def terms(self, features: Features, present: Present) -> Tensor:
        """Return the term of each modality, of shape (modalities, batch, outputs), zero where it is absent."""

    @abstractmethod
    def constant(self) -> Tensor | float:
        """Return what every coalition's logits contain, of shape (outputs,)."""

    def coalitions(self, features: Features, present: Present, members: Tensor) -> Tensor:
        terms = self.terms(features, present)
        chosen = members.to(terms.dtype) @ terms.flatten(1)
        return chosen.view(len(members), *terms.shape[1:]).add_(self.constant())


class WeightedFusion(Fusion):
    """A weighted average of what the present modalities say by themselves.

    ``z = sum_m w_m v_m / sum_m w_m`` over the modalities that a sample has, ``v_m`` being the :meth:`votes` of modality m.

    Args:
        sizes: Width of the features of each modality.
        task: The task.

    Attributes:
        weights: ``w``, of shape (modalities,) in the order of ``names``; a buffer, equal at first.
    """

    weights: Tensor

    def __init__(self, sizes: Mapping[str, int], task: Task) -> None:
        super().__init__(sizes, task)
        self.register_buffer("weights", torch.full((len(sizes),), 1.0 / len(sizes)))

    def votes(self, logits: Tensor) -> Tensor:
        """Return what is averaged, from unimodal logits of shape (..., outputs); by default the logits."""
        return logits

    def sample_weights(self, features: Features, present: Present) -> Tensor:
        return shared_out(self.weights, self.available(features, present).T)

    def forward(self, features: Features, present: Present) -> Tensor:
        return self.fuse(features, present, lambda: self.contributions(features, present))

    def fuse(self, features: Features, present: Present, contributions: Callable[[], Mapping[str, Tensor]]) -> Tensor:
        votes = self._votes(contributions())
        if present or len(features) < len(self.names):
            return weighted_average(votes, self.available(features, present).T, self.weights, votes.new_ones(1, len(votes)))[0]
        return ((self.weights / self.weights.sum()) @ votes.flatten(1)).view(votes.shape[1:])

    def coalitions(self, features: Features, present: Present, members: Tensor) -> Tensor:
        votes = self._votes(self.contributions(features, present))
        return weighted_average(votes, self.available(features, present).T, self.weights, members)

    def _votes(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Return the votes of all modalities, of shape (modalities, batch, outputs); those of absent ones count for nothing."""
        some = next(iter(logits.values()))
        return self.votes(torch.stack([logits[name] if name in logits else torch.zeros_like(some) for name in self.names]))


def _keep(value: Tensor, mask: Tensor | None) -> Tensor:
    """Set the rows that are not in ``mask`` to zero."""
    return value if mask is None else torch.where(mask[:, None], value, value.new_zeros(()))


def masked(features: Features, present: Present) -> dict[str, Tensor]:
    """Return the features with the rows of absent samples set to zero."""
    return {name: _keep(value, present.get(name)) for name, value in features.items()}


def weighted_average(values: Tensor, available: Tensor, weights: Tensor, members: Tensor) -> Tensor:
    """Return weighted averages over the available members of coalitions.

    ``sum_m w_m a_im v_mi / sum_m w_m a_im`` over the modalities m of each coalition, sample by sample.

    Args:
        values: What each modality says, of shape (modalities, batch, outputs).
        available: Which sample has which modality, 0 or 1, of shape (modalities, batch).
        weights: Weight of each modality, of shape (modalities,).
        members: Which modality is in which coalition, booleans of shape (coalitions, modalities).

    Returns:
        Averages of shape (coalitions, batch, outputs); zeros where a coalition has nothing.

    Example:
        >>> weighted_average(torch.tensor([[[2.0]], [[4.0]]]), torch.ones(2, 1), torch.tensor([0.5, 0.5]), torch.ones(1, 2))
        tensor([[[3.]]])
    """
    shares = available * weights[:, None]
    chosen = members.to(device=values.device, dtype=values.dtype)
    total = chosen @ (values * shares[:, :, None]).flatten(1)
    weight = chosen @ shares
    return total.view(len(members), *values.shape[1:]) / weight.clamp_min(torch.finfo(values.dtype).tiny)[:, :, None]


def shared_out(weights: Tensor, available: Tensor) -> Tensor:
    """Return weights that sum to 1 over the modalities that each sample has.

    Args:
        weights: Weights of shape (modalities,) or (modalities, batch).
        available: Which sample has which modality, 0 or 1, of shape (modalities, batch).

    Returns:
        Weights of shape (modalities, batch); all 0 where a sample has nothing.

    Example:
        >>> shared_out(torch.tensor([1.0, 3.0]), torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
        tensor([[0.2500, 1.0000],
                [0.7500, 0.0000]])
    """
    shares = available * (weights if weights.ndim == 2 else weights[:, None])
    return shares / shares.sum(0, keepdim=True).clamp_min(torch.finfo(shares.dtype).tiny)


def require_equal_sizes(sizes: Mapping[str, int], fusion: str) -> int:
    """Return the common width of the features.

    Raises:
        ConfigError: They differ.
    """
    if len(set(sizes.values())) != 1:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ConfigError(f"fusion {fusion} needs features of one width in all modalities, found {found}")
    return next(iter(sizes.values()))


def build_fusion(description: Mapping[str, Any], sizes: Mapping[str, int], task: Task) -> Fusion:
    """Make a fusion from its description.

    Args:
        description: ``name`` and the fusion's options.
        sizes: Width of the features of each modality.
        task: The task.

    Raises:
        ConfigError: The name or an option is unknown.
    """
    options = dict(description)
    name = options.pop("name")
    fusion: Fusion = call_with_options(FUSIONS.get(name), (sizes, task), options, f"fusion {name}")
    return fusion
