"""The residual networks of 18 and 34 layers that published audio-visual experiments use, trained from scratch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.encoders.base import ENCODERS
from equipoise.nn.encoders.frames import over_frames

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
_WIDTHS = (64, 128, 256, 512)
_NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm2d, "group": lambda channels: nn.GroupNorm(32, channels)}


@ENCODERS.register("resnet")
class ResNet(nn.Module):
    """Residual network with basic blocks; several frames of a sample are encoded alike and averaged.

    Args:
        shape: Shape of one sample: (channels, height, width), or (frames, channels, height, width).
        feature_size: Width of the features; at 512, the width of the last stage, there is no projection.
        depth: 18 or 34 layers.
        norm: ``batch``, as published (its statistics are those of each process), or ``group``, with which a sample's features
            do not depend on the other samples of its batch.

    Raises:
        ConfigError: Samples are not pictures, or the depth or the norm is unknown.

    References:
        He et al., "Deep residual learning for image recognition", CVPR 2016, arXiv 1512.03385.

    Example:
        >>> ResNet((3, 1, 32, 32), 512)(torch.zeros(2, 3, 1, 32, 32)).shape
        torch.Size([2, 512])
    """

    def __init__(self, shape: tuple[int, ...], feature_size: int, *, depth: int = 18, norm: str = "batch") -> None:
        super().__init__()
        if len(shape) not in (3, 4):
            raise ConfigError(
                "encoder resnet needs samples of shape (channels, height, width) or (frames, channels, height, width), "
                f"found shape {shape}"
            )
        if depth not in _BLOCKS or norm not in _NORMS:
            raise ConfigError(f"encoder resnet: depth = {depth}, norm = {norm!r}: expected 18 or 34, batch or group")
        make_norm = _NORMS[norm]
        stages: list[nn.Module] = [
            nn.Conv2d(shape[-3], 64, 7, 2, 3, bias=False),
            make_norm(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        ]
        before = 64
        for number, (width, blocks) in enumerate(zip(_WIDTHS, _BLOCKS[depth], strict=True)):
            for block in range(blocks):
                stages.append(_Block(before, width, 2 if number and not block else 1, norm))
                before = width
        self.stages = nn.Sequential(*stages)
        self.project: nn.Module = nn.Identity() if feature_size == before else nn.Linear(before, feature_size)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features of shape (batch, feature_size)."""
        projected: Tensor = self.project(over_frames(lambda pictures: self.stages(pictures).mean((2, 3)), inputs))
        return projected


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, before: int, after: int, stride: int, norm: str) -> None:
        super().__init__()
        make_norm = _NORMS[norm]
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            make_norm(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            make_norm(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), make_norm(after))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.body(inputs) + self.shortcut(inputs))
