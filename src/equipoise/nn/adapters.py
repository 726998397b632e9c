"""Low-rank adapters: layers whose weights stay as they are while a small change to them is learned, and can be merged in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Adapted(nn.Module):
    """What an adapted layer has beside its own parameters: the change ``scale / rank * up @ down`` of its weight ``W``.

    ``W`` of shape (outputs, ...) counts as a matrix, so that a convolution is adapted as the linear layer on its patches.
    """

    weight: Tensor
    down: nn.Parameter
    up: nn.Parameter
    factor: float

    def changed_weight(self) -> Tensor:
        """Return ``W + scale / rank * up @ down``."""
        return self.weight + self.factor * (self.up @ self.down).view_as(self.weight)


class _AdaptedLinear(_Adapted, nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.changed_weight(), self.bias)


class _AdaptedConv2d(_Adapted, nn.Conv2d):
    def forward(self, inputs: Tensor) -> Tensor:
        return self._conv_forward(inputs, self.changed_weight(), self.bias)


_KINDS: dict[type[nn.Module], type[_Adapted]] = {nn.Linear: _AdaptedLinear, nn.Conv2d: _AdaptedConv2d}
_PLAIN = {adapted: plain for plain, adapted in _KINDS.items()}


def add_adapters(module: nn.Module, rank: int, scale: float = 1.0, spread: float = 0.02) -> None:
    """Let the linear and convolutional layers of a module learn changes of low rank; at first these are zero.

    ``W`` becomes ``W + scale / rank * B A`` with ``A ~ N(0, spread^2)`` of shape (rank, inputs) and ``B = 0``. The rank is at most
    that of ``W``. Layers that are adapted already, whose weight needs no gradient, or that are of a class of the user's own are
    left alone. The layers stay the objects they were, under the names they had; only their class changes, so that whatever else
    refers to them goes on working.

    Args:
        module: The module.
        rank: Rank of the changes.
        scale: Factor of the changes.
        spread: Standard deviation of ``A``, drawn from the global generator.

    References:
        Hu et al., LoRA, ICLR 2022, arXiv 2106.09685.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> add_adapters(layer, rank=1)
        >>> list(layer.state_dict())
        ['weight', 'bias', 'down', 'up']
        >>> merge_adapters(layer)
        >>> list(layer.state_dict()), type(layer).__name__
        (['weight', 'bias'], 'Linear')
    """
    for layer in module.modules():
        kind = _KINDS.get(type(layer))
        weight = getattr(layer, "weight", None)
        if kind is None or weight is None or not weight.requires_grad:
            continue
        size = min(rank, weight.shape[0], weight[0].numel())
        down = torch.randn(size, weight[0].numel(), dtype=weight.dtype) * spread
        layer.__class__ = kind
        assert isinstance(layer, _Adapted)
        layer.factor = scale / size
        layer.down = nn.Parameter(down.to(weight.device))
        layer.up = nn.Parameter(weight.new_zeros(weight.shape[0], size))


def adapters_of(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a module's adapters; see :func:`add_adapters`."""
    return [item for layer in module.modules() if isinstance(layer, _Adapted) for item in (layer.down, layer.up)]


@torch.no_grad()
def merge_adapters(module: nn.Module) -> None:
    """Add to the weights what their adapters have learned, and take the adapters away; the module computes what it did."""
    for layer in module.modules():
        if isinstance(layer, _Adapted):
            layer.weight.copy_(layer.changed_weight())
            del layer.down, layer.up, layer.factor
            layer.__class__ = _PLAIN[type(layer)]


@torch.no_grad()
def adapter_size(module: nn.Module) -> Tensor:
    """Return how much a module's adapters change its weights: the length of all changes over that of all adapted weights."""
    layers = [layer for layer in module.modules() if isinstance(layer, _Adapted)]
    if not layers:
        return torch.zeros(())
    change = torch.stack([(layer.changed_weight() - layer.weight).norm() for layer in layers]).norm()
    return change / torch.stack([layer.weight.norm() for layer in layers]).norm().clamp_min(1e-12)
