"""Everything about a run that is checked before the first step of training: data, model, method and how they fit together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from equipoise._version import __version__
from equipoise.config import FitConfig, GraphOptions, build, component
from equipoise.data.augment import Augmentation
from equipoise.data.builtin import BUILTIN
from equipoise.data.dataset import Dataset
from equipoise.data.graph import resolve
from equipoise.data.schema import Schema
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError, suggest
from equipoise.fold import Fold
from equipoise.inference.storage import FORMAT, OWN_ENCODER, make_model
from equipoise.methods.base import Method, check_task, make_method
from equipoise.nn.encoders.base import RESERVED, stored_options
from equipoise.nn.multimodal import MultimodalModel, describe_encoders
from equipoise.nn.text_forms import with_text_forms
from equipoise.tasks import Task, make_task
from equipoise.training.reuse import PhaseMemory
from equipoise.training.runtime import Runtime

Source = str | Path | Mapping[str, Any]
"""Data as users name them: a folder or file, an embedded set, or a mapping of arrays, DataFrames or tensors."""


@dataclass(frozen=True)
class Prepared:
    """A run that may begin.

    Attributes:
        stored: What the run folder keeps of it.
        config: All options, with what depends on the task filled in.
        method: The method.
        fold: The data, in the form that the encoders read.
        task: The task.
        runtime: Device and processes.
        model: The model with its initial weights.
        graph: The options of the sample graph, None where no encoder uses one.
        augment: What is changed at random in training batches, None where nothing is.
        reuse: Where runs on one fold keep phases for each other, and what these runs have in common; None where they cannot.
    """

    stored: dict[str, Any]
    config: FitConfig
    method: Method
    fold: Fold
    task: Task
    runtime: Runtime
    model: MultimodalModel
    graph: GraphOptions | None
    augment: Augmentation | None
    reuse: tuple[PhaseMemory, str] | None


def prepare(data: Source | Dataset | Fold, config: FitConfig, labels: Any, encoders: Mapping[str, nn.Module] | None) -> Prepared:
    """Open the data, make the model, and check that everything fits.

    Args:
        data: The data.
        config: All options.
        labels: Labels for data in memory.
        encoders: Encoders of the user's own, by modality.

    Raises:
        DataError: Something is wrong with the data.
        ConfigError: Something is wrong with an option.
    """
    method = make_method(config.method)
    fusion = _fusion(method, config)
    if config.training.threads is not None:
        torch.set_num_threads(config.training.threads)
    runtime = Runtime(config.training.device, config.training.precision)
    source = data if isinstance(data, (Dataset, Fold)) else open_dataset(data, config.read, target=labels)
    schema = source.schema
    described = _described(config, schema, encoders)
    fold = _fold(source, config, described, encoders)
    train = fold.data.train
    check_task(method.name, method.card.tasks, schema.task)
    task = _task(train, config)
    stored = {
        "format": FORMAT,
        "equipoise": __version__,
        "data": {
            "source": _remembered(data),
            "fingerprint": fold.fingerprint,
            "split": fold.split.name,
            "split_hash": fold.split.hash,
        },
        "options": {**config.to_options(), "method": {"name": method.name, **method.hyperparameters()}},
        "schema": schema.to_json(),
        "task": task.to_json(),
        "encoders": described,
        "fusion": fusion,
        "shapes": {name: list(shape) for name, shape in fold.preprocessing.shapes.items()},
    }
    model = make_model(stored, task, encoders)
    for name, encoder in model.encoders.items():
        described[name] = {**described[name], **stored_options(encoder)}
    training = replace(config.training, monitor=task.monitor(config.training.monitor))
    config = replace(config, training=training)
    graph = _graph_options(model, config, len(train), schema.samples)
    stored["graph"] = graph and asdict(graph)
    augment = Augmentation.of(config.training.augment, schema, fold.preprocessing.shapes, config.training.seed)
    reuse = None
    if isinstance(data, Fold) and not encoders and runtime.world == 1:  # what modules of the user's own compute is in no setting
        alike = {**stored, "options": {**config.to_options(), "method": method.name}}
        reuse = (data.phases, json.dumps(alike, sort_keys=True, default=str))
    return Prepared(stored, config, method, fold, task, runtime, model, graph, augment, reuse)


def _graph_options(model: MultimodalModel, config: FitConfig, train: int, samples: int) -> GraphOptions | None:
    """Return the options of the sample graph in full, or None where no encoder uses one."""
    options = build(GraphOptions, config.model.graph or {}, "graph")
    users = model.graph_modalities
    if not users and config.model.graph:
        raise ConfigError("graph: no modality has an encoder that uses the sample graph, expected one such as encoder = 'gcn'")
    if users and config.training.loader == "stream":
        words = f"the sample graph of {', '.join(users)} needs the data in memory"
        raise ConfigError(f"loader = 'stream': {words}, expected memory or auto")
    return resolve(options, train if options.nodes == "train" else samples) if users else None


def _remembered(data: Source | Dataset | Fold) -> str | None:
    if isinstance(data, (Mapping, Dataset, Fold)):
        return None
    return str(data) if str(data) in BUILTIN and isinstance(data, str) else str(Path(data).expanduser().resolve())


def _fusion(method: Method, config: FitConfig) -> dict[str, Any]:
    stated = None if config.model.fusion is None else component(config.model.fusion, "fusion")
    needed = method.card.fusion
    if stated is not None and needed and stated["name"] != needed:
        raise ConfigError(f"method {method.name} needs fusion {needed!r}, found fusion = {stated['name']!r}; leave it out")
    return stated or {"name": needed or "concat"}


def _described(config: FitConfig, schema: Schema, encoders: Mapping[str, nn.Module] | None) -> dict[str, dict[str, Any]]:
    """Return the full description of each modality's encoder."""
    described = describe_encoders(config.model.encoder, {item.name: item.kind for item in schema.modalities})
    if not isinstance(encoders or {}, (Mapping, nn.ModuleDict)):
        raise ConfigError(f"encoders: expected a mapping from modalities to modules, found {type(encoders).__name__}")
    for name, module in (encoders or {}).items():
        if name not in described:
            raise ConfigError(f"encoders: unknown modality {name!r}, {suggest(name, described)}")
        if not isinstance(module, nn.Module):
            raise ConfigError(f"encoders: expected a module for modality {name!r}, found {type(module).__name__} {module!r}")
        stated = config.model.encoder.get(name, {}) if isinstance(config.model.encoder, Mapping) else {}
        if isinstance(stated, str) or set(stated) - set(RESERVED):
            raise ConfigError(f"encoder of modality {name!r}: {stated!r} was stated and a module passed, expected one of the two")
    return {**described, **own_encoders(described, encoders)}


