"""Every method on four real data sets of numbers, 5 folds, with the settings that a user gets who sets nothing."""

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

from equipoise.benchmark.compare import chosen, plan, run_jobs, stored
from equipoise.benchmark.summary import Line, lines
from equipoise.config import ReadOptions
from equipoise.data.dataset import Dataset
from equipoise.data.sources import open_dataset
from equipoise.methods.base import METHODS

FOLDS = 5
ROWS = ROOT / "runs" / "real_sets"
VARIANTS = ("aug:fusion_weights=validation", "aug:max_heads=1")
"""Beside every method: AUG with learned fusion weights, and its control, one classifier per modality."""


@dataclass(frozen=True)
class RealSet:
    """A data set and how it is opened.

    Attributes:
        path: Where it is, below the folder of the data.
        seeds: Seeds per fold.
        read: What is stated about the data. Columns that state a split are left unused for the sake of folds.
        options: Options of training that differ from the defaults.
    """

    path: str
    seeds: int
    read: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> Dataset:
        """Open the data."""
        source: Any = DATA / self.path if self.path != "av_digits" else _av_digits(DATA / self.path)
        return open_dataset(source, ReadOptions(**self.read))


def _av_digits(folder: Path) -> dict[str, Any]:
    """Spoken digits as spectrograms and written digits as pictures, paired as ``pairs.npz`` says."""
    audio, image, pairs = (np.load(folder / f"{name}.npz") for name in ("audio", "images", "pairs"))
    pictures = image["image"][pairs["image_row"]].astype(np.float32)
    return {"audio": audio["logmel"].astype(np.float32)[:, None], "image": pictures[:, None], "label": audio["label"]}


_GESTURES = {"position": {"prefix": "pos_"}, "velocity": {"prefix": "vel"}, "acceleration": {"prefix": "acc"}}
SETS = {
    "tcga_brca_cnv_mrna_rppa": RealSet("tcga_brca_cnv_mrna_rppa", 3, {"target": "pam50", "split": "none"}),
    "mfeat": RealSet("mfeat/mfeat.npz", 1, {"split": "none"}),
    "gesture_phase": RealSet(
        "gesture_phase/gesture_phase.parquet",
        1,
        {"target": "label", "split": "none", "group": "video", "modalities": _GESTURES},
    ),
    "av_digits": RealSet("av_digits", 1, options={"encoder": "mlp"}),
}

NOTES = [
    "Percent, mean ± standard deviation over folds and seeds (5 folds; 3 seeds each on tcga_brca, 1 on the others). Folds are "
    "stratified; in gesture_phase they are whole videos, one or two of seven. Every method sees the same folds. 15 % of each "
    "training part select the epoch and whatever a method learns from held-out samples; nothing was chosen by looking at test.",
    "Library defaults: AdamW, learning rate 1e-3, cosine schedule, batch 64, at most 100 epochs, patience 20, selection by "
    "validation macro-F1, methods with their default hyper-parameters, MLP encoders (for av_digits too, for time).",
    "'NAME F1' is the macro-F1 of that modality's own output inside the trained model; in the row `unimodal` it is what the "
    "modality reaches alone. Where a method trains no such output it is the exact split of the linear fusion.",
    "'against': difference of the fused macro-F1 in points, and the p-value of the paired test corrected for overlapping "
    "training sets (Nadeau and Bengio 2003), adjusted for the number of methods (Holm). The best modality alone is the one of "
    "largest mean test macro-F1 in the row `unimodal`: a choice in favour of that reference.",
    "'time' is wall-clock time of a run (training with early stopping, validation, test) in that of `joint`, mean over runs, "
    "two runs at a time on two cores. A method's probes or unimodal phases are in it.",
]


def percent(line: Line, output: str, metric: str) -> str:
    """Return mean and standard deviation over runs, in percent."""
    average, spread = line.scores[output][metric]
    return f"{100 * average:.1f} ± {100 * spread:.1f}"


def table_of(title: str, found: Sequence[Line], modalities: Sequence[str]) -> Table:
    """Return the table of a set."""
    references = list(dict.fromkeys(words for line in found for words in line.against))
    heads = ["method", "accuracy", "macro-F1", "ECE", *(f"{name} F1" for name in modalities)]
    table = Table(title, [*heads, *(f"against {words}" for words in references), "time"])
    for line in found:
        cells = [percent(line, "fused", metric) for metric in ("accuracy", "macro_f1", "ece")]
        cells += [percent(line, name, "macro_f1") for name in modalities]
        for words in references:
            test = line.against.get(words)
            cells.append("" if test is None else f"{100 * test.difference:+.1f} (p {test.p:.2g})")
        inert = f" (inert in {line.inert} of {line.runs} runs)" if line.inert else ""
        table.rows.append([line.name + inert, *cells, f"{line.time:.2f}"])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), help="data sets (default: all)")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, one thread each")
    arguments = parser.parse_args()
    tables = []
    for name in arguments.sets:
        item = SETS[name]
        dataset = item.open()
        jobs = plan(dataset, [*METHODS.names(), *VARIANTS], item.seeds, {"folds": FOLDS, **item.options})
        done = len(chosen(stored(ROWS / name), jobs))
        rows = run_jobs(jobs, dataset, {}, ROWS / name, arguments.processes)
        failed = [row for row in track(rows, name, len(jobs) - done, console=Console(stderr=True)) if "error" in row]
        for row in failed:
            print(f"failed: {row['method']['name']}, fold {row['fold']}: {row['error']}")
        samples = f"{len(dataset)} samples, {FOLDS} folds, {item.seeds} seeds"
        tables.append(table_of(f"{name}: {samples}", lines(chosen(stored(ROWS / name), jobs)), dataset.schema.names))
    report("real_sets", "Methods on real data", tables, NOTES)


if __name__ == "__main__":
    main()
