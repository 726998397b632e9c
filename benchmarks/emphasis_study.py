"""How sharply should the fusion prefer informative modalities? Asked of development samples only.

The samples that the data's own split calls ``test`` are dropped first; the others are divided into 5 folds anew. Here are the
reasons for the temperature of the prior in ``iibalance`` and for choosing the sharpness of ``mi_balance`` on held-out samples.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from statistics import mean, stdev

import numpy as np
from common import DATA, ROOT, Table, report
from rich.console import Console
from rich.progress import track

from equipoise.benchmark.executors import LocalPool
from equipoise.benchmark.jobs import Source, plan
from equipoise.benchmark.runner import missing, run_jobs
from equipoise.benchmark.store import Store
from equipoise.config import ReadOptions
from equipoise.data.sources import open_dataset

FOLDS, SEEDS = 5, 2
ROWS = ROOT / "runs" / "emphasis_study"
METHODS = (
    "joint",
    *(f"iibalance:budget_temperature={value}" for value in (1.0, 0.5, 0.25, 0.125)),
    *(f"mi_balance:sharpness={value}" for value in (1.0, 2.0, 4.0, 8.0, "none")),
    "mi_balance:warm_up=0",
)

NOTES = [
    "Mean ± standard deviation over 5 folds and 2 seeds of the fused output on the held-out fold of the development samples of "
    "tcga_brca (given split train and validation, 430 of 615). No sample of the given test part was read.",
    "sharpness=none, the default, takes the power that loses least on the held-out samples of the run itself. The default "
    "temperature of the prior, 1/4, was read off a table like this one.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, one thread each")
    arguments = parser.parse_args()
    whole = open_dataset(DATA / "tcga_brca_cnv_mrna_rppa", ReadOptions(target="pam50"))
    assert whole.split is not None
    dataset = replace(whole.subset(np.flatnonzero(whole.split != "test")), split=None)
    store = Store(ROWS)
    table = Table("fused output", ["method", "accuracy %", "macro-F1 %", "log-loss (nats)"])
    for method in METHODS:
        jobs = plan(dataset, [method], SEEDS, {"folds": FOLDS})
        todo = len(missing(jobs, store, retry=True))
        events = run_jobs(jobs, {jobs[0].set: Source(dataset)}, store, LocalPool(arguments.processes), retry=True)
        for _, row in track(events, method, todo, console=Console(stderr=True)):
            if row is not None and "error" in row:
                print(f"failed: {method}: {row['error']}")
        rows = [row["test"]["fused"] for row in store.of(jobs) if "error" not in row]
        cells = []
        for metric, scale, digits in (("accuracy", 100, 1), ("macro_f1", 100, 1), ("nll", 1, 3)):
            values = [scale * row[metric] for row in rows]
            cells.append(f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}")
        table.rows.append([method, *cells])
    report("emphasis_study", "How sharply the fusion prefers informative modalities", [table], NOTES)


if __name__ == "__main__":
    main()
