"""Doing runs one after the other in one process: imports, data and prepared folds are paid for once."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from equipoise.benchmark.cost import cost
from equipoise.benchmark.jobs import Job
from equipoise.config import FitConfig
from equipoise.data.dataset import Dataset
from equipoise.errors import EquipoiseError
from equipoise.fold import Fold
from equipoise.run import fit
from equipoise.training.loop import Interrupted

Row = dict[str, Any]
"""The result of a run, or its error, as the store keeps it."""


class Worker:
    """Does runs in this process.

    It keeps the data set and the fold of the last run: runs that come fold by fold share them, and the phases that they have in
    common. No more than one of each is ever in memory, and of phases no more than
    :data:`~equipoise.training.reuse.LIMIT` says.

    Args:
        open_data: Opens the data set that a suite calls so.
    """

    def __init__(self, open_data: Callable[[str], Dataset]) -> None:
        self._open = open_data
        self._dataset: tuple[str, Dataset] | None = None
        self._fold: tuple[object, Fold] | None = None

    def warm_up(self) -> None:
        """Pay for imports and start-up by a run on other data, so that no run that is timed does."""
        fit("wisconsin", epochs=1, progress=False, threads=1)

    def do(self, job: Job) -> Row:
        """Do a run.

        Returns:
            Its row; where something is wrong with the run, one with an ``error``, so that others go on.

        Raises:
            Interrupted: The user stopped it.
        """
        row = identity(job)
        try:
            return {**row, **self._measure(job)}
        except Interrupted:
            raise
        except Exception as error:  # whatever is wrong with one run, the others go on
            return {**row, "error": str(error) if isinstance(error, EquipoiseError) else f"{type(error).__name__}: {error}"}

    def _measure(self, job: Job) -> Row:
        reset_peak_memory()
        fold = self._prepared(job)
        # Small models gain nothing from a second thread, and several workers would compete for them.
        options = {**job.options, "threads": job.options.get("threads") or 1, "seed": job.seed, "fold": job.fold}
        if not job.trials:
            run = fit(fold, method=job.method, progress=False, **options)
            spent, searched = cost(run), {}
        else:
            from equipoise.benchmark.search import search

            found = search(fold.without_test(), job.method, job.trials, options)
            run = fit(fold, method=found.method, progress=False, **options | found.options)
            spent = {name: value + found.cost[name] for name, value in cost(run).items()}
            searched = {"search": found.to_json()}
        kept = ("test", "metric", "samples", "phases", "inert", "parameters", "versions")
        return {
            **{name: run.summary[name] for name in kept},
            **searched,
            **spent,
            "peak_memory": peak_memory(),
            "curve": [_point(line, run.summary["metric"]) for line in run.log],
            "hardware": run.summary["hardware"] | {"host": platform.node(), "system": platform.system()},
        }

    def _prepared(self, job: Job) -> Fold:
        config = FitConfig.from_options({**job.options, "fold": job.fold})
        key = (job.set, config.splitting, config.preprocessing)
        if self._dataset is None or self._dataset[0] != job.set:
            self._dataset = self._fold = None  # what is no longer used goes before what is new comes
            self._dataset = (job.set, self._open(job.set))
        if self._fold is None or self._fold[0] != key:
            self._fold = None
            self._fold = (key, Fold.of(self._dataset[1], config.splitting, config.preprocessing))
        return self._fold[1]


def identity(job: Job) -> Row:
    """Return what every row says about its run, finished or failed."""
    return {"key": job.key, **asdict(job)}


def _point(line: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Return what a learning curve shows of an epoch: the training loss, and a metric of each output in validation."""
    scores = {name: metrics.get(metric) for name, metrics in line["validation"].items()}
    return {"phase": line["phase"], "loss": sum(line["losses"].values()), metric: scores}


def reset_peak_memory() -> None:
    """Let :func:`peak_memory` count from now on."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # a system without it has no peak per run


def peak_memory() -> int | None:
    """Return the most memory of this process since :func:`reset_peak_memory`, in bytes, on the GPU where there is one.

    None where the system does not tell.
    """
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
