"""Many runs on the same data: every method on every fold with every seed, in a pool of processes, resumable."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equipoise.config import SECTIONS, FitConfig, ReadOptions, component
from equipoise.data.dataset import Dataset
from equipoise.data.fingerprint import fingerprint
from equipoise.data.sources import open_dataset
from equipoise.data.splits import make_splits
from equipoise.errors import ConfigError, EquipoiseError, RunError
from equipoise.files import append_line, make_folder, read_lines, truncate_lines
from equipoise.methods.base import make_method
from equipoise.training.loop import Interrupted

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


def parse_method(text: str) -> dict[str, Any]:
    """Return the description of a method as a word says it: ``name`` or ``name:key=value:key=value``.

    Raises:
        ConfigError: The word is not of this form.

    Example:
        >>> parse_method("ogm:alpha=0.5:noise=false")
        {'name': 'ogm', 'alpha': '0.5', 'noise': 'false'}
    """
    name, *parts = text.strip().split(":")
    described = {"name": name}
    for part in parts:
        key, equals, value = part.partition("=")
        if not key or not equals or key in described:
            raise ConfigError(f"methods: {text!r} is not valid at {part!r}, expected name:key=value, each key once")
        described[key] = value
    return described


def plan(dataset: Dataset, methods: Sequence[str | Mapping[str, Any]], seeds: int, options: Mapping[str, Any]) -> list[Job]:
    """Return the runs of a comparison, fold by fold, so that methods can be compared early.

    Args:
        dataset: The data.
        methods: Words for :func:`parse_method`, or mappings with ``name`` and hyper-parameters.
        seeds: Seeds per fold, counted from the option ``seed``.
        options: Options of all runs; ``folds`` and ``repeats`` say on how many splits.

    Raises:
        ConfigError: A method, a hyper-parameter or an option is unknown, or there is no method.
    """
    for name in ("method", "fold"):
        if name in options:
            raise ConfigError(f"option: a comparison runs every method on every fold; leave out {name}")
    config = FitConfig.from_options(options)
    described: list[dict[str, Any]] = []
    for method in methods:
        made = make_method(parse_method(method) if isinstance(method, str) else component(method, "method"))
        found = {"name": made.name, **made.hyperparameters()}
        described += [] if found in described else [found]
    if not described:
        raise ConfigError("methods: none is named, expected at least one")
    # In full and checked, so that the identity of a run does not depend on how its options were written.
    full = {name: value for name, value in config.to_options().items() if name not in ("method", "fold", "seed")}
    for item in dataclasses.fields(SECTIONS["read"]):
        del full[item.name]  # the fingerprint says what was read
    identity, first = fingerprint(dataset), config.training.seed
    return [
        Job(method, number, seed, full, identity)
        for number in range(len(make_splits(dataset, config.splitting)))
        for seed in range(first, first + seeds)
        for method in described
    ]


_dataset: Dataset | None = None


def _start_worker(source: str | Dataset, read: dict[str, Any]) -> None:
    """Open the data once per process; small models gain nothing from a second thread.

    A first run on other data pays for imports and start-up, so that no run that is timed does.
    """
    import torch

    from equipoise.run import fit

    global _dataset
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _dataset = source if isinstance(source, Dataset) else open_dataset(source, ReadOptions(**read))
    fit("wisconsin", epochs=1, progress=False)


def _leave_with_parent() -> None:
    """End this process when the one that started it is gone, killed perhaps: its results have no reader."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: Job) -> dict[str, Any]:
    from equipoise.run import fit

    assert _dataset is not None
    row: dict[str, Any] = {"key": job.key, "method": job.method, "fold": job.fold, "seed": job.seed}
    try:
        summary = fit(_dataset, method=job.method, fold=job.fold, seed=job.seed, progress=False, **job.options).summary
    except Interrupted:
        raise
    except Exception as error:  # whatever is wrong with one run, the others go on
        return {**row, "error": str(error) if isinstance(error, EquipoiseError) else f"{type(error).__name__}: {error}"}
    kept = ("test", "samples", "seconds", "updates", "parameters", "inert", "versions")
    return {**row, **{name: summary[name] for name in kept}, "data": summary["data"]}


def run_jobs(
    jobs: Sequence[Job], source: str | Dataset, read: Mapping[str, Any], out: Path, processes: int
) -> Iterator[dict[str, Any]]:
    """Run what has not been run yet, and yield each row as it is stored.

    A row is appended to the results when its run ends; a comparison that was killed goes on where it stopped, and a line that
    was only half written then is dropped. A run that fails is stored with its error and does not stop the others.

    Args:
        jobs: The runs.
        source: The data: a path, the name of an embedded set, or an open data set.
        read: How the data are read.
        out: Folder of the results.
        processes: Number of processes.

    Raises:
        ConfigError: ``processes`` is not positive.
        RunError: A process died, or the results cannot be written.
    """
    if processes < 1:
        raise ConfigError(f"processes = {processes} is out of range, expected at least 1")
    path = make_folder(out) / RESULTS
    truncate_lines(path, lambda row: True)
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
        except BrokenProcessPool:
            raise RunError(
                "a process of the comparison died (out of memory?); fewer processes may help, and what is done is kept"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def stored(out: Path) -> list[dict[str, Any]]:
    """Return the rows that a folder of results holds; failed runs are left out, so that they are tried again."""
    return [row for row in read_lines(out / RESULTS) if "error" not in row]


def chosen(rows: Iterable[dict[str, Any]], jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Return the rows of some runs, in the order of the runs."""
    by_key = {row["key"]: row for row in rows}
    return [by_key[job.key] for job in jobs if job.key in by_key]
