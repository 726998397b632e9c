"""Finished runs on disk: weights and sample graph as safetensors, everything else as JSON. Loading one runs no code from it.

A run whose encoders use the sample graph holds the prepared features of the graph's nodes (the training samples, or all) in
``graph.safetensors``: new samples are compared with them. Do not pass such a folder on where the data must not go.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from equipoise._version import __version__
from equipoise.config import GraphOptions, build
from equipoise.data.graph import SampleGraph
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.schema import Schema
from equipoise.errors import ConfigError, EquipoiseError, RunError
from equipoise.files import read_json, write_bytes, write_json
from equipoise.inference.predictor import Predictor
from equipoise.methods.base import make_method
from equipoise.nn.encoders.base import encoder_options, is_import_path
from equipoise.nn.multimodal import MultimodalModel, build_model
from equipoise.tasks import Task, task_from_json
from equipoise.training.context import Context
from equipoise.training.runtime import Runtime

FORMAT = 1
CONFIG, PREPROCESSING, WEIGHTS = "config.json", "preprocessing.json", "model.safetensors"
GRAPH = "graph.safetensors"

_STATE = "method state: "


def read_part(folder: Path, name: str, what: str, keys: Sequence[str]) -> dict[str, Any]:
    """Read one of the JSON files of a run.

    Args:
        folder: The run folder.
        name: Name of the file.
        what: What it is to the reader, for messages.
        keys: What it must hold.

    Raises:
        RunError: It is missing, damaged, or lacks a key.
    """
    value = read_json(folder / name, what)
    lacking = [key for key in keys if key not in value]
    if lacking:
        raise RunError(f"{folder / name}: {', '.join(lacking)} is missing, expected {what}")
    return value


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of a run.

    Raises:
        RunError: The folder is not a run, or comes from a newer version.
    """
    if not (folder / CONFIG).is_file():
        raise RunError(f"{folder} is not a run folder: it has no {CONFIG}")
    config = read_part(folder, CONFIG, "the configuration of a run", ("format",))
    if config.get("format") != FORMAT:
        raise RunError(
            f"{folder}: run format {config.get('format')!r} (equipoise {config.get('equipoise', '?')}) is not known to "
            f"equipoise {__version__}, expected {FORMAT}; a newer version may read it"
        )
    return config


def check_imports(folder: Path, config: Mapping[str, Any], given: Collection[str], allowed: bool) -> None:
    """Refuse to make encoders whose code lies outside equipoise, unless the user allows it or supplies them.

    What a folder names is not what its reader chose: to import it by itself would let a folder run code.

    Args:
        folder: The run folder.
        config: Its configuration.
        given: Modalities whose encoders the user supplied.
        allowed: Whether the user allows it.

    Raises:
        RunError: It is not allowed; the message lists what would be imported.
    """
    if allowed or set(given) >= set(config["encoders"]):
        return
    stated = config["options"].get("encoder")
    every = {"name": stated} if isinstance(stated, str) else stated or {}
    # The options count too: to train on with them (resume, diagnose) would import what they name.
    described = [item for key, item in (*every.items(), *config["encoders"].items()) if key not in given]
    names = [item.get("name") if isinstance(item, Mapping) else item for item in described]
    imports = sorted({name for name in names if isinstance(name, str) and is_import_path(name)})
    if imports:
        raise RunError(
            f"{folder}: this run has encoders whose code is not part of equipoise and would be imported: {', '.join(imports)}; "
            "if you trust it, allow it by --allow-imports (allow_imports=True), or pass the encoders: encoders={...}"
        )


def make_model(config: Mapping[str, Any], task: Task, encoders: Mapping[str, nn.Module] | None = None) -> MultimodalModel:
    """Make the untrained model of a configuration.

    Args:
        config: The configuration.
        task: The task.
        encoders: The user's own encoders, by modality.

    Raises:
        ConfigError: An encoder of the user's own is missing, or one is given for an unknown modality.
    """
    given = dict(encoders or {})
    training = {name: encoder_options(config["encoders"].get(name, {}), f"encoder of modality {name!r}") for name in given}
    described: dict[str, Mapping[str, Any] | nn.Module] = {}
    for name, description in config["encoders"].items():
        if description["name"] == OWN_ENCODER and name not in given:
            raise ConfigError(
                f"modality {name!r} was trained with an encoder of your own ({description['class']}); "
                f"pass it: encoders={{{name!r}: ...}}"
            )
        described[name] = given.pop(name, description)
    if given:
        raise ConfigError(f"encoders given for unknown modalities: {', '.join(given)}")
    shapes = {name: tuple(shape) for name, shape in config["shapes"].items()}
    options = config["options"]
    return build_model(shapes, described, config["fusion"], options["feature_size"], task, options["seed"], training)


