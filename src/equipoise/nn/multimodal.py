"""The model: one encoder per modality, a fusion, and optional auxiliary heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from equipoise.batch import Batch, Neighbours, Outputs
from equipoise.config import EncoderOptions
from equipoise.errors import ConfigError, first_line, suggest
from equipoise.nn.encoders.base import (
    DEFAULT_ENCODERS,
    ENCODERS,
    RESERVED,
    GraphEncoder,
    build_encoder,
    encoder_options,
    is_import_path,
    no_neighbours,
)
from equipoise.nn.fusion import Features, Fusion, Present, build_fusion
from equipoise.nn.per_modality import PerModality
from equipoise.seeding import forked
from equipoise.tasks import Task

T = TypeVar("T")


class MultimodalModel(nn.Module):
    """One encoder per modality and a fusion.

    Encoders see only the rows of samples that have their modality, so a placeholder never reaches a layer (or a batch
    statistic); the features of the other rows are zero.

    Args:
        encoders: The encoder of each modality: a module from (batch, ...) to (batch, width), or one that uses the sample graph.
        fusion: Turns features into logits.
        training: How encoders train, where it is stated: frozen ones take no gradient and stay in evaluation mode.

    Attributes:
        frozen: The modalities whose encoders are frozen.
        learning_rates: Learning rates of encoders that have one of their own, by modality.
        heads: Auxiliary linear heads per modality, None until :meth:`add_heads`.
        extras: Further modules that a method adds, by name.
        on_encoded: Called with a modality and its features whenever an encoder ran; None calls nobody.

    Example:
        >>> from equipoise.nn.fusion.linear import ConcatFusion
        >>> from equipoise.tasks import Classification
        >>> encoders = {"a": nn.Linear(3, 2), "b": nn.Linear(4, 2)}
        >>> model = MultimodalModel(encoders, ConcatFusion({"a": 2, "b": 2}, Classification(5)))
        >>> features = model.encode({"a": torch.ones(6, 3), "b": torch.ones(6, 4)})
        >>> model.fuse(features).shape
        torch.Size([6, 5])
    """

    def __init__(
        self, encoders: Mapping[str, nn.Module], fusion: Fusion, training: Mapping[str, EncoderOptions] | None = None
    ) -> None:
        super().__init__()
        stated = training or {}
        self.encoders = PerModality(encoders)
        self.fusion = fusion
        self.heads: PerModality | None = None
        self.extras = nn.ModuleDict()
        self.on_encoded: Callable[[str, Tensor], None] | None = None
        self.frozen = tuple(name for name, item in stated.items() if item.frozen)
        self.learning_rates = {name: item.learning_rate for name, item in stated.items() if item.learning_rate is not None}
        for name in self.frozen:
            self.encoders[name].requires_grad_(False).eval()

    def train(self, mode: bool = True) -> MultimodalModel:
        """Set training or evaluation mode; frozen encoders stay in evaluation mode."""
        super().train(mode)
        for name in self.frozen:
            self.encoders[name].eval()
        return self

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return tuple(self.encoders)

    @property
    def graph_modalities(self) -> tuple[str, ...]:
        """Names of the modalities whose encoders use the sample graph, in order."""
        return tuple(name for name, encoder in self.encoders.items() if isinstance(encoder, GraphEncoder))

    @property
    def task(self) -> Task:
        """The task."""
        return self.fusion.task

    def add_heads(self, seed: int) -> None:
        """Add an auxiliary linear head per modality; from then on it gives the unimodal logits.

        Args:
            seed: Seed of the initial weights.
        """
        heads: dict[str, nn.Module] = {}
        for name, size in self.fusion.sizes.items():
            with forked(seed, "head", name):
                heads[name] = nn.Linear(size, self.task.outputs)
        self.heads = PerModality(heads).to(next(self.parameters()).device)

    def parameters_of(self, modality: str) -> list[nn.Parameter]:
        """Return the parameters of one modality's encoder."""
        return list(self.encoders[modality].parameters())

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return all parameters that belong to no encoder."""
        own = {id(parameter) for name in self.encoders for parameter in self.parameters_of(name)}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def encode(
        self,
        inputs: Mapping[str, Tensor],
        present: Present | None = None,
        only: Sequence[str] | None = None,
        neighbours: Mapping[str, Neighbours] | None = None,
    ) -> dict[str, Tensor]:
        """Return the features of each modality.

        Args:
            inputs: Per modality a tensor of shape (batch, ...).
            present: Which samples have a modality, booleans of shape (batch,); all where a modality is not named.
            only: Encode only these modalities.
            neighbours: Edges to the nodes of the graph, for each modality whose encoder uses it.

        Returns:
            Features of shape (batch, width) per modality, zero where the modality is absent.
        """
        features = {}
        for name in self.modalities if only is None else only:
            mask = None if present is None else present.get(name)
            features[name] = self._encode_some(name, inputs[name], mask, (neighbours or {}).get(name))
        return features

    def _encode_some(self, name: str, value: Tensor, mask: Tensor | None, edges: Neighbours | None) -> Tensor:
        encoder = self.encoders[name]
        if mask is None:
            return self._run(name, value, edges)
        rows = mask.nonzero().squeeze(1)
        if len(rows) == 0:
            dtype = next((item.dtype for item in encoder.parameters()), value.dtype)
            return value.new_zeros((len(value), self.fusion.sizes[name]), dtype=dtype)
        some = self._run(name, value[rows], None if edges is None else edges.take(rows))
        return some.new_zeros((len(value), *some.shape[1:])).index_copy(0, rows, some)

    def _run(self, name: str, value: Tensor, edges: Neighbours | None) -> Tensor:
        encoder = self.encoders[name]
        features: Tensor = encoder(value) if edges is None else encoder(value, edges)
        if self.on_encoded is not None:
            self.on_encoded(name, features)
        return features

    def fuse(self, features: Features, present: Present | None = None) -> Tensor:
        """Return fused logits of shape (batch, outputs) from features; see :class:`~equipoise.nn.fusion.Fusion`."""
        logits: Tensor = self.fusion(features, present or {})
        return logits

    def unimodal(self, features: Features, present: Present | None = None) -> dict[str, Tensor]:
        """Return what each modality says by itself: its auxiliary head, or the fusion's own contributions.

        Returns:
            Logits of shape (batch, outputs) per modality in ``features``; zeros where the modality is absent.
        """
        if self.heads is None:
            return self.fusion.contributions(features, present or {})
        logits = {name: self.heads[name](value) for name, value in features.items()}
        for name, mask in (present or {}).items():
            if name in logits:
                logits[name] = torch.where(mask[:, None], logits[name], logits[name].new_zeros(()))
        return logits

    def forward(self, batch: Batch, only: Sequence[str] | None = None) -> Outputs:
        """Return what the model says about a batch.

        Args:
            batch: The samples.
            only: Use only these modalities, as if the others were absent.

        Returns:
            Logits, features and (when asked for) unimodal logits.
        """
        names = self.modalities if only is None else tuple(only)
        present = {name: batch.present[name] for name in names if name not in batch.complete}
        features = self.encode(batch.inputs, present, names, batch.neighbours)
        said = cache(lambda: self.fusion.contributions(features, present))
        return Outputs(
            features,
            batch.present,
            _in_same_format(lambda: self.fusion.fuse(features, present, said), batch),
            _in_same_format(said if self.heads is None else lambda: self.unimodal(features, present), batch),
        )


def _in_same_format(compute: Callable[[], T], batch: Batch) -> Callable[[], T]:
    """Return a function that computes, whenever it is called, in the number format in force now."""
    kind = batch.index.device.type
    if not torch.is_autocast_enabled(kind):
        return compute
    dtype = torch.get_autocast_dtype(kind)

    def inside() -> T:
        with torch.autocast(kind, dtype):
            return compute()

    return inside


def describe_encoders(description: object, kinds: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Bring the description of the encoders into its full form: one component per modality.

    Args:
        description: None (each kind's default), a name, a component (``{"name": "mlp", "hidden": 32}``), or a mapping from
            modality to name or component; in the last form a part of the keys may be options and ``name`` for all others.
        kinds: Kind of each modality.

    Raises:
        ConfigError: It is none of these, or names an unknown modality.
    """
    full: dict[str, dict[str, Any]] = {name: {"name": DEFAULT_ENCODERS[kind]} for name, kind in kinds.items()}
    if description is None:
        return full
    if isinstance(description, str):
        description = {"name": description}
    if not isinstance(description, Mapping):
        raise ConfigError(f"encoder: expected a name or a mapping, found {description!r}")
    common = {key: value for key, value in description.items() if key not in kinds}
    for key, value in common.items():
        if isinstance(value, Mapping) or (key != "name" and isinstance(value, str) and _is_encoder(value)):
            raise ConfigError(f"encoder: unknown modality {key!r}, {suggest(key, kinds)}")
    for name in kinds:
        own = description.get(name, {})
        own = {"name": own} if isinstance(own, str) else own
        if not isinstance(own, Mapping):
            raise ConfigError(f"encoder of modality {name!r}: expected a name or a mapping, found {own!r}")
        # Options stated for all encoders are meant for the encoder they are stated with, but those that every encoder has.
        same = own.get("name", common.get("name")) == common.get("name")
        inherited = {key: value for key, value in common.items() if same or key in RESERVED}
        full[name] = {**full[name], **inherited, **own}
    return full


