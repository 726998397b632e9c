"""Multilayer perceptron."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.encoders.base import ENCODERS


@ENCODERS.register("mlp")
class MLP(nn.Module):
    """Fully connected layers with ReLU; samples of any shape are flattened.

    Args:
        shape: Shape of one sample.
        feature_size: Width of the features.
        hidden: Width of the hidden layers.
        layers: Number of layers, the last one included.
        dropout: Share of activations dropped before each layer but the first.

    Raises:
        ConfigError: A size is not positive or the share is not in [0, 1).

    Example:
        >>> import torch
        >>> MLP((3, 4), 8)(torch.zeros(5, 3, 4)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self, shape: tuple[int, ...], feature_size: int, *, hidden: int = 64, layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if min(hidden, layers) < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"encoder mlp: hidden = {hidden}, layers = {layers}, dropout = {dropout}: expected at least 1, at least 1, [0, 1)"
            )
        widths = [math.prod(shape), *[hidden] * (layers - 1), feature_size]
        parts: list[nn.Module] = [nn.Flatten()] if len(shape) != 1 else []
        for number, (before, after) in enumerate(pairwise(widths)):
            if number and dropout:
                parts.append(nn.Dropout(dropout))
            parts += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*parts)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features of shape (batch, feature_size)."""
        features: Tensor = self.layers(inputs)
        return features
