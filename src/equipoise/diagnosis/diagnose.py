"""The whole diagnosis of a run, as plain data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from equipoise._version import __version__
from equipoise.data.dataset import Dataset
from equipoise.diagnosis.calibration import Calibration, measure_calibration
from equipoise.diagnosis.capacity import Capacity, measure_capacity
from equipoise.diagnosis.coalitions import Contributions, measure_coalitions
from equipoise.diagnosis.decision import Decision, measure_decision
from equipoise.diagnosis.dynamics import Dynamics, read_dynamics
from equipoise.diagnosis.generalisation import Generalisation, measure_generalisation
from equipoise.diagnosis.information import Information, measure_information
from equipoise.diagnosis.material import Material, Said, gather, observe, part_of
from equipoise.diagnosis.residuals import Residuals, measure_residuals
from equipoise.diagnosis.robustness import Curve, measure_robustness
from equipoise.diagnosis.samples import Decisions, measure_samples
from equipoise.diagnosis.verdict import Verdict, judge
from equipoise.errors import ConfigError, DataError
from equipoise.files import finite, read_lines
from equipoise.nn.multimodal import MultimodalModel
from equipoise.preparation import Source
from equipoise.run import METRICS, Run, fit, load

JOINT, ALONE = "joint", "unimodal"
"""Plain training, and the method that trains each modality in a model of its own."""


@dataclass(frozen=True)
class Output:
    """How good one output is on the judged samples (of a modality: on those that have it).

    Attributes:
        samples: How many there are.
        metrics: What :func:`equipoise.evaluation.metrics.task_metrics` gives for the task; None where one is not defined.
        classes: Precision, recall, F1 and samples of each class or label; R², errors and correlation of each number.
        confusion: Counts; the row is the true class, the column the predicted one. Empty for labels and numbers.
    """

    samples: int
    metrics: dict[str, float | None]
    classes: list[dict[str, Any]]
    confusion: list[list[int]]


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was measured; :meth:`to_json` turns it into plain data.

    Scores are taken on the judged samples (the test part): balanced accuracies of classes, those of labels averaged over them,
    R² of numbers (see :mod:`equipoise.diagnosis.verdict`). Losses and information are in nats, losses of numbers half squared
    standardised errors; intervals are 95 % over resamples of the samples.

    Attributes:
        equipoise: Version that made the diagnosis.
        run: What is diagnosed: ``method`` with its hyper-parameters, ``folder``, ``options``, ``versions``, ``notes`` and more of
            the run's summary.
        terms: The words of the task (:class:`~equipoise.diagnosis.grading.base.Terms`), ``targets`` (how many there are, such as
            ``3 classes``) and ``chance``, the score of a guess.
        data: ``name``, ``classes``, ``samples`` per part, ``present`` per modality and part, ``of_class`` (samples of each class
            or label per part), ``ranges`` (of numbers), ``split``, ``fingerprint``.
        verdict: What is wrong, by the rules of :mod:`equipoise.diagnosis.verdict`.
        outputs: Metrics (and confusion of classes) of the fused output (``fused``) and of each modality's own.
        capacity: Per modality what it reaches alone and inside the model.
        generalisation: Per output how it does on new samples.
        coalitions: By each way to take modalities away what coalitions reach and modalities contribute.
        information: What outputs tell about the target.
        calibration: Per output whether its confidence can be believed; empty for numbers.
        residuals: Per number and output where predictions are off; empty for classes and labels.
        decision: Per modality its weight in the decision layer.
        robustness: Curves under noise, absence and shuffling.
        samples: Which modality decided, sample by sample.
        dynamics: The course of training; None for a run that kept no log.
        notes: What a reader must know about these numbers.
        seconds: How long the diagnosis took, training of probes left out.
    """

    equipoise: str
    run: dict[str, Any]
    terms: dict[str, Any]
    data: dict[str, Any]
    verdict: Verdict
    outputs: dict[str, Output]
    capacity: list[Capacity]
    generalisation: dict[str, Generalisation]
    coalitions: dict[str, Contributions]
    information: Information
    calibration: dict[str, Calibration]
    residuals: list[Residuals]
    decision: dict[str, Decision]
    robustness: list[Curve]
    samples: Decisions
    dynamics: Dynamics | None
    notes: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, text and numbers; what is not finite is None."""
        found: dict[str, Any] = finite(asdict(self))
        return found


def diagnose(
    run: Run | str | Path,
    data: Source | Dataset | None = None,
    *,
    alone: Run | str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> Diagnosis:
    """Say which modality carries what inside a trained model, which one starves, and what to do about it.

    Args:
        run: A finished run, or its folder.
        data: The data that it was trained on, where they are not a path or an embedded set that the run remembers.
        alone: A run of the method ``unimodal`` on the same split, or its folder: what each modality reaches alone. By default it
            is trained now, with the encoders and the settings of the run.
        progress: Whether to show a progress bar while it is trained.
        options: How the data are read, see :class:`~equipoise.config.ReadOptions`.

    Returns:
        The diagnosis.

    Raises:
        DataError: These are not the data that the run was trained on, or the targets of the test part are all the same.
        ConfigError: The run ``alone`` is none of the method ``unimodal`` or belongs to another split, or is left out where the
            encoders are the user's own.
        RunError: A folder is not a finished run.

    Example:
        >>> from equipoise.run import fit
        >>> found = diagnose(fit("wisconsin", epochs=2, progress=False), "wisconsin", progress=False)
        >>> [item.modality for item in found.capacity], found.outputs["fused"].samples
        (['mean', 'error', 'worst'], 113)
    """
    run = run if isinstance(run, Run) else load(run)
    source = data if data is not None else run.config["data"]["source"]
    if source is None:
        raise DataError("the run was trained on data in memory; pass them again to diagnose it")
    dataset = source if isinstance(source, Dataset) else run.predictor.read(source, labelled=True, **options)
    if not isinstance(run.predictor.module, MultimodalModel):
        raise ConfigError(
            f"the run predicts by a module of its own ({type(run.predictor.module).__name__}), which has no parts to look at"
        )
    part_of(run, dataset, "test")
    other = _alone(run, dataset, alone, progress)
    started = time.perf_counter()
    material = gather(run, dataset)
    alone_train, alone_judged = (observe(other.predictor, part_of(run, dataset, name)) for name in ("train", "test"))
    with _one_thread():
        return _judged(run, material, alone_train, alone_judged, started)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: what follows the encoders are very many small operations, which threads only hold up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _judged(run: Run, material: Material, alone_train: Said, alone_judged: Said, started: float) -> Diagnosis:
    """Take all measures, and judge by them."""
    capacity = measure_capacity(material, alone_train, alone_judged)
    generalisation = measure_generalisation(material)
    coalitions = measure_coalitions(material)
    dynamics = read_dynamics(_log(run))
    return Diagnosis(
        __version__,
        _facts(run),
        _terms(material),
        _data(run, material),
        judge(capacity, coalitions["mask"], generalisation, material.chance, dynamics, material.grading.terms),
        _outputs(material),
        capacity,
        generalisation,
        coalitions,
        measure_information(material),
        measure_calibration(material),
        measure_residuals(material),
        measure_decision(material),
        measure_robustness(material),
        measure_samples(material),
        dynamics,
        tuple(_notes(material, dynamics)),
        round(time.perf_counter() - started, 3),
    )


def diagnose_data(
    data: Source | Dataset, *, alone: Run | str | Path | None = None, progress: bool = True, **options: Any
) -> Diagnosis:
    """Train ``joint`` and what it is compared with, and diagnose it: does plain training do these data justice?

    Args:
        data: The data.
        alone: As for :func:`diagnose`.
        progress: Whether to show progress bars.
        options: Any option of :mod:`equipoise.config` but ``method``.

    Raises:
        ConfigError: An option is wrong, or a method is given.
        DataError: Something is wrong with the data.
    """
    if "method" in options:
        raise ConfigError("a diagnosis of data trains joint; leave out the method, or fit it and diagnose the run")
    with TemporaryDirectory() as folder:
        run = fit(data, method=JOINT, out=Path(folder) / JOINT, progress=progress, **options)
        dataset = data if isinstance(data, Dataset) else run.predictor.read(data, labelled=True)
        found = diagnose(run, dataset, alone=alone, progress=progress)
    return replace(found, run={**found.run, "folder": None})


def _alone(run: Run, dataset: Dataset, given: Run | str | Path | None, progress: bool) -> Run:
    """Return the run that says what each modality reaches alone."""
    if given is None and run.summary["method"]["name"] == ALONE:
        return run
    if given is None:
        for name, description in run.config["encoders"].items():
            if "class" in description:
                raise ConfigError(
                    f"modality {name!r} has an encoder of your own ({description['class']}); train each modality alone with it "
                    f"and pass that run: alone=fit(..., method={ALONE!r})"
                )
        options = {key: value for key, value in run.config["options"].items() if key not in ("method", "fusion")}
        return fit(dataset, method=ALONE, progress=progress, **options)
    other = given if isinstance(given, Run) else load(given)
    if other.summary["method"]["name"] != ALONE:
        raise ConfigError(f"alone: found a run of the method {other.summary['method']['name']!r}, expected one of {ALONE!r}")
    for key, words in (("fingerprint", "data"), ("split_hash", "split")):
        if other.config["data"][key] != run.config["data"][key]:
            raise ConfigError(f"alone: the run was trained on another {words}, expected that of the run to diagnose")
    return other


def _log(run: Run) -> list[dict[str, Any]]:
    if run.log:
        return list(run.log)
    path = None if run.folder is None else run.folder / METRICS
    return read_lines(path) if path is not None and path.is_file() else []


def _facts(run: Run) -> dict[str, Any]:
    kept = ("method", "phases", "inert", "notes", "parameters", "updates", "seconds", "versions", "hardware")
    return {
        "folder": None if run.folder is None else str(run.folder),
        **{key: run.summary[key] for key in kept},
        "options": run.config["options"],
        "encoders": run.config["encoders"],
        "fusion": run.config["fusion"],
    }


def _terms(material: Material) -> dict[str, Any]:
    terms = material.grading.terms
    return {**asdict(terms), "targets": terms.count(len(material.classes)), "chance": material.chance}


def _data(run: Run, material: Material) -> dict[str, Any]:
    parts = {"train": material.train, "test": material.judged}
    return {
        "name": run.summary["data"]["name"],
        **run.config["data"],
        "classes": list(material.classes),
        "modalities": list(material.names),
        "samples": run.summary["samples"],
        "present": {part: {name: int(said.present[name].sum()) for name in material.names} for part, said in parts.items()},
        "of_class": {part: material.grading.counts(said.target) for part, said in parts.items()},
        "ranges": {part: material.grading.ranges(said.target) for part, said in parts.items()},
    }


def _outputs(material: Material) -> dict[str, Output]:
    judged = material.judged
    every = torch.ones(len(judged.target), dtype=torch.bool)
    found = {"fused": _output(material, judged.fused, every)}
    return found | {name: _output(material, judged.own[name], judged.present[name]) for name in material.seen}


def _output(material: Material, said: Tensor, rows: Tensor) -> Output:
    grading, said, target = material.grading, said[rows], material.judged.target[rows]
    return Output(
        int(rows.sum()),
        grading.metrics(said, target),
        grading.rows(said, target),
        grading.confusion(grading.decide(said), target),
    )


def _notes(material: Material, dynamics: Dynamics | None) -> list[str]:
    notes = material.grading.notes(material.judged.target)
    absent = [name for name in material.names if name not in material.seen]
    if absent:
        notes.append(f"no test sample has {', '.join(absent)}, so nothing is said about it")
    if material.model.heads is None:
        notes.append("the model has no auxiliary heads: a modality's own output is what the fusion says from it")
    if any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in material.model.fusion.modules()):
        notes.append("the fusion normalises by statistics of batches: mask, mean and permutation may disagree on coalitions")
    if material.judged.group is not None:
        count = len(material.judged.group.unique())
        notes.append(
            f"the test part has {count} groups, which intervals resample as wholes"
            if count > 1
            else "the test part is one group: intervals are over its samples, and too narrow for what other groups would say"
        )
    if dynamics is None:
        notes.append("the run kept no log of its epochs, so the course of training is not shown")
    return notes


__all__ = ["Diagnosis", "diagnose", "diagnose_data"]