def _is_encoder(value: str) -> bool:
    """Return whether a value is the name of an encoder; classes begin with a capital, which folders with a dot rarely do."""
    return value in ENCODERS.names() or (is_import_path(value) and value.rpartition(".")[2][0].isupper())


def feature_width(encoder: nn.Module, shape: tuple[int, ...], modality: str) -> int:
    """Return the width of an encoder's features by trying it on two samples of zeros.

    Raises:
        ConfigError: It cannot take samples of this shape, or does not give one vector per sample.
    """
    training = encoder.training
    parameter = next(encoder.parameters(), torch.zeros(()))
    inputs = torch.zeros(2, *shape, device=parameter.device)
    edges = [no_neighbours(inputs)] if isinstance(encoder, GraphEncoder) else []
    try:
        with torch.no_grad():
            features = encoder.eval()(inputs, *edges)
    except Exception as error:  # the user's own code may raise anything
        place = f"encoder of modality {modality!r}"
        raise ConfigError(f"{place} cannot take samples of shape {shape}: {first_line(error)}") from error
    finally:
        encoder.train(training)
    if not isinstance(features, Tensor) or features.ndim != 2 or features.shape[0] != 2:
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        place = f"encoder of modality {modality!r}"
        raise ConfigError(f"{place} must give features of shape (batch, width), found {found} for 2 samples")
    return features.shape[1]


