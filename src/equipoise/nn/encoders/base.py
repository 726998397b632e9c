"""What an encoder is, and how one is made from its description."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.batch import Neighbours
from equipoise.config import parse_word
from equipoise.errors import ConfigError, suggest
from equipoise.registry import Registry

ENCODERS: Registry[type[nn.Module]] = Registry("encoder", "equipoise.nn.encoders")
"""Encoders by name. An encoder is a module made by ``Encoder(shape, feature_size, **options)`` that turns a batch of
shape (batch, \\*shape) into features of shape (batch, feature_size)."""


class GraphEncoder(nn.Module):
    """Base of encoders that use the sample graph: they see a sample and what its neighbours in the graph are like.

    What comes in is propagated already: ``sum_j A_ij x_j`` over the neighbours ``j`` of a sample ``i`` and itself, with the
    normalised edges ``A``. Since the inputs do not change in training, that is done once, and the neighbours' own propagated
    inputs stand in ``neighbours.table``; so a second propagation needs the samples of the batch and the rows of the table
    that their edges lead to. :class:`~equipoise.nn.encoders.gcn.GCN` is the example to read.
    """

    def forward(self, inputs: Tensor, neighbours: Neighbours) -> Tensor:
        """Return features.

        Args:
            inputs: Propagated inputs of shape (batch, ...).
            neighbours: The edges of these samples.

        Returns:
            Features of shape (batch, feature_size).
        """
        raise NotImplementedError


def no_neighbours(inputs: Tensor) -> Neighbours:
    """Return the edges of samples of shape (batch, ...) that have no neighbours but themselves."""
    nodes = torch.zeros(len(inputs), 1, dtype=torch.long, device=inputs.device)
    return Neighbours(nodes, inputs.new_zeros(nodes.shape), inputs.new_ones(len(inputs)), inputs[:1])


DEFAULT_ENCODERS = {"tabular": "mlp", "image": "cnn", "array": "mlp", "text": "mlp"}
"""The encoder of each kind of modality when the user names none."""


def call_with_options(cls: type[Any], arguments: tuple[Any, ...], options: Mapping[str, Any], owner: str) -> Any:
    """Call a component's constructor, its options checked against the constructor's keyword-only parameters.

    Args:
        cls: The component.
        arguments: The positional arguments that the caller supplies.
        options: The options that the user gave.
        owner: How messages call the component.

    Raises:
        ConfigError: An option is unknown or has the wrong type; the nearest name is offered.
    """
    parameters = inspect.signature(cls).parameters
    names = [name for name, item in parameters.items() if item.kind is inspect.Parameter.KEYWORD_ONLY]
    checked = {}
    for name, value in options.items():
        if name not in names:
            raise ConfigError(f"{owner}: unknown option {name!r}, {suggest(name, names)}")
        default = parameters[name].default
        if isinstance(value, str) and not isinstance(default, str):
            value = parse_word(value)
        wanted = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, wanted) or (isinstance(value, bool) and not isinstance(default, bool)):
            raise ConfigError(f"{owner}: {name} = {value!r} is not valid, expected a value like {default!r}")
        checked[name] = value
    return cls(*arguments, **checked)


def build_encoder(description: Mapping[str, Any], shape: tuple[int, ...], feature_size: int, owner: str) -> nn.Module:
    """Make an encoder from its description.

    Args:
        description: ``name`` and the encoder's options.
        shape: Shape of one prepared sample.
        feature_size: Width of the features.
        owner: How messages call it, e.g. ``"encoder of modality 'image'"``.

    Raises:
        ConfigError: The name or an option is unknown, or the encoder cannot take such samples.
    """
    options = {"feature_size": feature_size, **description}
    name = options.pop("name")
    size = options.pop("feature_size")
    size = parse_word(size) if isinstance(size, str) else size
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigError(f"{owner} ({name}): feature_size = {size!r} is not valid, expected a whole number of at least 1")
    try:
        encoder: nn.Module = call_with_options(ENCODERS.get(name), (shape, size), options, f"{owner} ({name})")
    except ConfigError as error:
        raise error if str(error).startswith((owner, "unknown")) else ConfigError(f"{owner}: {error}") from error
    return encoder
