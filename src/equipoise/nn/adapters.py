"""Low-rank adapters: layers whose weights stay as they are while a small change to them is learned, and can be merged in."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Adapted(nn.Module):
    """What an adapted layer has beside its own parameters: the change ``scale * up @ down`` of its weight ``W``.

    ``W`` of shape (outputs, ...) counts as a matrix, so that a convolution is adapted as the linear layer on its patches.
    """

    weight: Tensor
    down: nn.Parameter
    up: nn.Parameter
    scale: float

    def changed_weight(self) -> Tensor:
        """Return ``W + scale * up @ down``."""
        change: Tensor = self.up @ self.down
        return torch.add(self.weight, change.view_as(self.weight), alpha=self.scale)


class _AdaptedLinear(_Adapted, nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.changed_weight(), self.bias)


class _AdaptedConv2d(_Adapted, nn.Conv2d):
    def forward(self, inputs: Tensor) -> Tensor:
        maps: Tensor = self._conv_forward(inputs, self.changed_weight(), self.bias)
        return maps


class _AdaptedConv1d(_Adapted, nn.Conv1d):
    def forward(self, inputs: Tensor) -> Tensor:
        steps: Tensor = self._conv_forward(inputs, self.changed_weight(), self.bias)
        return steps


_KINDS: dict[type[nn.Module], type[_Adapted]] = {
    nn.Linear: _AdaptedLinear,
    nn.Conv1d: _AdaptedConv1d,
    nn.Conv2d: _AdaptedConv2d,
}
_PLAIN: dict[type[nn.Module], type[nn.Module]] = {adapted: plain for plain, adapted in _KINDS.items()}


def adaptable_layers(module: nn.Module) -> list[str]:
    """Return the names of a module's layers that can be adapted: linear and 1-D or 2-D convolutional ones whose weight may be
    trained.

    Layers of other classes, those derived from these included, are not among them: what they compute is not known here.
    """
    return [name for name, layer in module.named_modules() if type(layer) in _KINDS and _weight(layer).requires_grad]


def add_adapters(module: nn.Module, layers: Sequence[str], rank: int, scale: float = 1.0) -> None:
    """Let layers of a module learn changes of low rank, which are zero at first.

    ``W`` becomes ``W + scale * B A`` with ``A`` of shape (rank, inputs), drawn from ``N(0, 1 / inputs)`` by the global generator,
    and ``B = 0``. A rank is at most that of ``W``. Layers stay the objects they were, under the names they had, so that whatever
    else refers to them goes on working; their class changes.

    Args:
        module: The module.
        layers: Names of layers, from :func:`adaptable_layers`.
        rank: Rank of the changes.
        scale: Factor of the changes.

    References:
        Hu et al., LoRA, ICLR 2022, arXiv 2106.09685.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2))
        >>> add_adapters(model, adaptable_layers(model), rank=1)
        >>> list(model.state_dict())
        ['0.weight', '0.bias', '0.down', '0.up']
        >>> merge_adapters(model)
        >>> list(model.state_dict()), type(model[0]).__name__
        (['0.weight', '0.bias'], 'Linear')
    """
    for name in layers:
        layer = module.get_submodule(name)
        weight = _weight(layer)
        inputs = weight[0].numel()
        size = min(rank, len(weight), inputs)
        layer.__class__ = _KINDS[type(layer)]
        assert isinstance(layer, _Adapted)
        layer.scale = scale
        layer.down = nn.Parameter((torch.randn(size, inputs, dtype=weight.dtype) / sqrt(inputs)).to(weight.device))
        layer.up = nn.Parameter(weight.new_zeros(len(weight), size))


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer.weight, Tensor)
    return layer.weight


def adapters_of(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a module's adapters; see :func:`add_adapters`."""
    return [item for layer in module.modules() if isinstance(layer, _Adapted) for item in (layer.down, layer.up)]


@torch.no_grad()
def merge_adapters(module: nn.Module) -> None:
    """Add to the weights what their adapters have learned, and take the adapters away; the module computes what it did."""
    for layer in module.modules():
        if isinstance(layer, _Adapted):
            layer.weight.copy_(layer.changed_weight())
            del layer.down, layer.up, layer.scale
            layer.__class__ = _PLAIN[type(layer)]  # type: ignore[assignment]


@torch.no_grad()
def adapter_size(module: nn.Module) -> Tensor:
    """Return how much a module's adapters change its weights: the length of all changes over that of all adapted weights."""
    layers = [layer for layer in module.modules() if isinstance(layer, _Adapted)]
    if not layers:
        return torch.zeros(())
    change = torch.stack([(layer.changed_weight() - layer.weight).norm() for layer in layers]).norm()
    size: Tensor = change / torch.stack([layer.weight.norm() for layer in layers]).norm().clamp_min(1e-12)
    return size