def build_model(
    shapes: Mapping[str, tuple[int, ...]],
    encoders: Mapping[str, Mapping[str, Any] | nn.Module],
    fusion: Mapping[str, Any],
    feature_size: int,
    task: Task,
    seed: int,
    training: Mapping[str, EncoderOptions] | None = None,
) -> MultimodalModel:
    """Make a model.

    Initial weights of an encoder depend on the seed and the modality's name only: an encoder starts from the same weights in
    a model of its own, in any fusion, and in whatever order the modalities are listed.

    Args:
        shapes: Shape of one prepared sample per modality.
        encoders: Per modality a description, or a module of the user's own.
        fusion: Description of the fusion.
        feature_size: Width of the features of encoders that we make.
        task: The task.
        seed: Seed of the initial weights.
        training: How encoders train that are modules of the user's own; descriptions say it themselves.

    Raises:
        ConfigError: A description or a module does not fit, or a modality is called ``fused``.
    """
    if "fused" in shapes:
        raise ConfigError("a modality cannot be called 'fused', which is the name of what all modalities say together")
    modules: dict[str, nn.Module] = {}
    stated = dict(training or {})
    for name, shape in shapes.items():
        description, owner = encoders[name], f"encoder of modality {name!r}"
        if isinstance(description, nn.Module):
            modules[name] = description
        else:
            stated[name] = encoder_options(description, owner)
            with forked(seed, "encoder", name):
                modules[name] = build_encoder(description, tuple(shape), feature_size, owner)
    sizes = {name: feature_width(module, tuple(shapes[name]), name) for name, module in modules.items()}
    shared = {id(parameter) for module in modules.values() for parameter in module.parameters()}
    if len(shared) != sum(len(list(module.parameters())) for module in modules.values()):
        raise ConfigError("encoders of different modalities must not share parameters")
    with forked(seed, "fusion"):
        return MultimodalModel(modules, build_fusion(fusion, sizes, task), stated)
