"""``equipoise compare``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from equipoise.benchmark.compare import plan, run_jobs, stored
from equipoise.benchmark.summary import Line, lines
from equipoise.cli.options import gather
from equipoise.config import FitConfig, ReadOptions
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Run a comparison, or go on with one, and print its table."""
    options = gather(arguments, unknown)
    folds = int(options.pop("folds", 0))
    seeds = _whole(arguments.seeds, "seeds")
    checked = FitConfig.from_options(options)
    read: dict[str, Any] = {
        name: options.pop(name) for name in ("target", "id", "split", "group", "modalities") if name in options
    }
    if folds:
        read.setdefault("split", "none")
    dataset = open_dataset(arguments.data, ReadOptions(**read))
    names = [name.strip() for name in arguments.methods.split(",") if name.strip()]
    out = Path(arguments.out)
    console = Console()
    jobs = plan(dataset, names, folds, seeds, options)
    keys = {job.key for job in jobs}
    known = sum(row["key"] in keys for row in stored(out))
    if known:
        console.print(f"{known} of {len(jobs)} runs were done before", highlight=False)
    processes = _whole(arguments.processes, "processes") if arguments.processes else os.cpu_count() or 1
    failed = {}
    running = run_jobs(jobs, arguments.data, read, out, processes)
    for row in track(running, "comparing", len(jobs) - known, console=Console(stderr=True), disable=not os.isatty(2)):
        if "error" in row:
            failed[row["method"]["name"]] = row["error"]
    rows = [row for row in stored(out) if row["key"] in keys]
    if rows:
        _print(lines(rows, metric="macro_f1"), dataset.schema.names, console)
    for name, error in failed.items():
        console.print(f"[red]failed[/red] {escape(name)}: {escape(error)}", highlight=False)
    console.print(
        f"results: {out}  ({checked.training.epochs} epochs at most, {max(1, folds)} folds, {seeds} seeds)", highlight=False
    )
    return 2 if failed else 0


def _whole(word: str, name: str) -> int:
    if not str(word).isdigit() or int(word) < 1:
        raise ConfigError(f"option: {name} = {word!r} is not valid, expected a whole number of at least 1")
    return int(word)


def _print(found: Sequence[Line], modalities: Sequence[str], console: Console) -> None:
    table = Table(
        title="mean ± standard deviation, %", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    references = list(dict.fromkeys(words for line in found for words in line.against))
    table.add_column("method")
    for words in ("accuracy", "macro-F1", *(f"{escape(name)}\nmacro-F1" for name in modalities)):
        table.add_column(words, justify="right")
    for words in references:
        table.add_column(f"against\n{escape(words)}", justify="right")
    table.add_column("time", justify="right")
    for line in found:
        cells = [_cell(line, "fused", "accuracy"), _cell(line, "fused", "macro_f1")]
        cells += [_cell(line, name, "macro_f1") for name in modalities]
        for words in references:
            test = line.against.get(words)
            cells.append("" if test is None else f"{100 * test.difference:+.1f} p={test.p:.3f}")
        cells.append("" if line.time is None else f"{line.time:.2f}x")
        table.add_row(escape(line.name) + (f" (inert in {line.inert})" if line.inert else ""), *cells)
    console.print(table)
    console.print(
        "[dim]against: difference of the fused macro-F1 in points, p by the paired test corrected for overlapping training sets "
        "(Nadeau-Bengio), adjusted for the number of methods (Holm)[/dim]"
    )


def _cell(line: Line, output: str, metric: str) -> str:
    if output not in line.scores or metric not in line.scores[output]:
        return "-"
    average, spread = line.scores[output][metric]
    return f"{100 * average:.1f} ± {100 * spread:.1f}"
