"""Runs per minute of a suite, against the naive way: one process per run, with its own imports and a DataLoader."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import DATA, Table, report, verdict

from equipoise.benchmark.executors import LocalPool
from equipoise.benchmark.jobs import Job, Source, plan
from equipoise.benchmark.runner import run_jobs
from equipoise.benchmark.store import Store
from equipoise.config import FitConfig
from equipoise.fold import Fold
from equipoise.run import fit
from equipoise.training.reuse import LIMIT, PhaseMemory

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "iibalance": [{}, {"uniform_prior": True}, {"switch": "always"}, {"switch": "off"}, {"alignment": 0.3}, {"branch": 0.0}],
    "mi_balance": [{}, {"alpha": 0.2}, {"temperature": 1.0}, {"unimodal": 0.3}, {"joint_rate": 1.0}, {"eta": 0.0}],
}
"""As an ablation asks for them."""
METHODS = ("joint", "ogm", "iibalance", "aug")
SET, READ = "tcga_brca_cnv_mrna_rppa", {"target": "pam50", "split": "none"}

NAIVE = """
import sys, torch
from equipoise.config import ReadOptions
from equipoise.data.loader import Loader, MemoryPart
from equipoise.data.sources import open_dataset
from equipoise.batch import Batch
from equipoise.run import fit
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)

class Samples(Dataset):
    def __init__(self, part):
        self.part = part
    def __len__(self):
        return len(self.part)
    def __getitem__(self, row):
        part = self.part
        inputs = {name: value[row] for name, value in part.inputs.items()}
        return inputs, {name: value[row] for name, value in part.present.items()}, part.target[row], row

def batches(self, rows, totals):
    sampler = [chosen.tolist() for chosen in rows]
    for (inputs, present, target, index), total in zip(DataLoader(Samples(self), batch_sampler=sampler), totals):
        yield Batch(inputs, present, target, index, self.complete, total)

MemoryPart.batches = batches
source, method, fold, seed, epochs = sys.argv[1:]
data = open_dataset(source, ReadOptions(target="pam50", split="none"))
fit(data, method=method, folds=5, fold=int(fold), seed=int(seed), epochs=int(epochs), progress=False, device="cpu", threads=1)
"""
"""The same training as a script of one's own does it: samples one by one, put together by a DataLoader."""


def naive(jobs: Sequence[Job], processes: int, epochs: int) -> float:
    """Return the seconds that some runs take the naive way, as many processes at a time."""

    def one(job: Job) -> None:
        words = [str(DATA / SET), job.method["name"], str(job.fold), str(job.seed), str(epochs)]
        subprocess.run([sys.executable, "-c", NAIVE, *words], check=True, stdout=subprocess.DEVNULL)

    start = time.perf_counter()
    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(one, jobs))
    return time.perf_counter() - start


def suite(jobs: Sequence[Job], processes: int) -> tuple[float, float]:
    """Return the seconds that some runs take in a pool, from its start and from when its processes are ready."""
    start = time.perf_counter()
    ready = None
    with tempfile.TemporaryDirectory() as folder:
        for _, row in run_jobs(jobs, {SET: Source(str(DATA / SET), READ)}, Store(Path(folder)), LocalPool(processes)):
            ready = ready or time.perf_counter()
            if row is not None and "error" in row:
                raise RuntimeError(row["error"])
    end = time.perf_counter()
    assert ready is not None
    return end - start, end - ready


def variants(methods: Sequence[str], options: Mapping[str, Any], seeds: int) -> Table:
    """Measure variants of one method on one fold: what they have in common is trained once, or by each."""
    table = Table(
        "variants of a method on a fold",
        ["method", "variants", "runs", "seconds, each trains all", "seconds, in common once", "times faster"],
    )
    fold = Fold.of(Source(str(DATA / SET), READ).open(), FitConfig.from_options(options).splitting)
    for name in methods:
        tried = [{"name": name, **chosen} for chosen in VARIANTS[name]]
        seconds = []
        for limit in (0, LIMIT):
            start = time.perf_counter()
            for seed in range(seeds):
                kept = replace(fold, phases=PhaseMemory(limit))
                for method in tried:
                    fit(kept, method=method, seed=seed, progress=False, threads=1, **options)
            seconds.append(time.perf_counter() - start)
        runs = str(len(tried) * seeds)
        cells = [f"{seconds[0]:.1f}", f"{seconds[1]:.1f}", f"{seconds[0] / seconds[1]:.2f}"]
        table.rows.append([name, str(len(tried)), runs, *cells])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds per fold and method in the suite")
    parser.add_argument("--naive", type=int, default=2, help="folds that are run the naive way, one seed")
    parser.add_argument("--epochs", type=int, default=100, help="most epochs")
    parser.add_argument("--shared", action="store_true", help="say that other work shared the machine")
    arguments = parser.parse_args()
    dataset = Source(str(DATA / SET), READ).open()
    jobs = plan(dataset, METHODS, arguments.seeds, {"folds": 5, "epochs": arguments.epochs, "device": "cpu"}, set=SET)
    few = [job for job in jobs if job.fold < arguments.naive and job.seed == 0]
    slow = len(few) / naive(few, 2, arguments.epochs) * 60
    whole, two = suite(jobs, 2)
    _, one = suite(jobs, 1)
    rate = len(jobs) / whole * 60
    table = Table("runs per minute on 2 cores", ["way", "runs", "runs per minute", "against", "ratio", "target"])
    alone, both = len(jobs) / one * 60, len(jobs) / two * 60
    runs, better, faster = str(len(jobs)), rate / slow, both / alone
    table.rows += [
        ["naive: a process per run, 2 at a time", str(len(few)), f"{slow:.1f}", "", "", ""],
        ["suite, 2 processes, start included", runs, f"{rate:.1f}", "naive", f"{better:.2f}", verdict(better, at_least=4)],
        ["suite, 1 process, when ready", runs, f"{alone:.1f}", "", "", ""],
        ["suite, 2 processes, when ready", runs, f"{both:.1f}", "1 process", f"{faster:.2f}", verdict(faster, at_least=1.8)],
    ]
    notes = [
        f"{SET}: {len(dataset)} samples, {', '.join(METHODS)}, 5 folds, {arguments.seeds} seeds, at most {arguments.epochs} "
        "epochs, library defaults, one thread per process.",
        "naive: each run imports, opens the data, prepares them and trains by the same methods and loop, but takes samples one "
        "by one through a torch DataLoader (no worker processes), as research code does.",
        "'when ready': from when the processes have imported and warmed up, as in a suite of hours.",
    ]
    if arguments.shared:
        notes.append("Other work shared the machine while this was measured: the ratios are rough.")
    options = {"folds": 5, "fold": 0, "epochs": arguments.epochs, "device": "cpu"}
    report("suite_speed", "Runs per minute", [table, variants(list(VARIANTS), options, 1)], notes)


if __name__ == "__main__":
    main()