def own_encoders(
    described: Mapping[str, Mapping[str, Any]], encoders: Mapping[str, nn.Module] | None
) -> dict[str, dict[str, Any]]:
    """Return the descriptions of encoders that the user supplied as modules; what they say on training stays."""
    return {
        name: {
            "name": OWN_ENCODER,
            "class": f"{type(module).__module__}.{type(module).__qualname__}",
            **{key: value for key, value in described[name].items() if key in RESERVED},
        }
        for name, module in (encoders or {}).items()
    }


def _fold(
    data: Dataset | Fold,
    config: FitConfig,
    described: Mapping[str, Mapping[str, Any]],
    encoders: Mapping[str, nn.Module] | None,
) -> Fold:
    """Return the fold with each text in the form that its encoder reads."""
    kinds = {item.name: item.kind for item in data.schema.modalities}
    options = with_text_forms(config.preprocessing, kinds, described, encoders)
    if not isinstance(data, Fold):
        return Fold.of(data, config.splitting, options)
    known = data.preprocessing.options
    if data.splitting != config.splitting or known not in (config.preprocessing, options):
        raise ConfigError("data: the fold was made with other options of splitting and preprocessing than those of the run")
    return data.prepared(options)


def _task(train: Dataset, config: FitConfig) -> Task:
    assert train.target is not None
    balanced = config.training.class_weights == "balanced"
    return make_task(train.schema.task, len(train.schema.classes), torch.from_numpy(train.target), balanced=balanced)
