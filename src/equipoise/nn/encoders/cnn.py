"""A small residual network for pictures, spectrograms, videos and sound."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.encoders.base import ENCODERS
from equipoise.nn.encoders.frames import over_frames


def _norm(channels: int) -> nn.Module:
    # Group norm, not batch norm: a sample's features must not depend on which other samples or modalities are present.
    return nn.GroupNorm(max(group for group in range(1, 9) if channels % group == 0), channels)


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., CVPR 2016, arXiv 1512.03385)."""

    def __init__(self, conv: type[nn.Conv1d] | type[nn.Conv2d], before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(before, after, 3, stride, 1, bias=False),
            _norm(after),
            nn.ReLU(inplace=True),
            conv(after, after, 3, 1, 1, bias=False),
            _norm(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(conv(before, after, 1, stride, bias=False), _norm(after))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.body(inputs) + self.shortcut(inputs))


@ENCODERS.register("cnn")
class CNN(nn.Module):
    """Residual network of three stages with group normalisation, averaged over positions, and over frames where there are any.

    Args:
        shape: Shape of one sample: (channels, height, width) of a picture, (frames, channels, height, width) of a video, or
            (channels, samples) of sound, whose convolutions have one dimension.
        feature_size: Width of the features.
        width: Channels of the first stage; each further stage doubles them.
        blocks: Residual blocks per stage.

    Raises:
        ConfigError: Samples are none of these or a size is not positive.

    Example:
        >>> CNN((1, 32, 32), 8)(torch.zeros(5, 1, 32, 32)).shape
        torch.Size([5, 8])
    """

    def __init__(self, shape: tuple[int, ...], feature_size: int, *, width: int = 16, blocks: int = 1) -> None:
        super().__init__()
        if len(shape) not in (2, 3, 4):
            raise ConfigError(
                "encoder cnn needs samples of shape (channels, samples), (channels, height, width) or "
                f"(frames, channels, height, width), found shape {shape}"
            )
        if min(width, blocks) < 1:
            raise ConfigError(f"encoder cnn: width = {width}, blocks = {blocks}: expected at least 1")
        conv, channels = (nn.Conv1d, shape[0]) if len(shape) == 2 else (nn.Conv2d, shape[-3])
        stages: list[nn.Module] = [conv(channels, width, 3, 1, 1, bias=False), _norm(width), nn.ReLU(inplace=True)]
        before = width
        for stage in range(3):
            after = width * 2**stage
            for block in range(blocks):
                stages.append(_Block(conv, before, after, 2 if stage and not block else 1))
                before = after
        self.stages = nn.Sequential(*stages)
        self.project = nn.Linear(before, feature_size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features of shape (batch, feature_size)."""
        features: Tensor = self.project(over_frames(self._pooled, inputs))
        return features

    def _pooled(self, inputs: Tensor) -> Tensor:
        maps: Tensor = self.stages(inputs)
        return maps.mean(tuple(range(2, maps.ndim)))
