"""``equipoise compare``."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from equipoise.benchmark.compare import chosen, parse_method, plan, run_jobs, stored
from equipoise.benchmark.summary import Line, lines
from equipoise.cli.options import gather
from equipoise.config import FitConfig, ReadOptions
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError
from equipoise.methods.base import make_method


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Run a comparison, or go on with one, and print its tables."""
    options = {name: value for name, value in gather(arguments, unknown).items() if name not in ("data", "out")}
    seeds = _whole(arguments.seeds, "seeds")
    processes = _whole(arguments.processes, "processes") if arguments.processes else os.cpu_count() or 1
    config = FitConfig.from_options(options)
    read = dataclasses.asdict(config.read)
    if config.splitting.folds and read["split"] is None:
        read["split"] = "none"  # folds were asked for, so a split that the data state is left unused
    words = [word for word in arguments.methods.split(",") if word.strip()]
    for word in words:
        make_method(parse_method(word))
    dataset = open_dataset(arguments.data, ReadOptions(**read))
    jobs = plan(dataset, words, seeds, options)
    out, console = Path(arguments.out), Console()
    known = len(chosen(stored(out), jobs))
    if known:
        console.print(f"{known} of {len(jobs)} runs were done before", highlight=False)
    failed = {}
    running = run_jobs(jobs, arguments.data, read, out, processes)
    for row in track(running, "comparing", len(jobs) - known, console=Console(stderr=True), disable=not os.isatty(2)):
        if "error" in row:
            failed[row["method"]["name"]] = row["error"]
    rows = chosen(stored(out), jobs)
    if rows:
        found = lines(rows, metric="macro_f1")
        _print_scores(found, console)
        _print_modalities(found, dataset.schema.names, console)
    for name, error in failed.items():
        console.print(f"failed: {name}: {error}", highlight=False, markup=False, soft_wrap=True)
    splits = len({job.fold for job in jobs})
    console.print(f"results: {out} ({splits} splits, {seeds} seeds)", highlight=False, markup=False, soft_wrap=True)
    return 2 if failed else 0


def _whole(word: str, name: str) -> int:
    if not str(word).isdigit() or int(word) < 1:
        raise ConfigError(f"option: {name} = {word!r} is not valid, expected a whole number of at least 1")
    return int(word)


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("method", overflow="fold")
    return table


def _print_scores(found: Sequence[Line], console: Console) -> None:
    """Print how good the fused output is, against what, and at what cost."""
    table = _table("fused output on the test parts, mean ± standard deviation, %")
    references = sorted({words for line in found for words in line.against}, key=lambda words: words.endswith(" alone"))
    for words in ("accuracy", "macro-F1", *(f"against\n{escape(words)}" for words in references), "time", "runs"):
        table.add_column(words, justify="right", no_wrap=not words.startswith("against"))
    for line in found:
        cells = [_cell(line, "fused", "accuracy"), _cell(line, "fused", "macro_f1")]
        for words in references:
            test = line.against.get(words)
            cells.append("" if test is None else f"{100 * test.difference:+.1f} p={test.p:.3f}")
        cells += ["" if line.time is None else f"{line.time:.2f}x", str(line.runs)]
        table.add_row(escape(line.name) + (f" (inert in {line.inert})" if line.inert else ""), *cells)
    console.print(table)
    if references:
        console.print(
            "[dim]against: difference of the macro-F1 in points; p by the paired test corrected for overlapping\n"
            "training sets (Nadeau-Bengio), adjusted for the number of methods (Holm). time: mean of a run[/dim]"
        )


def _print_modalities(found: Sequence[Line], modalities: Sequence[str], console: Console) -> None:
    """Print what each modality says inside each model; alone, it is the line of the method unimodal."""
    table = _table("macro-F1 of each modality inside the model, %")
    for name in modalities:
        table.add_column(escape(name), justify="right")
    for line in found:
        table.add_row(escape(line.name), *(_cell(line, name, "macro_f1") for name in modalities))
    console.print(table)


def _cell(line: Line, output: str, metric: str) -> str:
    if output not in line.scores or metric not in line.scores[output]:
        return "-"
    average, spread = line.scores[output][metric]
    return f"{100 * average:.1f} ± {100 * spread:.1f}"
