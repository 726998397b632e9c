"""A training run from data to results: ``fit``, ``resume`` and ``load``."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from equipoise._version import __version__
from equipoise.config import FitConfig
from equipoise.data.dataset import Dataset
from equipoise.data.fingerprint import fingerprint
from equipoise.data.graph import SampleGraph
from equipoise.data.loader import Part
from equipoise.data.sources import target_names
from equipoise.data.splits import Split
from equipoise.errors import ConfigError, DataError, RunError
from equipoise.files import append_line, make_folder, read_lines, truncate_lines, write_json
from equipoise.fold import Fold
from equipoise.inference.predictions import Predictions
from equipoise.inference.predictor import Predictor
from equipoise.inference.storage import (
    CONFIG,
    WEIGHTS,
    check_imports,
    load_predictor,
    read_config,
    read_part,
    save_predictor,
)
from equipoise.preparation import Prepared, Source, own_encoders, prepare
from equipoise.training.checkpoint import load_checkpoint, save_checkpoint
from equipoise.training.context import Context
from equipoise.training.loop import Loop, Observer
from equipoise.training.observers import MetricsLog, ProgressBar

SUMMARY, SPLIT, METRICS, CHECKPOINT = "summary.json", "split.json", "metrics.jsonl", "checkpoint.pt"


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

    def __repr__(self) -> str:
        # What a notebook shows of it: one line, not every weight and every sample of the split.
        method, data, metric = self.summary["method"]["name"], self.summary["data"]["name"], self.summary["metric"]
        value = self.metrics.get("fused", {}).get(metric)
        reached = "" if value is None else f": {metric} {value:.3f} on the test part"
        return f"<Run of {method} on {data}{reached}{'' if self.folder is None else f', in {self.folder}'}>"

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
    prepared = prepare(data, config, labels, encoders)
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
    prepared = prepare(source, FitConfig.from_options(stored["options"]), target, encoders)
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
    config["encoders"] |= own_encoders(config["encoders"], encoders)
    split = read_part(folder, SPLIT, "the split of a run", ("train", "validation", "test"))
    summary = read_part(folder, SUMMARY, "the summary of a run", ("method", "test"))
    return Run(predictor, {**config, "split": split}, summary, folder, read_lines(folder / METRICS))


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


def _train(prepared: Prepared, folder: Path | None, checkpoint: dict[str, Any] | None, progress: bool) -> Run:
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
        loop = Loop(ctx, prepared.method, observers, save, prepared.reuse)
        module = loop.fit(checkpoint)
    predictor = Predictor(
        module,
        prepared.fold.preprocessing,
        prepared.fold.schema,
        prepared.task,
        runtime.device,
        graph,
        prepared.method.prediction_state(),
    )
    seconds = time.perf_counter() - started + loop.saved_seconds
    summary = _summary(prepared, ctx, predictor, selected, seconds) | {"encoded": _encoded(loop, train)}
    config = {**prepared.stored, "split": _parts(prepared.fold.split)}
    if folder is not None and runtime.is_main:
        save_predictor(folder, predictor)
        write_json(folder / SUMMARY, summary)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    runtime.wait()
    return Run(predictor, config, summary, folder, selected)


def _graph(prepared: Prepared) -> SampleGraph | None:
    if prepared.graph is None:
        return None
    fold = prepared.fold
    every = {id(part): part for part in (fold.data.train, fold.data.validation, fold.test)}  # a fold may have no test part
    parts = tuple(every.values())[: None if prepared.graph.nodes == "all" else 1]
    return SampleGraph.fit(parts, fold.preprocessing, prepared.model.graph_modalities, prepared.graph)


def _encoded(loop: Loop, train: Part) -> dict[str, dict[str, int]]:
    """Return per modality how many training samples have it, and how many samples its encoder took forward and backward."""
    counted = loop.passes.total(loop.ctx.runtime)
    return {name: {"samples": int(train.present[name].sum()), **counts} for name, counts in counted.items()}


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
    prepared: Prepared, ctx: Context, predictor: Predictor, lines: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    fold = prepared.fold
    measured = {}
    if len(fold.test):
        test = fold.part("test", ctx.runtime.device, "auto", 0, predictor.graph)
        measured = predictor.evaluate(fold.test, prepared=test)
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
        "test": measured,
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
