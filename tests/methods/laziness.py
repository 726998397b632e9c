"""Samples on which joint training is lazy: two modalities say the class equally well, and one of them is learned much slower."""

from __future__ import annotations

from typing import Any

import torch

from equipoise.data.loader import MemoryPart
from tests.contract.harness import CLASSES, Trained, train_toy

FAST, SLOW = "fast", "slow"


def lazy_part(samples: int, seed: int, scale: float = 0.3) -> MemoryPart:
    """Samples of three classes; the inputs of the slow modality are those of the fast one's kind, but small.

    Args:
        samples: Number of samples.
        seed: Seed of the samples.
        scale: How large the slow modality's inputs are.
    """
    random = torch.Generator().manual_seed(seed)
    target = torch.arange(samples) % CLASSES
    inputs = {name: 4 * torch.eye(CLASSES, 6)[target] + torch.randn(samples, 6, generator=random) for name in (FAST, SLOW)}
    inputs[SLOW] *= scale
    return MemoryPart(inputs, {name: torch.ones(samples, dtype=torch.bool) for name in inputs}, target)


def train_lazy(name: str, hyperparameters: dict[str, Any] | None = None, *, seed: int = 0, **settings: Any) -> Trained:
    """Train a method on them by stochastic gradient descent, which keeps the slow modality slow."""
    options = {"optimizer": "sgd", "learning_rate": 0.05, "epochs": 15, "seed": seed, **settings}
    return train_toy(name, hyperparameters, train=lazy_part(120, seed), validation=lazy_part(200, 9), **options)
