"""Calibration, and what noise on a modality and absent modalities at test do to models trained by different methods."""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from common import Table, report
from real_sets import FOLDS, SETS
from rich.console import Console
from rich.progress import track

import equipoise
from equipoise.benchmark.jobs import parse_method
from equipoise.data.dataset import Dataset
from equipoise.data.loader import Part
from equipoise.evaluation.metrics import classification_metrics
from equipoise.evaluation.robustness import noisy, thinned

METHODS = (
    "joint",
    "late",
    "joint_unimodal",
    "modality_dropout",
    "aug",
    "aug:fusion_weights=validation",
    "iibalance",
    "mi_balance",
)
SHARES = (0.2, 0.5)
NOISE = (1.0, 2.0)

_data: list[Dataset] = []


def conditions(part: Part) -> Iterator[tuple[str, Part]]:
    """Yield every condition under which a model is tested, with a name."""
    yield "clean", part
    for share in SHARES:
        yield f"{share:.0%} absent", thinned(part, share)
    for name in part.present:
        for level in NOISE:
            yield f"noise {level:g} on {name}", noisy(part, name, level)


def start(name: str) -> None:
    """Open the data in a worker."""
    torch.set_num_threads(1)
    _data[:] = SETS[name].open()


def work(job: tuple[str, str, int, int]) -> dict[str, dict[str, float | None]]:
    """Train once, and return the metrics of the fused output under every condition."""
    name, method, fold, seed = job
    dataset, inner = (_data[0], fold) if len(_data) == 1 else (_data[fold], 0)
    options: dict[str, Any] = {**SETS[name].folds(_data), "fold": inner, "seed": seed, **SETS[name].options}
    run = equipoise.fit(dataset, method=parse_method(method), progress=False, **options)
    test = dataset.subset(np.array(run.config["split"]["test"]))
    found = {}
    for words, part in conditions(run.predictor.part(test)):
        logits = run.predictor.outputs(part).logits.double()
        assert test.target is not None
        found[words] = classification_metrics(logits.softmax(1).numpy(), test.target)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=["tcga_brca_cnv_mrna_rppa"], help="data sets")
    parser.add_argument("--seeds", type=int, default=3, help="seeds per fold")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, one thread each")
    arguments = parser.parse_args()
    tables = []
    for name in arguments.sets:
        data = SETS[name].open()
        splits = FOLDS if len(data) == 1 else len(data)
        jobs = [(name, method, fold, seed) for method in METHODS for fold in range(splits) for seed in range(arguments.seeds)]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(arguments.processes, context, start, (name,)) as pool:
            results = list(track(pool.map(work, jobs), name, len(jobs), console=Console(stderr=True)))
        by_method = {method: [found for job, found in zip(jobs, results, strict=True) if job[1] == method] for method in METHODS}
        tables += tables_of(name, by_method)
    notes = [
        "Percent (nll in nats), mean ± standard deviation over folds (as in real_sets.md) and seeds, of the fused output on the "
        "test folds. Training is undisturbed, with library defaults; only the test inputs change. ECE has 15 bins.",
        "'absent': each modality of each test sample is taken away with that probability; a sample keeps at least one. 'noise' "
        "is Gaussian, its standard deviation in standard deviations of the inputs.",
    ]
    notes.insert(0, f"Seeds per fold: {arguments.seeds}.")
    report("robustness", "Calibration and robustness", tables, notes)


def tables_of(name: str, by_method: dict[str, list[dict[str, dict[str, float | None]]]]) -> list[Table]:
    """Return the table of calibration and that of robustness."""
    words = list(next(iter(by_method.values()))[0])
    calibration = Table(f"{name}: calibration on clean inputs", ["method", "accuracy", "macro-F1", "ECE", "nll", "Brier"])
    robustness = Table(f"{name}: macro-F1 under", ["method", *words])
    for method, found in by_method.items():
        columns = [("accuracy", 100), ("macro_f1", 100), ("ece", 100), ("nll", 1), ("brier", 1)]
        calibration.rows.append([method, *(spread([row["clean"][metric] for row in found], scale) for metric, scale in columns)])
        robustness.rows.append([method, *(spread([row[word]["macro_f1"] for row in found], 100) for word in words)])
    return [calibration, robustness]


def spread(values: list[float | None], scale: float) -> str:
    """Return mean and standard deviation."""
    known = [value * scale for value in values if value is not None]
    digits = 1 if scale > 1 else 3
    return f"{mean(known):.{digits}f} ± {stdev(known):.{digits}f}"


if __name__ == "__main__":
    main()
