"""Encoders and a head of the caller's own, as a model that methods can train. The parameters are the caller's, not copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.config import component
from equipoise.errors import ConfigError, first_line
from equipoise.nn.fusion import Features, Fusion, Present, build_fusion
from equipoise.nn.fusion.base import masked
from equipoise.nn.fusion.linear import ConcatFusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.seeding import forked
from equipoise.tasks import Task

Join = Callable[[dict[str, Tensor]], Any]
"""Makes what a head takes of the features of all modalities."""


@contextmanager
def modes_kept(*modules: nn.Module) -> Iterator[None]:
    """Leave training and evaluation modes as they were."""
    known = {id(item): (item, item.training) for module in modules for item in module.modules()}
    try:
        yield
    finally:
        for item, training in known.values():
            item.training = training


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Run a block in evaluation mode."""
    with modes_kept(*modules):
        for module in modules:
            module.eval()
        yield


def concatenated(features: dict[str, Tensor]) -> Tensor:
    """Return features side by side, of shape (batch, sum of widths)."""
    return torch.cat(list(features.values()), 1)


class HeadFusion(Fusion):
    """Any module that makes logits of the features of all modalities.

    It sees zeros in the place of what is absent. What a part of the modalities says, and whatever is asked without gradients, is
    asked of it in evaluation mode, so that it then neither draws random numbers nor changes running statistics.

    Args:
        sizes: Width of the features of each modality.
        task: The task.
        head: The module.
        join: Makes what it takes of the features.

    Example:
        >>> from equipoise.tasks import Classification
        >>> fusion = HeadFusion({"a": 2, "b": 3}, Classification(4), nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4)))
        >>> fusion({"a": torch.ones(6, 2), "b": torch.ones(6, 3)}, {}).shape
        torch.Size([6, 4])
    """

    def __init__(self, sizes: Mapping[str, int], task: Task, head: nn.Module, join: Join = concatenated) -> None:
        super().__init__(sizes, task)
        self.head = head
        self._join = join

    def forward(self, features: Features, present: Present) -> Tensor:
        used = masked(features, present)
        some = next(iter(used.values()))
        every = {name: used[name] if name in used else some.new_zeros(len(some), size) for name, size in self.sizes.items()}
        with nullcontext() if torch.is_grad_enabled() else evaluating(self.head):
            logits: Tensor = self.head(self._join(every))
        return logits

    def contributions(self, features: Features, present: Present) -> dict[str, Tensor]:
        with evaluating(self.head):
            return super().contributions(features, present)

    def coalitions(self, features: Features, present: Present, members: Tensor) -> Tensor:
        with evaluating(self.head):
            logits = super().coalitions(features, present, members)
        whole = members.all(1)
        # Methods train by the last of these logits, which are the fused ones.
        return torch.where(whole[:, None, None], self(features, present), logits) if bool(whole.any()) else logits


def adopt_model(
    encoders: Mapping[str, nn.Module],
    fusion: nn.Module | str | Mapping[str, Any],
    join: Join | None,
    task: Task,
    example: Mapping[str, Tensor],
    seed: int,
) -> MultimodalModel:
    """Return a model of the caller's modules.

    Args:
        encoders: The encoder of each modality.
        fusion: A head of the caller's own, or the description of a fusion to be made.
        join: Makes what the head takes of the features; None concatenates them.
        task: The task.
        example: Some samples per modality, on the device of the encoders.
        seed: Seed of the initial weights of a fusion that is made.

    Raises:
        ConfigError: Encoders or head do not fit the samples, the task or each other.
    """
    sizes = {name: _width(encoder, example, name) for name, encoder in encoders.items()}
    parameters = [id(item) for encoder in encoders.values() for item in encoder.parameters()]
    if len(set(parameters)) < len(parameters):
        raise ConfigError("encoders of different modalities must not share parameters")
    with forked(seed, "fusion"):
        if isinstance(fusion, nn.Module):
            model = MultimodalModel(encoders, _adopt_head(sizes, task, fusion, join))
        elif join is not None:
            raise ConfigError("join: it makes the input of a head of your own, expected a module as fusion")
        else:
            model = MultimodalModel(encoders, build_fusion(component(fusion, "fusion"), sizes, task))
    device = next(iter(example.values())).device
    _check_head(model.to(device), device)
    return model


def _width(encoder: nn.Module, example: Mapping[str, Tensor], name: str) -> int:
    place = f"encoder of modality {name!r}"
    if name not in example:
        raise ConfigError(f"example: it has no modality {name!r}, expected samples of every modality; found {', '.join(example)}")
    inputs = example[name][:2]
    try:
        with torch.no_grad(), evaluating(encoder):
            features = encoder(inputs)
    except Exception as error:  # the caller's own code may raise anything
        raise ConfigError(f"{place} cannot take samples of shape {tuple(inputs.shape[1:])}: {first_line(error)}") from error
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(inputs):
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ConfigError(f"{place} must give features of shape (batch, width), found {found} for {len(inputs)} samples")
    return features.shape[1]


def _adopt_head(sizes: Mapping[str, int], task: Task, head: nn.Module, join: Join | None) -> Fusion:
    # Without a bias, what a masked head says of one modality is its exact share already.
    if type(head) is not nn.Linear or join is not None or head.bias is None:
        return HeadFusion(sizes, task, head, join or concatenated)
    total = sum(sizes.values())
    if head.in_features != total:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ConfigError(f"fusion: the head takes {head.in_features} features, the encoders give {total} ({found})")
    fusion = ConcatFusion(sizes, task)
    fusion.linear = head
    return fusion


def _check_head(model: MultimodalModel, device: torch.device) -> None:
    features = {name: torch.zeros(2, size, device=device) for name, size in model.fusion.sizes.items()}
    try:
        with torch.no_grad(), evaluating(model.fusion):
            logits = model.fuse(features)
    except Exception as error:  # as above
        raise ConfigError(f"fusion: the head cannot take the features of {', '.join(features)}: {first_line(error)}") from error
    wanted = (2, model.task.outputs)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ConfigError(f"fusion: the head must give logits of shape {wanted} for 2 samples, found {found}")
