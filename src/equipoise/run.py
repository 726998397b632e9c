"""A training run from data to results: ``fit``, ``resume`` and ``load``."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from equipoise._version import __version__
from equipoise.config import FitConfig, GraphOptions, build
from equipoise.data.augment import Augmentation
from equipoise.data.dataset import Dataset
from equipoise.data.fingerprint import fingerprint
from equipoise.data.graph import SampleGraph, resolve
from equipoise.data.schema import Schema
from equipoise.data.sources import open_dataset, target_names
from equipoise.data.splits import Split
from equipoise.errors import ConfigError, DataError, RunError, suggest
from equipoise.files import append_line, make_folder, read_lines, truncate_lines, write_json
from equipoise.fold import Fold
from equipoise.inference.predictions import Predictions
from equipoise.inference.predictor import Predictor
from equipoise.inference.storage import (
    CONFIG,
    FORMAT,
    OWN_ENCODER,
    WEIGHTS,
    check_imports,
    load_predictor,
    make_model,
    read_config,
    read_part,
    save_predictor,
)
from equipoise.methods.base import Method, check_task, make_method
from equipoise.nn.encoders.base import RESERVED, stored_options
from equipoise.nn.multimodal import MultimodalModel, describe_encoders
from equipoise.nn.text_forms import with_text_forms
from equipoise.tasks import Task, make_task
from equipoise.training.checkpoint import load_checkpoint, save_checkpoint
from equipoise.training.context import Context
from equipoise.training.loop import Loop, Observer
from equipoise.training.observers import MetricsLog, ProgressBar
from equipoise.training.runtime import Runtime

SUMMARY, SPLIT, METRICS, CHECKPOINT = "summary.json", "split.json", "metrics.jsonl", "checkpoint.pt"

Source = str | Path | Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        predictor: The trained model with its preprocessing.
        config: All settings, the schema and the split.
        summary: What came out: metrics on the test part, selected epochs, cost.
        folder: Where it is stored, or None.
        log: A line per epoch: losses, validation metrics, coefficients of the method.
    """

    predictor: Predictor
    config: dict[str, Any]
    summary: dict[str, Any]
    folder: Path | None = None
    log: Sequence[dict[str, Any]] = ()

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that speaks to people; the others of a distributed run stay silent."""
        return int(os.environ.get("RANK", "0")) == 0

    @property
    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Metrics on the test part: ``fused`` and each modality inside the model; nothing where there is no test part."""
        found: dict[str, dict[str, float | None]] = self.summary["test"]
        return found

    def predict(self, source: Source, **options: Any) -> Predictions:
        """Predict; see :meth:`~equipoise.inference.predictor.Predictor.predict`."""
        return self.predictor.predict(source, **options)

    def save(self, folder: str | Path) -> Run:
        """Write the run into a folder, as if it had been trained with ``out=folder``.

        Args:
            folder: A folder that is empty or not there.

        Returns:
            The run in its folder; :func:`load` opens it.

        Raises:
            RunError: The folder is in use or cannot be written.
        """
        path = Path(folder)
        _check_unused(path)
        stored = {key: value for key, value in self.config.items() if key != "split"}
        _write_start(make_folder(path), stored, self.config["split"])
        for line in self.log:
            append_line(path / METRICS, line)
        save_predictor(path, self.predictor)
        write_json(path / SUMMARY, self.summary)
        return replace(self, folder=path)

    def evaluate(self, source: Source, *, part: str = "auto", **options: Any) -> dict[str, dict[str, float | None]]:
        """Compute metrics on labelled samples.

        Args:
            source: The data.
            part: ``test``, ``validation``, ``train`` (parts of the data of training), ``all``, or ``auto``: the test part if
                these are the data of training and there is one, else all samples.
            options: As for :meth:`~equipoise.inference.predictor.Predictor.evaluate`.
        """
        return self.evaluated(source, part=part, **options)[0]

    def evaluated(self, source: Source, *, part: str = "auto", **options: Any) -> tuple[dict[str, dict[str, float | None]], str]:
        """Do as :meth:`evaluate`, and say which samples were used."""
        coalitions = options.pop("coalitions", None)
        dataset = self.predictor.read(source, labelled=True, **options)
        dataset, words = self._choose(dataset, part)
        return self.predictor.evaluate(dataset, coalitions=coalitions), words

    def _choose(self, dataset: Dataset, part: str) -> tuple[Dataset, str]:
        same = fingerprint(dataset) == self.config["data"]["fingerprint"]
        if part == "auto":
            part = "test" if same and self.config["split"]["test"] else "all"
        if part == "all":
            return dataset, f"all {len(dataset)} samples"
        if part not in ("train", "validation", "test"):
            raise ConfigError(f"part = {part!r} is not valid, expected auto, train, validation, test or all")
        if not same:
            raise DataError(f"part = {part!r}: these are not the data that the run was trained on; expected part = 'all'")
        rows = np.array(self.config["split"][part], dtype=np.int64)
        return dataset.subset(rows), f"the {part} part, {len(rows)} samples"


