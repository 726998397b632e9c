"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from equipoise.data.schema import TASKS
from equipoise.errors import RunError
from equipoise.files import read_json

Metrics = Mapping[str, Mapping[str, float | None]]

_COLUMNS = {
    "r2": "R²",
    "kappa": "kappa",
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "subset_accuracy": "subset",
    "map": "mAP",
    "auroc": "AUROC",
    "nll": "NLL",
    "brier": "Brier",
    "ece": "ECE",
}


def number(value: float | None) -> str:
    """Return a metric as text; a dash where it is not defined."""
    return "-" if value is None else f"{value:.3f}"


def main_metric(metrics: Metrics) -> str:
    """Return the metric by which outputs are compared: that of numbers, of an order, else of classes and labels."""
    known = next(iter(metrics.values()), {})
    return next((key for key in ("r2", "kappa") if key in known), "macro_f1")


def metrics_table(title: str, metrics: Metrics, alone: Metrics | None = None) -> Table:
    """Make the table of metrics: a row per output, and beside each modality what it reaches alone where that is known.

    Args:
        title: Title of the table.
        metrics: Metrics by output.
        alone: Metrics of modalities trained alone on the same split.
    """
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("output", overflow="fold")  # a name that is cut short could be that of another output
    shown = [key for key in _COLUMNS if any(key in values for values in metrics.values())]
    main = main_metric(metrics)
    for key in shown:
        table.add_column(_COLUMNS[key], justify="right", overflow="fold")
    if alone:
        table.add_column(f"{_COLUMNS[main]}\nalone", justify="right", overflow="fold")
    for name, values in metrics.items():
        row = [escape(name), *(number(values[key]) for key in shown)]
        if alone:
            known = alone.get(name) if name != "fused" else None
            row.append(number(known[main]) if known else "")
        table.add_row(*row, style="bold" if name == "fused" else None, end_section=name == "fused")
    return table


def found_alone(summary: Mapping[str, Any], folder: Path | None) -> Metrics | None:
    """Return what each modality reaches alone, from a finished ``unimodal`` run on the same split beside this one.

    Args:
        summary: The summary of a run.
        folder: Its folder.
    """
    if folder is None or summary["method"]["name"] == "unimodal":
        return None
    for path in sorted(folder.resolve().parent.glob("*/summary.json")):
        try:
            other = read_json(path, "the summary of a run")
        except RunError:
            continue
        same = other.get("data", {}).get("split_hash") == summary["data"]["split_hash"]
        same = same and other["data"].get("fingerprint") == summary["data"]["fingerprint"]
        if same and other.get("method", {}).get("name") == "unimodal":
            metrics: Metrics = other["test"]
            return metrics
    return None


def print_run(summary: Mapping[str, Any], folder: Path | None, console: Console) -> None:
    """Print the closing table of a run and the facts below it."""
    samples, data = summary["samples"], summary["data"]
    alone = found_alone(summary, folder)
    title = f"{summary['method']['name']} on {data['name']}: test part, {samples['test']} samples"
    if summary["test"]:
        console.print(metrics_table(title, summary["test"], alone))
    if summary.get("task", TASKS[0]) != TASKS[0]:
        console.print(f"task: {summary['task']}", highlight=False)
    selected = ", ".join(
        f"{escape(name)} {phase['selected_epoch'] or phase['epochs']} of {phase['epochs']}"
        for name, phase in summary["phases"].items()
    )
    console.print(f"selected epoch: {selected}", highlight=False, soft_wrap=True)
    console.print(
        f"split {data['split']} {data['split_hash']}: {samples['train']} train, {samples['validation']} validation, "
        f"{samples['test']} test   {summary['seconds']:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    if summary["inert"]:
        console.print(
            f"[yellow]the method changed nothing in this run: its coefficients never left their neutral value "
            f"(this is {summary['method']['name']} as plain training)[/yellow]",
            soft_wrap=True,
        )
    for note in summary.get("notes", ()):
        console.print(f"note: {note}", highlight=False, markup=False)
    if folder is not None:
        console.print(f"run: {folder}", highlight=False, markup=False, soft_wrap=True)
