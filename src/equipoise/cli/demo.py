"""``equipoise demo``: the disease and a remedy on real data, in less than a minute."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from equipoise.cli.options import gather
from equipoise.cli.report import PAGE, diagnoses, write_page
from equipoise.cli.tables import number
from equipoise.errors import RunError
from equipoise.run import CONFIG, SUMMARY, Run, fit, load, resume
from equipoise.training.loop import Interrupted

_DATA = "digits"
_METHODS = {
    "unimodal": "each modality alone",
    "joint": "plain joint training",
    "joint_unimodal": "joint training with a loss on each modality",
}


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Train three ways and show, per modality, what became of it."""
    gather(arguments, unknown)
    console, folder = Console(), Path(arguments.out)
    console.print(
        f"1797 real handwritten digits, each cut into four quadrants: the modalities (data set [bold]{_DATA}[/bold]).\n"
    )
    runs = {}
    for method, words in _METHODS.items():
        console.print(f"training {method}: {words}", highlight=False)
        try:
            runs[method] = _run(folder / method, method)
        except Interrupted as stopped:
            raise Interrupted(f"{stopped}: equipoise demo --out {folder}") from None
    console.print(_table(runs))
    alone, joint = runs["unimodal"].metrics, runs["joint"].metrics
    worst = min((name for name in alone if name != "fused"), key=lambda name: _share(joint, alone, name))
    console.print(
        f"\nInside the jointly trained model, by its own part of the fused prediction, [bold]{worst}[/bold] reaches "
        f"{_share(joint, alone, worst):.0%} of what it reaches alone: the shared loss asks only that all of them together be "
        "right, so none is taught to be right by itself."
    )
    last = list(runs)[-1]
    write_page(folder / last / PAGE, diagnoses([runs[last]], alone=runs["unimodal"]))
    console.print(f"\nruns: {folder}", highlight=False, markup=False, soft_wrap=True)
    words = f"next: equipoise methods; equipoise data list; equipoise fit {_DATA} --method ogm --out runs/ogm"
    console.print(words, highlight=False, soft_wrap=True)
    console.print(f"report: {folder / last / PAGE}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _run(folder: Path, method: str) -> Run:
    if (folder / SUMMARY).is_file():
        return load(folder)
    if (folder / CONFIG).is_file():
        return resume(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty and not a run; give another folder: equipoise demo --out FOLDER")
    return fit(_DATA, method=method, encoder="mlp", out=folder)


def _share(inside: dict[str, dict[str, float | None]], alone: dict[str, dict[str, float | None]], name: str) -> float:
    return (inside[name]["macro_f1"] or 0.0) / (alone[name]["macro_f1"] or 1.0)


def _table(runs: dict[str, Run]) -> Table:
    table = Table(title="macro-F1 on the test part", title_justify="left")
    table.add_column("modality")
    for words in ("alone", "inside joint", "inside joint_unimodal"):
        table.add_column(words, justify="right")
    names = [name for name in runs["joint"].metrics if name != "fused"]
    for name in names:
        table.add_row(name, *(number(item.metrics[name]["macro_f1"]) for item in runs.values()))
    table.add_section()
    table.add_row("fused", *(number(item.metrics["fused"]["macro_f1"]) for item in runs.values()), style="bold")
    return table