def fit(
    data: Source | Dataset | Fold,
    *,
    method: str | Mapping[str, Any] = "joint",
    out: str | Path | None = None,
    target: Any = None,
    encoders: Mapping[str, nn.Module] | None = None,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Train a model and measure it on the test part.

    Args:
        data: A folder or file, the name of an embedded set, a mapping of arrays, DataFrames or tensors, an open data set,
            or a fold of one, which several runs share.
        method: Name of a method, or a mapping with ``name`` and hyper-parameters.
        out: Folder for the run; None keeps it in memory.
        target: Name of the target column, or of several; or labels of shape (samples,) or (samples, outputs) for data in memory.
        encoders: Encoders of your own by modality: modules from (batch, ...) to (batch, width). How they train is said beside
            them: ``encoder={"image": {"frozen": True}}``.
        progress: Whether to show a progress bar.
        options: Any option of :mod:`equipoise.config`, such as ``epochs=50`` or ``fusion="gated"``.

    Returns:
        The finished run.

    Raises:
        DataError: Something is wrong with the data.
        ConfigError: Something is wrong with an option.
        RunError: The folder cannot be used.

    Example:
        >>> run = fit("wisconsin", method="ogm", epochs=2, progress=False)
        >>> run.metrics["fused"]["accuracy"] > 0.8
        True
    """
    names = target_names(target, data)
    labels = None if names is not None else target
    if names is not None:
        options = {**options, "target": names}
    config = FitConfig.from_options({"method": method, **options})
    folder = None if out is None else Path(out)
    if folder is not None and os.environ.get("RANK", "0") == "0":
        _check_unused(folder)
    prepared = _prepare(data, config, labels, encoders)
    if folder is not None and prepared.runtime.is_main:
        _write_start(make_folder(folder), prepared.stored, _parts(prepared.fold.split))
    try:
        return _train(prepared, folder, None, progress)
    except (ConfigError, DataError):
        # What a method refuses when it first sees the data is refused like any other input: nothing is left behind.
        if folder is not None and prepared.runtime.is_main and {item.name for item in folder.iterdir()} <= {CONFIG, SPLIT}:
            for item in folder.iterdir():
                item.unlink()
            folder.rmdir()
        raise


def resume(
    run: str | Path,
    data: Source | None = None,
    *,
    target: Any = None,
    encoders: Mapping[str, nn.Module] | None = None,
    allow_imports: bool = False,
    progress: bool = True,
) -> Run:
    """Go on with an interrupted run; it ends as if it had never stopped.

    Args:
        run: The run folder.
        data: The data, where they are not a path or an embedded set that the run remembers.
        target: Labels for data in memory.
        encoders: Encoders of your own, as they were given to :func:`fit`.
        allow_imports: Whether encoders that the run names by import path may be imported, which runs their code.
        progress: Whether to show a progress bar.

    Returns:
        The finished run; at once, if it was finished already.

    Raises:
        RunError: The folder is no run or cannot be resumed.
        DataError: The data are not those that the run was started with.
    """
    folder = Path(run)
    stored = read_config(folder)
    if (folder / SUMMARY).is_file() and (folder / WEIGHTS).is_file():
        return load(folder, encoders=encoders, allow_imports=allow_imports)
    check_imports(folder, stored, encoders or {}, allow_imports)
    source = data if data is not None else stored["data"]["source"]
    if source is None:
        raise RunError(f"{folder}: the run was started with data in memory; pass them again to resume it")
    prepared = _prepare(source, FitConfig.from_options(stored["options"]), target, encoders)
    for key, words in (("fingerprint", "data"), ("split_hash", "split")):
        if prepared.stored["data"][key] != stored["data"][key]:
            raise DataError(f"{source}: the {words} changed since the run {folder} was started; it cannot be resumed with them")
    checkpoint = load_checkpoint(folder / CHECKPOINT) if (folder / CHECKPOINT).is_file() else None
    if prepared.runtime.is_main:
        done = 0 if checkpoint is None else checkpoint["counters"][0]
        lines = iter(range(len(read_lines(folder / METRICS)) if (folder / METRICS).is_file() else 0))
        truncate_lines(folder / METRICS, lambda _: next(lines) < done)
    prepared.runtime.wait()
    return _train(replace(prepared, stored=stored), folder, checkpoint, progress)


def load(
    run: str | Path, *, device: str = "auto", encoders: Mapping[str, nn.Module] | None = None, allow_imports: bool = False
) -> Run:
    """Open a finished run.

    Args:
        run: The run folder.
        device: Where to put the model.
        encoders: Encoders of your own, as they were given to :func:`fit`.
        allow_imports: Whether encoders that the run names by import path may be imported, which runs their code. What is
            passed as a module needs no import.

    Raises:
        RunError: The folder is not a finished run, is damaged, comes from a newer version, or needs an import.
    """
    folder = Path(run)
    config = read_config(folder)
    predictor = load_predictor(folder, device, encoders, allow_imports)
    config["encoders"] |= _own_encoders(config["encoders"], encoders)
    split = read_part(folder, SPLIT, "the split of a run", ("train", "validation", "test"))
    summary = read_part(folder, SUMMARY, "the summary of a run", ("method", "test"))
    return Run(predictor, {**config, "split": split}, summary, folder, read_lines(folder / METRICS))


@dataclass(frozen=True)
class _Prepared:
    """Everything that is checked before the first step of training."""

    stored: dict[str, Any]
    config: FitConfig
    method: Method
    fold: Fold
    task: Task
    runtime: Runtime
    model: MultimodalModel
    graph: GraphOptions | None
    augment: Augmentation | None


def _prepare(
    data: Source | Dataset | Fold, config: FitConfig, labels: Any, encoders: Mapping[str, nn.Module] | None
) -> _Prepared:
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
    return _Prepared(stored, config, method, fold, task, runtime, model, graph, augment)


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
    from equipoise.data.builtin import BUILTIN

    if isinstance(data, (Mapping, Dataset, Fold)):
        return None
    return str(data) if str(data) in BUILTIN and isinstance(data, str) else str(Path(data).expanduser().resolve())


def _fusion(method: Method, config: FitConfig) -> dict[str, Any]:
    from equipoise.config import component

    stated = None if config.model.fusion is None else component(config.model.fusion, "fusion")
    needed = method.card.fusion
    if stated is not None and needed and stated["name"] != needed:
        raise ConfigError(f"method {method.name} needs fusion {needed!r}, found fusion = {stated['name']!r}; leave it out")
    return stated or {"name": needed or "concat"}


def _described(config: FitConfig, schema: Schema, encoders: Mapping[str, nn.Module] | None) -> dict[str, dict[str, Any]]:
    """Return the full description of each modality's encoder."""
    described = describe_encoders(config.model.encoder, {item.name: item.kind for item in schema.modalities})
    for name in encoders or {}:
        if name not in described:
            raise ConfigError(f"encoders: unknown modality {name!r}, {suggest(name, described)}")
    return {**described, **_own_encoders(described, encoders)}


def _own_encoders(
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


def _check_unused(folder: Path) -> None:
    if (folder / CONFIG).exists():
        raise RunError(f"{folder} already holds a run; resume it (equipoise fit --resume {folder}) or choose another folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty and not a run; choose another folder")


def _write_start(folder: Path, stored: dict[str, Any], parts: dict[str, list[int]]) -> None:
    write_json(folder / SPLIT, {"name": stored["data"]["split"], "hash": stored["data"]["split_hash"], **parts})
    write_json(folder / CONFIG, stored)


def _parts(split: Split) -> dict[str, list[int]]:
    return {part: getattr(split, part).tolist() for part in ("train", "validation", "test")}


def _train(prepared: _Prepared, folder: Path | None, checkpoint: dict[str, Any] | None, progress: bool) -> Run:
    started = time.perf_counter()
    training, runtime = prepared.config.training, prepared.runtime
    model = prepared.model
    if training.compile:
        for encoder in model.encoders.values():
            encoder.compile()
    graph = _graph(prepared)
    train, validation = (
        prepared.fold.part(name, runtime.device, training.loader, training.workers, graph) for name in ("train", "validation")
    )
    ctx = Context(model.to(runtime.device), runtime, training, train, validation, prepared.fold.split.hash, prepared.augment)
    schema = prepared.fold.schema
    for note in (*schema.notes, *(note for modality in schema.modalities for note in modality.notes)):
        ctx.note(note)
    if graph is not None and graph.options.nodes == "all":
        ctx.note(
            f"transductive: the sample graph was made from the features of all {len(graph)} samples, those of the validation and "
            "test parts among them, and training sees features through it; labels were not used"
        )
    observers: list[Observer] = []
    if folder is not None and runtime.is_main:
        observers.append(MetricsLog(folder / METRICS))
    selected: list[dict[str, Any]] = read_lines(folder / METRICS) if checkpoint and folder else []
    observers.append(_Collector(selected))
    save = None if folder is None else lambda payload: save_checkpoint(folder / CHECKPOINT, payload)
    with ProgressBar(training.monitor) as bar:
        if progress and runtime.is_main:
            observers.append(bar)
        module = Loop(ctx, prepared.method, observers, save).fit(checkpoint)
    predictor = Predictor(
        module,
        prepared.fold.preprocessing,
        prepared.fold.schema,
        prepared.task,
        runtime.device,
        graph,
        prepared.method.prediction_state(),
    )
    seconds = time.perf_counter() - started
    summary = _summary(prepared, ctx, predictor, selected, seconds)
    config = {**prepared.stored, "split": _parts(prepared.fold.split)}
    if folder is not None and runtime.is_main:
        save_predictor(folder, predictor)
        write_json(folder / SUMMARY, summary)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    runtime.wait()
    return Run(predictor, config, summary, folder, selected)


def _graph(prepared: _Prepared) -> SampleGraph | None:
    if prepared.graph is None:
        return None
    fold = prepared.fold
    every = {id(part): part for part in (fold.data.train, fold.data.validation, fold.test)}  # a fold may have no test part
    parts = tuple(every.values())[: None if prepared.graph.nodes == "all" else 1]
    return SampleGraph.fit(parts, fold.preprocessing, prepared.model.graph_modalities, prepared.graph)


class _Collector:
    """Keeps the log lines in memory for the summary."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self._lines = lines

    def on_phase(self, *_: object) -> None:
        """Do nothing."""

    def on_epoch(self, line: dict[str, Any]) -> None:
        """Keep the line."""
        self._lines.append(line)


def _summary(
    prepared: _Prepared, ctx: Context, predictor: Predictor, lines: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    fold = prepared.fold
    phases: dict[str, dict[str, Any]] = {}
    for line in lines:
        known = phases.setdefault(line["phase"], {"epochs": 0, "selected_epoch": None})
        known["epochs"] += 1
        if line["best"]:
            known |= {"selected_epoch": line["epoch"], "validation": line["validation"]}
    return {
        "method": {"name": prepared.method.name, **prepared.method.hyperparameters()},
        "data": prepared.stored["data"] | {"name": fold.schema.name},
        "task": prepared.task.name,
        "metric": prepared.task.main_metric,
        "samples": {"train": len(fold.data.train), "validation": len(fold.data.validation), "test": len(fold.test)},
        "test": predictor.evaluate(fold.test) if len(fold.test) else {},
        "phases": phases,
        "inert": ctx.inert,
        "notes": ctx.notes,
        "parameters": sum(item.numel() for item in predictor.module.parameters()),
        "updates": ctx.updates_done,
        "seconds": round(seconds, 3),
        "versions": {"equipoise": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "hardware": {"device": str(ctx.runtime.device), "processes": ctx.runtime.world, "machine": platform.machine()},
    }


__all__ = ["CONFIG", "SUMMARY", "Run", "fit", "load", "resume"]
