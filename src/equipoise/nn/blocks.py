"""The blocks that encoders are chains of: their weights and outputs by channel, and hooks that see or change the outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from equipoise.nn.multimodal import MultimodalModel

Place = tuple[str, int]
"""A block: its modality, and how many blocks of the encoder come after it."""


def blocks_of(model: MultimodalModel) -> dict[Place, nn.Module]:
    """Return the blocks of all encoders: the children that have weights, containers in sequence being looked into.

    An encoder without such children is one block.
    """
    chains = {name: list(_chain(encoder))[::-1] or [encoder] for name, encoder in model.encoders.items()}
    return {(name, depth): block for name, chain in chains.items() for depth, block in enumerate(chain)}


def _chain(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.Sequential):
            yield from _chain(child)
        elif any(item.ndim > 1 for item in child.parameters()):
            yield child


def channel_weights(block: nn.Module) -> Tensor:
    """Return a copy of the weights that belong to each output channel, of shape (channels, weights per channel).

    Example:
        >>> channel_weights(nn.Conv2d(3, 8, 5)).shape
        torch.Size([8, 75])
    """
    found = [item.detach() for item in block.parameters() if item.ndim > 1]
    return torch.cat([item.flatten(1) for item in found if len(item) == len(found[-1])], 1).clone()


def pooled_channels(output: Tensor, block: nn.Module) -> Tensor:
    """Return a block's output averaged over places, of shape (rows, channels)."""
    channels = output.movedim(_axis(output, block), -1)
    return channels.flatten(1, -2).mean(1) if channels.ndim > 2 else channels


def scale_channels(output: Tensor, block: nn.Module, factors: Tensor) -> Tensor:
    """Return a block's output with each channel multiplied by its factor.

    Args:
        output: Of shape (rows, channels, ...), or (rows, ..., channels) where the block is neither a picture's nor a Conv1d.
        block: The block.
        factors: Of shape (channels,).
    """
    return (output.movedim(_axis(output, block), -1) * factors).movedim(-1, _axis(output, block))


def _axis(output: Tensor, block: nn.Module) -> int:
    return 1 if output.ndim == 4 or isinstance(block, nn.Conv1d) else output.ndim - 1


@contextmanager
def hooked(blocks: Mapping[Place, nn.Module], act: Callable[[Place, Tensor, nn.Module], Tensor | None]) -> Iterator[None]:
    """Let ``act`` see the output of each block while the context lasts, and replace it where it returns something."""
    handles = [
        block.register_forward_hook(lambda module, _, output, place=place: act(place, output, module))
        for place, block in blocks.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
