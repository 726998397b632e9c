"""Every method on five real data sets, one of them of text, 5 folds, with the settings that a user gets who sets nothing."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, ROOT, Table, report
from rich.console import Console
from rich.progress import track

from equipoise.benchmark.executors import LocalPool
from equipoise.benchmark.jobs import Source, plan
from equipoise.benchmark.runner import missing, run_jobs
from equipoise.benchmark.store import Store
from equipoise.benchmark.summary import Line, lines
from equipoise.config import ReadOptions
from equipoise.data.dataset import Dataset
from equipoise.data.sources import open_dataset
from equipoise.methods.base import METHODS

FOLDS = 5
ROWS = ROOT / "runs" / "real_sets"
VARIANTS = ("aug:fusion_weights=validation", "aug:max_heads=1")
"""Beside every method: AUG with learned fusion weights, and its control, one classifier per modality."""
FEW = ("joint", "unimodal", "late", "joint_unimodal", "ogm", "modality_dropout", "aug", "iibalance", "mi_balance")
"""What is run where every method would take hours."""


@dataclass(frozen=True)
class RealSet:
    """A data set and how it is opened.

    Attributes:
        path: Where it is, below the folder of the data.
        seeds: Seeds per fold.
        read: What is stated about the data. Columns that state a split are left unused for the sake of folds.
        options: Options of training that differ from the defaults.
        methods: The only methods that are run on it.
    """

    path: str
    seeds: int
    read: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    methods: Sequence[str] = ()

    def open(self) -> list[Dataset]:
        """Open the data: one data set that is divided into folds, or one for each split that is stated."""
        if self.path == "av_digits":
            return _av_digits(DATA / self.path)
        return [open_dataset(DATA / self.path, ReadOptions(**self.read))]

    def folds(self, data: Sequence[Dataset]) -> dict[str, int]:
        """Return the options that say how a data set of :meth:`open` is divided."""
        return {"folds": FOLDS if len(data) == 1 else 0}


def _av_digits(folder: Path) -> list[Dataset]:
    """Spoken digits as spectrograms with pictures of written ones; each time one speaker is left out.

    Of the official split, train and validation without that speaker, and test of that speaker alone: no recording, no voice
    and no picture is on two sides.
    """
    audio, image, pairs = (np.load(folder / f"{name}.npz") for name in ("audio", "images", "pairs"))
    pictures = image["image"][pairs["image_row"]].astype(np.float32)
    arrays = {
        "audio": audio["logmel"].astype(np.float32)[:, None],
        "image": pictures[:, None],
        "label": audio["label"],
        "split": np.where(audio["split"] == "val", "validation", audio["split"]),
    }
    found = []
    for speaker in np.unique(audio["speaker"]):
        rows = (audio["speaker"] == speaker) == (audio["split"] == "test")
        found.append(open_dataset({name: value[rows] for name, value in arrays.items()}, ReadOptions()))
    return found


def run_all(
    item: RealSet, data: Sequence[Dataset], methods: Sequence[str], out: Path, options: Mapping[str, Any], processes: int
) -> list[dict[str, Any]]:
    """Run what has not been run yet, and return the rows of all runs, with the number of the split as ``fold``."""
    found, store = [], Store(out)
    for number, dataset in enumerate(data):
        jobs = plan(dataset, methods, item.seeds, {**item.folds(data), **item.options, **options})
        words = out.name if len(data) == 1 else f"{out.name}, split {number + 1} of {len(data)}"
        todo = len(missing(jobs, store, retry=True))
        events = run_jobs(jobs, {jobs[0].set: Source(dataset)}, store, LocalPool(processes), retry=True)
        rows = (row for _, row in events if row is not None)
        for row in track(rows, words, todo, console=Console(stderr=True)):
            if "error" in row:
                print(f"failed: {row['method']['name']}, fold {row['fold']}: {row['error']}")
        known = [row for row in store.of(jobs) if "error" not in row]
        found += known if len(data) == 1 else [{**row, "fold": number} for row in known]
    return found


_GESTURES = {"position": {"prefix": "pos_"}, "velocity": {"prefix": "vel"}, "acceleration": {"prefix": "acc"}}
_REVIEWS = {
    "review": {"columns": ["review_text"]},
    "title": {"columns": ["title"]},
    "tabular": {"columns": ["age", "positive_feedback", "division", "department", "class_name"]},
}
SETS = {
    "tcga_brca_cnv_mrna_rppa": RealSet("tcga_brca_cnv_mrna_rppa", 3, {"target": "pam50", "split": "none"}),
    "mfeat": RealSet("mfeat/mfeat.npz", 1, {"split": "none"}),
    "gesture_phase": RealSet(
        "gesture_phase/gesture_phase.parquet",
        1,
        {"target": "label", "split": "none", "group": "video", "modalities": _GESTURES},
    ),
    "av_digits": RealSet("av_digits", 2, options={"encoder": "mlp"}, methods=(*FEW, *VARIANTS)),
    # its column `rating` says the target and is no input
    "clothing_reviews": RealSet(
        "clothing_reviews/clothing_reviews.parquet",
        1,
        {"target": "recommended", "split": "none", "modalities": _REVIEWS},
        {"batch_size": 256, "patience": 10},
    ),
}

NOTES = [
    "Percent, mean ± standard deviation over folds and seeds. Folds are stratified; in gesture_phase they are whole videos, one "
    "or two of seven; in av_digits each split leaves one of six speakers out (50 test recordings of that speaker). Every method "
    "sees the same folds. 15 % of each training part (av_digits: its own validation part) select the epoch and whatever a method "
    "learns from held-out samples; nothing was chosen by looking at test.",
    "Library defaults: AdamW, learning rate 1e-3, cosine schedule, batch 64, at most 100 epochs, patience 20, selection by "
    "validation macro-F1, methods with their default hyper-parameters, MLP encoders (for av_digits too, for time); "
    "clothing_reviews has batches of 256 and patience 10, for time.",
    "'NAME F1' is the macro-F1 of that modality's own output inside the trained model; in the row `unimodal` it is what the "
    "modality reaches alone. Where a method trains no such output it is the exact split of the linear fusion.",
    "'against': difference of the fused macro-F1 in points, and the p-value of the paired test corrected for overlapping "
    "training sets (Nadeau and Bengio 2003), adjusted for the number of methods (Holm). The best modality alone is the one of "
    "largest mean test macro-F1 in the row `unimodal`: a choice in favour of that reference.",
    "'updates' is the number of optimizer steps of a run with all its phases (probes, unimodal training, folds) in that of "
    "`joint`, mean over runs; early stopping is in it. What an update costs: step_cost.md and method_cost.md.",
    "On av_digits (12 runs of 10 to 40 s each) only some of the methods were run.",
    "On clothing_reviews the best epoch comes before `relearning` and `msl` first act: the former is inert in every run there, "
    "the latter equal to `joint`. No other method was inert in any run.",
]


def percent(line: Line, output: str, metric: str) -> str:
    """Return mean and standard deviation over runs, in percent."""
    average, spread = line.scores[output][metric]
    return f"{100 * average:.1f} ± {100 * spread:.1f}"


def table_of(title: str, found: Sequence[Line], modalities: Sequence[str]) -> Table:
    """Return the table of a set."""
    references = list(dict.fromkeys(words for line in found for words in line.against))
    heads = ["method", "accuracy", "macro-F1", "ECE", *(f"{name} F1" for name in modalities)]
    table = Table(title, [*heads, *(f"against {words}" for words in references), "updates"])
    usual = next(line.cost["updates"] for line in found if line.name == "joint")
    for line in found:
        cells = [percent(line, "fused", metric) for metric in ("accuracy", "macro_f1", "ece")]
        cells += [percent(line, name, "macro_f1") for name in modalities]
        for words in references:
            test = line.against.get(words)
            cells.append("" if test is None else f"{100 * test.difference:+.1f} (p {test.p:.2g})")
        inert = f" (inert in {line.inert} of {line.runs} runs)" if line.inert else ""
        table.rows.append([line.name + inert, *cells, f"{line.cost['updates'] / usual:.1f}x"])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), help="data sets (default: all)")
    parser.add_argument("--methods", nargs="+", default=[*METHODS.names(), *VARIANTS], help="methods as words (default: all)")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, one thread each")
    arguments = parser.parse_args()
    tables = []
    for name in arguments.sets:
        item = SETS[name]
        data = item.open()
        methods = [method for method in arguments.methods if not item.methods or method in item.methods]
        rows = run_all(item, data, methods, ROWS / name, {}, arguments.processes)
        splits = f"{FOLDS} folds" if len(data) == 1 else f"{len(data)} stated splits"
        title = f"{name}: {len(data[0])} samples, {splits}, {item.seeds} seeds"
        tables.append(table_of(title, lines(rows), data[0].schema.names))
    report("real_sets", "Methods on real data", tables, NOTES)


if __name__ == "__main__":
    main()
