"""Every coalition of modalities from one pass through the encoders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from equipoise.errors import ConfigError, suggest

if TYPE_CHECKING:
    from equipoise.nn.fusion import Features, Fusion, Present

Coalition = tuple[str, ...]
"""Some modalities, in the order in which the data list them."""


def all_coalitions(names: Iterable[str]) -> list[Coalition]:
    """Return every non-empty set of modalities, small ones first: ``2^M - 1`` of them.

    Example:
        >>> all_coalitions(["a", "b"])
        [('a',), ('b',), ('a', 'b')]
    """
    every = tuple(names)
    return [chosen for size in range(1, len(every) + 1) for chosen in combinations(every, size)]


def membership(coalitions: Sequence[Coalition], names: Sequence[str]) -> Tensor:
    """Return which modalities each coalition has, booleans of shape (coalitions, modalities).

    Raises:
        ConfigError: A coalition is empty or names an unknown modality.

    Example:
        >>> membership([("b",)], ["a", "b"]).tolist()
        [[False, True]]
    """
    for chosen in coalitions:
        if not chosen:
            raise ConfigError("a coalition needs at least one modality, found none")
        for name in chosen:
            if name not in names:
                raise ConfigError(f"coalition {'+'.join(chosen)}: unknown modality {name!r}, {suggest(name, names)}")
    return torch.tensor([[name in chosen for name in names] for chosen in coalitions])


@torch.no_grad()
def coalition_logits(fusion: Fusion, features: Features, present: Present, coalitions: Sequence[Coalition]) -> Tensor:
    """Return the fused logits of each coalition, as if the other modalities were absent.

    The encoders have run once; each coalition costs one pass through the fusion, and additive fusions answer all coalitions
    in one matrix product.

    Args:
        fusion: The fusion of the model.
        features: Features of all modalities, each of shape (samples, width).
        present: Which samples have a modality; all where one is not named.
        coalitions: The coalitions.

    Returns:
        Logits of shape (coalitions, samples, outputs).

    Raises:
        ConfigError: A coalition is empty or names an unknown modality.
    """
    return fusion.coalitions(features, present, membership(coalitions, fusion.names))
