"""Temporal convolution over sequences of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.errors import ConfigError
from equipoise.nn.encoders.base import ENCODERS

VIEWS = ("mean", "maximum", "last")
"""What can be seen of the steps of a sequence."""


class _Steps(nn.Module):
    """A causal dilated convolution of (batch, time, channels), layer normalisation of each step, and ReLU."""

    def __init__(self, width: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.before = (kernel - 1) * dilation
        self.convolution = nn.Conv1d(width, width, kernel, dilation=dilation)
        # Normalised step by step: statistics over time would mix padding in, statistics over the batch other samples.
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        convolved = self.convolution(F.pad(inputs.transpose(1, 2), (self.before, 0))).transpose(1, 2)
        dropped: Tensor = self.dropout(torch.relu(self.norm(convolved)))
        return dropped


class _Block(nn.Module):
    """Two convolutions and a shortcut; what comes out is never negative, and zero at steps that are not real."""

    def __init__(self, width: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.first, self.second = (_Steps(width, kernel, dilation, dropout) for _ in range(2))

    def forward(self, inputs: Tensor, real: Tensor) -> Tensor:
        return torch.relu(inputs + self.second(self.first(inputs) * real)) * real


def views(hidden: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Return what is seen of steps, by the name of the view, each of shape (batch, channels).

    Args:
        hidden: Steps of shape (batch, time, channels); none is negative, and padding is zero.
        real: 1 where a step is real, 0 in padding, of shape (batch, time, 1).
    """
    count = real.sum(1).clamp(min=1)
    last = hidden.gather(1, (count.long() - 1)[:, None].expand(-1, -1, hidden.shape[2])).squeeze(1)
    # Nothing is negative after a block, so that the zeros of padding are never above the maximum of the real steps.
    return {"mean": hidden.sum(1) / count, "maximum": hidden.amax(1), "last": last}


@ENCODERS.register("tcn")
class TCN(nn.Module):
    """Residual blocks of causal dilated convolutions, the dilation doubling from block to block; then views of the steps.

    The last step says most where the label is that of the last step, as in windows; the mean and the maximum see what happens
    anywhere. All three together, the default, lost nothing to the last step alone where that is best, and much less than it
    elsewhere (``benchmarks/results/pooling_study.md``).

    Padding cannot influence the features: convolutions look back only, padding comes last and is set to zero after every layer,
    and neither normalisation nor pooling counts it. A step sees ``1 + 2 (kernel - 1) (2^blocks - 1)`` steps.

    The blocks are those of the source with layer normalisation of each step in place of weight normalisation; the projection to
    ``width`` before the first block and mean and maximum beside the last step, which alone is the source's, are our choice.

    Args:
        shape: Shape of one sample: (channels + 1, time); the last channel is 1 where a time step is real and 0 in padding, as
            sequences are prepared.
        feature_size: Width of the features.
        width: Channels of the convolutions.
        blocks: Number of residual blocks.
        kernel: Steps that a convolution looks at.
        dropout: Share of activations dropped after each convolution.
        pooling: Views of the steps, ``mean``, ``maximum`` or ``last``, or several joined by ``+``.

    Raises:
        ConfigError: Samples are not sequences, a size is not positive, the share is not in [0, 1), or a view is unknown.

    References:
        Bai et al., "An empirical evaluation of generic convolutional and recurrent networks for sequence modeling", 2018,
        arXiv 1803.01271.

    Example:
        >>> TCN((4, 20), 8)(torch.zeros(5, 4, 20)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        feature_size: int,
        *,
        width: int = 32,
        blocks: int = 4,
        kernel: int = 3,
        dropout: float = 0.0,
        pooling: str = "+".join(VIEWS),
    ) -> None:
        super().__init__()
        if len(shape) != 2 or shape[0] < 2:
            raise ConfigError(
                "encoder tcn needs sequences of shape (channels + 1, time), the last channel 1 where a step is real, "
                f"found shape {shape}; state kind: sequence for the modality"
            )
        if min(width, blocks, kernel) < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"encoder tcn: width = {width}, blocks = {blocks}, kernel = {kernel}, dropout = {dropout}: "
                "expected at least 1, at least 1, at least 1, [0, 1)"
            )
        self.pooling = tuple(pooling.split("+"))
        if not set(self.pooling) <= set(VIEWS) or len(set(self.pooling)) < len(self.pooling):
            raise ConfigError(f"encoder tcn: pooling = {pooling!r} is not valid, expected some of {', '.join(VIEWS)} joined by +")
        self.start = nn.Linear(shape[0] - 1, width)
        # Blocks in sequence, so that they are found as such; they are called one by one because each takes the mask too.
        self.blocks = nn.Sequential(*[_Block(width, kernel, 2**number, dropout) for number in range(blocks)])
        self.project = nn.Linear(len(self.pooling) * width, feature_size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features of shape (batch, feature_size)."""
        steps = inputs.transpose(1, 2)
        real = (steps[..., -1:] > 0.5).to(inputs.dtype)
        hidden = self.start(steps[..., :-1]) * real
        for block in self.blocks:
            hidden = block(hidden, real)
        seen = views(hidden, real)
        features: Tensor = self.project(torch.cat([seen[name] for name in self.pooling], 1))
        return features
