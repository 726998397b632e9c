"""Every method on the four real data sets of numbers, 5 folds, with the settings a user gets who sets nothing."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, RESULTS, Table, report
from rich.console import Console
from rich.progress import Progress

ROWS = RESULTS / "real_sets.jsonl"
FOLDS = 5

Row = dict[str, Any]


@dataclass(frozen=True)
class RealSet:
    """A data set and how it is opened.

    Attributes:
        name: Its folder.
        options: Options of :func:`equipoise.fit` that say what the data are; none is about training, except ``epochs``.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def source(self) -> Any:
        """Return what is passed to :func:`equipoise.fit`."""
        folder = DATA / self.name
        if self.name == "av_digits":
            return _av_digits(folder)
        files = {"mfeat": "mfeat.npz", "gesture_phase": "gesture_phase.parquet"}
        return folder / files[self.name] if self.name in files else folder


@cache
def _av_digits(folder: Path) -> dict[str, Any]:
    """Spoken digits as spectrograms and written digits as pictures, paired as ``pairs.npz`` says."""
    audio, image, pairs = (np.load(folder / f"{name}.npz") for name in ("audio", "images", "pairs"))
    pictures = image["image"][pairs["image_row"]].astype(np.float32)
    return {"audio": audio["logmel"].astype(np.float32)[:, None], "image": pictures[:, None], "label": audio["label"]}


_GESTURES = {"position": {"prefix": "pos_"}, "velocity": {"prefix": "vel"}, "acceleration": {"prefix": "acc"}}
SETS = {
    item.name: item
    for item in (
        RealSet("tcga_brca_cnv_mrna_rppa", {"target": "pam50", "split": "none"}),
        RealSet("gesture_phase", {"target": "label", "split": "none", "group": "video", "modalities": _GESTURES}),
        RealSet("mfeat", {"target": "label", "split": "none"}),
        RealSet("av_digits", {"target": "label", "epochs": 6}),
    )
}


def train(name: str, method: str, fold: int) -> Row:
    """Train once and return the metrics of the test fold."""
    import equipoise

    item = SETS[name]
    options = {"folds": FOLDS, "fold": fold, "threads": 1, "device": "cpu", **item.options}
    run = equipoise.fit(item.source(), method=method, progress=False, **options)
    summary = run.summary
    metrics = {key: {part: values[part] for part in ("accuracy", "macro_f1")} for key, values in summary["test"].items()}
    return {
        "set": name,
        "method": method,
        "fold": fold,
        "split_hash": summary["data"]["split_hash"],
        "samples": summary["samples"],
        "test": metrics,
        "updates": summary["updates"],
        "inert": summary["inert"],
        "seconds": summary["seconds"],
    }


def finished() -> list[Row]:
    """Return the rows of earlier runs."""
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()] if ROWS.is_file() else []


def run_all(sets: Sequence[str], processes: int) -> None:
    """Train whatever has no row yet; a row is kept as soon as it is there."""
    from equipoise.methods.base import METHODS

    done = {(row["set"], row["method"], row["fold"]) for row in finished()}
    wanted = [(name, method, fold) for name in sets for fold in range(FOLDS) for method in METHODS.names()]
    open_tasks = [task for task in wanted if task not in done]
    RESULTS.mkdir(parents=True, exist_ok=True)
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    with pool, ROWS.open("a", encoding="utf-8") as file, Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("real sets", total=len(wanted), completed=len(wanted) - len(open_tasks))
        for future in as_completed([pool.submit(train, *task) for task in open_tasks]):
            file.write(json.dumps(future.result()) + "\n")
            file.flush()
            progress.advance(bar)


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation over folds, in percent."""
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f}"


def values_of(rows: Sequence[Row], output: str, metric: str = "macro_f1") -> list[float]:
    """Return a metric of an output, by fold."""
    return [row["test"][output][metric] for row in sorted(rows, key=lambda row: row["fold"])]


def set_table(name: str, rows: Sequence[Row]) -> tuple[Table, Sequence[str]]:
    """Return the table of a set and its line in the overview."""
    methods = {row["method"]: [other for other in rows if other["method"] == row["method"]] for row in rows}
    methods = {method: found for method, found in sorted(methods.items()) if len(found) == FOLDS}
    modalities = [output for output in rows[0]["test"] if output != "fused"]
    parts = rows[0]["samples"]
    columns = ["method", "accuracy", "macro-F1", *(f"{item}: F1" for item in modalities), "time / joint"]
    title = f"{name}: {parts['train']} train, {parts['validation']} validation, {parts['test']} test samples in fold 0"
    table = Table(title, columns)
    by_fold = {row["fold"]: row["seconds"] for row in methods["joint"]}
    for method, found in methods.items():
        time = statistics.median(row["seconds"] / by_fold[row["fold"]] for row in found)
        table.rows.append(
            [
                method + (" (inert)" if all(row["inert"] for row in found) else ""),
                spread(values_of(found, "fused", "accuracy")),
                spread(values_of(found, "fused")),
                *(spread(values_of(found, item)) for item in modalities),
                f"{time:.2f}",
            ]
        )
    alone = {item: values_of(methods["unimodal"], item) for item in modalities}
    best = max(alone, key=lambda item: statistics.mean(alone[item]))
    joint = values_of(methods["joint"], "fused")
    gaps = [100 * (one - other) for one, other in zip(joint, alone[best], strict=True)]
    top = max(methods, key=lambda method: statistics.mean(values_of(methods[method], "fused")))
    below = f"{statistics.mean(gaps):+.1f} ({sum(gap < 0 for gap in gaps)} of {FOLDS} folds below)"
    line = [name, f"{best} {spread(alone[best])}", spread(joint), below, f"{top} {spread(values_of(methods[top], 'fused'))}"]
    return table, line


NOTES = [
    "Percent, mean ± standard deviation over 5 folds (stratified; gesture_phase: whole videos, one or two of seven a fold). "
    "Every method sees the same folds. 15 % of each training part select the epoch; nothing was chosen by looking at test.",
    "Library defaults (AdamW, learning rate 1e-3, batch 64, at most 100 epochs, patience 20, MLP or small ResNet by kind, "
    "methods with their default hyper-parameters), seed 0; av_digits has 6 epochs per phase instead of 100, for time.",
    "'NAME: F1' is the macro-F1 of that modality's own output inside the trained model; in the row `unimodal` it is what the "
    "modality reaches alone. An exact split of a linear fusion gives these outputs where a method trains none of its own.",
    "'time / joint' is wall-clock time (training with early stopping, validation, test) in that of `joint` on the same fold, "
    "median over folds; two runs shared the machine, and other programs ran on it.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), help="data sets (default: all)")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--table", action="store_true", help="only make the table of what is finished")
    arguments = parser.parse_args()
    if not arguments.table:
        run_all(arguments.sets, arguments.processes)
    overview = Table(
        "Does joint training use what its best modality knows? (macro-F1)",
        ["set", "best modality alone", "joint", "joint minus alone", "best method"],
    )
    tables = [overview]
    for name in SETS:
        rows = [row for row in finished() if row["set"] == name]
        if {row["fold"] for row in rows if row["method"] in ("joint", "unimodal")} >= set(range(FOLDS)):
            table, line = set_table(name, rows)
            overview.rows.append(line)
            tables.append(table)
    report("real_sets", "Methods on real data", tables, NOTES)


if __name__ == "__main__":
    main()
