"""What an encoder is, and how one is made from its description."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from equipoise.batch import Neighbours
from equipoise.config import EncoderOptions, build, parse_word
from equipoise.errors import ConfigError, first_line, suggest
from equipoise.registry import Registry

ENCODERS: Registry[type[nn.Module]] = Registry("encoder", "equipoise.nn.encoders")
"""Encoders by name. An encoder is a module made by ``Encoder(shape, feature_size, **options)`` that turns a batch of
shape (batch, \\*shape) into features of shape (batch, feature_size).

One that reads text in another form than weights of words has a class method ``text_form(options)`` that returns the option
``text`` of its modality; :class:`~equipoise.nn.encoders.embedding_bag.EmbeddingBag` is the example to read. One that is made from
a file of the user's has a method ``stored_options()`` that returns options by which it is made without that file, once its
weights are in a run; :class:`~equipoise.nn.encoders.transformers.Transformers` is the example."""

RESERVED = tuple(EncoderOptions.__dataclass_fields__)
"""Names of the options that every encoder has beside its own."""


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


DEFAULT_ENCODERS = {
    "tabular": "mlp",
    "image": "cnn",
    "audio": "cnn",
    "video": "cnn",
    "array": "mlp",
    "text": "mlp",
    "sequence": "tcn",
}
"""The encoder of each kind of modality when the user names none."""


def is_import_path(name: str) -> bool:
    """Return whether the name of an encoder is that of a class outside equipoise, such as ``mypackage.nets.MyNet``."""
    return "." in name and all(part.isidentifier() for part in name.split("."))


def encoder_class(name: str, owner: str) -> type[nn.Module]:
    """Return the class of an encoder by its name or import path; the latter runs the code of its module.

    Args:
        name: The name.
        owner: How messages call the encoder.

    Raises:
        ConfigError: There is none of this name, or it is no class of modules.
    """
    if not is_import_path(name):
        return ENCODERS.get(name)
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the user's own code may raise anything
        words = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(
            f"{owner}: {name} cannot be imported ({words}); Python looks in PYTHONPATH and what is installed"
        ) from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ConfigError(f"{owner}: {name} is {found!r}, expected a class derived from torch.nn.Module")
    return found


def call_with_options(
    cls: type[Any], arguments: tuple[Any, ...], options: Mapping[str, Any], owner: str, named: Mapping[str, Any] | None = None
) -> Any:
    """Call a component's constructor, its options checked against the constructor's parameters.

    Args:
        cls: The component.
        arguments: The positional arguments that the caller supplies.
        options: The options that the user gave.
        owner: How messages call the component.
        named: The arguments that the caller supplies by name.

    Raises:
        ConfigError: An option is unknown, has the wrong type or is missing; the nearest name is offered.
    """
    named = named or {}
    every = inspect.signature(cls).parameters
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = {name: item for name, item in list(every.items())[len(arguments) :] if item.kind in plain and name not in named}
    anything = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in every.values())
    checked = {}
    for name, value in options.items():
        if name not in parameters and not anything:
            raise ConfigError(f"{owner}: unknown option {name!r}, {suggest(name, parameters)}")
        default = parameters[name].default if name in parameters else inspect.Parameter.empty
        if isinstance(value, str) and not isinstance(default, str):
            value = parse_word(value)
        wanted = (int, float) if isinstance(default, float) else type(default)
        if isinstance(default, (bool, int, float, str)) and (
            not isinstance(value, wanted) or (isinstance(value, bool) and not isinstance(default, bool))
        ):
            raise ConfigError(f"{owner}: {name} = {value!r} is not valid, expected a value like {default!r}")
        checked[name] = value
    for name, item in parameters.items():
        if item.default is inspect.Parameter.empty and name not in checked:
            raise ConfigError(f"{owner}: option {name!r} is missing, which has no default")
    return cls(*arguments, **named, **checked)


def encoder_options(description: Mapping[str, Any], owner: str) -> EncoderOptions:
    """Return how an encoder trains, from its description.

    Raises:
        ConfigError: A value is not valid, or a frozen encoder has a learning rate.
    """
    stated = build(EncoderOptions, {key: value for key, value in description.items() if key in RESERVED}, owner)
    if stated.frozen and stated.learning_rate is not None:
        raise ConfigError(f"{owner}: frozen = true and learning_rate = {stated.learning_rate:g} contradict each other")
    return stated


def stored_options(encoder: nn.Module) -> dict[str, Any]:
    """Return the options that a run must keep to make an encoder again, beside those that the user gave."""
    asked = getattr(encoder, "stored_options", None)
    return {} if asked is None else dict(asked())


def build_encoder(description: Mapping[str, Any], shape: tuple[int, ...], feature_size: int, owner: str) -> nn.Module:
    """Make an encoder from its description.

    A class outside equipoise is given the shape of a sample and the width of the features if its constructor has parameters
    called ``shape`` and ``feature_size``; all its other parameters are options.

    Args:
        description: ``name`` (or import path) and the encoder's options; those on its training are left to the caller.
        shape: Shape of one prepared sample.
        feature_size: Width of the features.
        owner: How messages call it, e.g. ``"encoder of modality 'image'"``.

    Raises:
        ConfigError: The name or an option is unknown, or the encoder cannot take such samples.
    """
    options = {"feature_size": feature_size, **{key: value for key, value in description.items() if key not in RESERVED}}
    name = options.pop("name")
    size = options.pop("feature_size")
    size = parse_word(size) if isinstance(size, str) else size
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigError(f"{owner} ({name}): feature_size = {size!r} is not valid, expected a whole number of at least 1")
    cls, called = encoder_class(name, owner), f"{owner} ({name})"
    try:
        if is_import_path(name):
            known = inspect.signature(cls).parameters
            named = {key: value for key, value in (("shape", shape), ("feature_size", size)) if key in known}
            return cast("nn.Module", call_with_options(cls, (), options, called, named))
        return cast("nn.Module", call_with_options(cls, (shape, size), options, called))
    except ConfigError as error:
        raise error if str(error).startswith(owner) else ConfigError(f"{owner}: {error}") from error
    except Exception as error:
        if not is_import_path(name):
            raise
        raise ConfigError(f"{called} cannot be made: {type(error).__name__}: {first_line(error)}") from error
