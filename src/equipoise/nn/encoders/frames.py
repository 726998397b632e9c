"""Encoding the frames of a video like pictures."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

_FRAMES = 5
"""Dimensions of a batch of videos: samples, frames, channels, height, width."""


def over_frames(encode: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Return what ``encode`` gives for pictures, averaged over the frames where the inputs are videos.

    Args:
        encode: From pictures of shape (pictures, channels, height, width) to features of shape (pictures, width).
        inputs: Videos of shape (batch, frames, channels, height, width), or anything else, which is encoded as it is.

    Returns:
        Features of shape (batch, width).
    """
    if inputs.ndim != _FRAMES:
        return encode(inputs)
    features = encode(inputs.flatten(0, 1))
    return features.reshape(*inputs.shape[:2], -1).mean(1)


class FrameAverage(nn.Module):
    """Makes an encoder of pictures one of videos: each frame is encoded alike, and the features are averaged.

    Args:
        encoder: A module from (batch, channels, height, width) to (batch, width), such as one of your own.

    Example:
        >>> import torch
        >>> encoder = FrameAverage(nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 8)))
        >>> encoder(torch.zeros(2, 5, 3, 4, 4)).shape
        torch.Size([2, 8])
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features of shape (batch, width)."""
        return over_frames(self.encoder, inputs)
