"""Many runs on the same data: every method on every fold with every seed, in a pool of processes, resumable."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equipoise.config import ReadOptions, component, option_sections
from equipoise.data.dataset import Dataset
from equipoise.data.fingerprint import fingerprint
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError, EquipoiseError
from equipoise.files import append_line, make_folder, read_lines
from equipoise.methods.base import make_method

RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Job:
    """One run of a comparison.

    Attributes:
        method: Name and hyper-parameters.
        fold: Which of the splits.
        seed: Seed of everything random in training.
        options: All other options of the run.
        data: Fingerprint of the data.
    """

    method: dict[str, Any]
    fold: int
    seed: int
    options: dict[str, Any]
    data: str

    @property
    def key(self) -> str:
        """The identity of the run: a hash of all that it depends on."""
        text = json.dumps([self.method, self.fold, self.seed, self.options, self.data], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def plan(
    dataset: Dataset, methods: Sequence[str | Mapping[str, Any]], folds: int, seeds: int, options: Mapping[str, Any]
) -> list[Job]:
    """Return the runs of a comparison, fold by fold, so that methods can be compared early.

    Args:
        dataset: The data.
        methods: Names, or mappings with ``name`` and hyper-parameters.
        folds: Cross-validation folds; 0 takes the one split that the data state or that is cut.
        seeds: Seeds per fold.
        options: Options of all runs.

    Raises:
        ConfigError: A method or a hyper-parameter is unknown.
    """
    described = []
    for method in methods:
        made = make_method(component(method, "method"))
        described.append({"name": made.name, **made.hyperparameters()})
    plain = {name: value for name, value in options.items() if name not in option_sections() or name not in ("fold", "seed")}
    identity = fingerprint(dataset)
    return [
        Job(method, fold, seed, {**plain, "folds": folds}, identity)
        for fold in range(max(1, folds))
        for seed in range(seeds)
        for method in described
    ]


_dataset: Dataset | None = None


def _start_worker(source: str | Dataset, read: dict[str, Any]) -> None:
    """Open the data once per process; small models gain nothing from a second thread."""
    import torch

    global _dataset
    torch.set_num_threads(1)
    _dataset = source if isinstance(source, Dataset) else open_dataset(source, ReadOptions(**read))


def _work(job: Job) -> dict[str, Any]:
    from equipoise.run import fit

    assert _dataset is not None
    row: dict[str, Any] = {"key": job.key, "method": job.method, "fold": job.fold, "seed": job.seed}
    try:
        summary = fit(_dataset, method=job.method, fold=job.fold, seed=job.seed, progress=False, **job.options).summary
    except EquipoiseError as error:
        return {**row, "error": str(error)}
    kept = ("test", "samples", "seconds", "updates", "parameters", "inert", "versions")
    return {**row, **{name: summary[name] for name in kept}, "data": summary["data"]}


def run_jobs(
    jobs: Sequence[Job], source: str | Dataset, read: Mapping[str, Any], out: Path, processes: int
) -> Iterator[dict[str, Any]]:
    """Run what has not been run yet, and yield each row as it is stored.

    A row is appended to the results when its run ends; a comparison that was killed goes on where it stopped. A run that
    fails is stored with its error and does not stop the others.

    Args:
        jobs: The runs.
        source: The data: a path, the name of an embedded set, or an open data set.
        read: How the data are read.
        out: Folder of the results.
        processes: Number of processes.

    Raises:
        ConfigError: ``processes`` is not positive.
    """
    if processes < 1:
        raise ConfigError(f"processes = {processes} is out of range, expected at least 1")
    path = make_folder(out) / RESULTS
    done = {row["key"] for row in stored(out)}
    todo = [job for job in jobs if job.key not in done]
    if not todo:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(todo)), context, _start_worker, (source, dict(read))) as pool:
        futures = [pool.submit(_work, job) for job in todo]
        try:
            for future in as_completed(futures):
                row = future.result()
                append_line(path, row)
                yield row
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def stored(out: Path) -> list[dict[str, Any]]:
    """Return the rows that a folder of results holds; failed runs are left out, so that they are tried again."""
    path = out / RESULTS
    return [row for row in read_lines(path) if "error" not in row] if path.is_file() else []