OWN_ENCODER = "own"
"""What stands in a configuration in place of the name of an encoder that the user supplied as a module."""


def save_predictor(folder: Path, predictor: Predictor) -> None:
    """Write the weights, the preprocessing and the graph of a finished run; its configuration stands there already.

    Raises:
        RunError: A file cannot be written.
    """
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in predictor.module.state_dict().items()}
    plain = _pack(dict(predictor.method_state), _STATE, tensors)
    if predictor.graph is not None:
        write_bytes(folder / GRAPH, save(predictor.graph.to_tensors()))
    write_json(folder / PREPROCESSING, {"preprocessing": predictor.preprocessing.to_json(), "method_state": plain})
    write_bytes(folder / WEIGHTS, save(tensors))


def load_predictor(
    folder: Path, device: str = "auto", encoders: Mapping[str, nn.Module] | None = None, allow_imports: bool = False
) -> Predictor:
    """Read a finished run.

    Args:
        folder: The run folder.
        device: Where to put the model.
        encoders: The user's own encoders, by modality, if it was trained with such.
        allow_imports: Whether encoders that the run names by import path may be imported.

    Raises:
        RunError: The folder is not a run, is not finished, is damaged, comes from a newer version, or needs an import.
    """
    config = read_config(folder)
    if not (folder / WEIGHTS).is_file():
        raise RunError(f"{folder}: this run is not finished; resume it with: equipoise fit --resume {folder}")
    saved = read_part(folder, PREPROCESSING, "the preprocessing of a run", ("preprocessing", "method_state"))
    tensors = _load_tensors(folder / WEIGHTS, "the weights are")
    check_imports(folder, config, encoders or {}, allow_imports)
    task = task_from_json(config["task"])
    method = make_method(config["options"]["method"])
    model = make_model(config, task, encoders)
    runtime = Runtime(device)
    ctx = Context(model, runtime, _training_options(config))
    method.setup(ctx)
    state = {name.removeprefix(_STATE): value for name, value in tensors.items() if name.startswith(_STATE)}
    method_state = _unpack(saved["method_state"], state)
    method.load_state_dict(ctx, method_state)
    module = method.predictor(ctx)
    try:
        module.load_state_dict({name: value for name, value in tensors.items() if not name.startswith(_STATE)})
    except RuntimeError as error:
        raise RunError(f"{folder / WEIGHTS}: the weights do not fit the configuration: {str(error).splitlines()[0]}") from error
    return Predictor(
        module.to(runtime.device),
        Preprocessing.from_json(saved["preprocessing"]),
        Schema.from_json(config["schema"]),
        task,
        runtime.device,
        _load_graph(folder, config, model.graph_modalities),
        method_state,
    )


def _load_tensors(path: Path, what: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except Exception as error:  # safetensors raises its own kind for a damaged file
        raise RunError(f"{path}: {what} damaged ({error})") from error


def _load_graph(folder: Path, config: Mapping[str, Any], modalities: Sequence[str]) -> SampleGraph | None:
    if not modalities:
        return None
    if not (folder / GRAPH).is_file():
        raise RunError(f"{folder}: {GRAPH} is missing, which holds the sample graph of {', '.join(modalities)}")
    tensors = _load_tensors(folder / GRAPH, "the sample graph is")
    try:
        return SampleGraph.from_tensors(tensors, modalities, build(GraphOptions, config.get("graph") or {}, "graph"))
    except EquipoiseError as error:
        raise RunError(f"{folder / GRAPH}: {error}") from error


def _training_options(config: Mapping[str, Any]) -> Any:
    from equipoise.config import FitConfig

    return FitConfig.from_options(config["options"]).training


def _pack(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """Move the tensors of nested plain data into ``tensors`` under their place; return the rest as JSON data."""
    if isinstance(value, torch.Tensor):
        tensors[place] = value.detach().cpu().contiguous().clone()
        return {"tensor": place.removeprefix(_STATE)}
    if isinstance(value, dict):
        return {"dict": {key: _pack(item, f"{place}/{key}", tensors) for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return {"list": [_pack(item, f"{place}/{number}", tensors) for number, item in enumerate(value)]}
    return {"value": value}


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo :func:`_pack`."""
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in content.items()}
    if kind == "list":
        return [_unpack(item, tensors) for item in content]
    return content
