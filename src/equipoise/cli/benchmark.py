"""``equipoise benchmark``."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from equipoise.benchmark.executors import Event, Executor, LocalPool, ThisProcess
from equipoise.benchmark.jobs import Job
from equipoise.benchmark.leaderboard import PAGE, Record, write_leaderboard
from equipoise.benchmark.runner import missing, run_jobs
from equipoise.benchmark.store import Store
from equipoise.benchmark.suite import Plan, Suite, is_suite, load_suite
from equipoise.benchmark.tables import Table, failures, tables
from equipoise.benchmark.timing import Clock, duration, longest
from equipoise.cli.options import gather
from equipoise.errors import ConfigError
from equipoise.training.loop import Interrupted

_QUIET = 60.0
"""Seconds between two lines of progress where output is no terminal."""


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Run a suite, or go on with one, and print its tables."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a benchmark starts its own processes; start equipoise without torchrun")
    suite, name = _suite(arguments, unknown)
    executor, processes = _executor(arguments)
    console = Console()
    out = Path(arguments.out or Path("runs") / name)
    store = Store(out)
    planned = suite.plan()
    jobs = planned.jobs
    if any(job.trials for job in jobs):
        from equipoise.benchmark.search import require_optuna

        require_optuna()
    todo = missing(jobs, store, arguments.retry)
    if arguments.dry_run:
        _print_plan(planned, todo, store, processes, console)
        return 0
    if len(todo) < len(jobs):
        console.print(f"{len(jobs) - len(todo)} of {len(jobs)} runs were done before", highlight=False)
    command = shlex.join(["equipoise", *sys.argv[1:]])
    region = 0.01 if arguments.bayesian else None
    title = f"Benchmark {name}" if is_suite(arguments.data[0]) else f"Benchmark of {', '.join(planned.samples)}"
    Record(title, command, region, {job.key: job.set for job in jobs}).write(out)
    try:
        with _progress(todo, store, processes) as show:
            for event in run_jobs(jobs, planned.sources, store, executor, retry=arguments.retry):
                show(event)
    except (KeyboardInterrupt, Interrupted):
        left = len(missing(jobs, store, arguments.retry))
        print(f"interrupted: {len(jobs) - left} of {len(jobs)} runs are kept; the same command goes on", file=sys.stderr)
        return 130
    summary = write_leaderboard(out)
    for table in tables(summary):
        console.print(_rich(table))
        if table.note:
            console.print(table.note, style="dim", highlight=False, markup=False)
    for sentence in failures(summary):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    if summary["failed"]:
        console.print("--retry tries again what failed", highlight=False)
    console.print(f"results: {out} ({summary['runs']} runs)", highlight=False, markup=False, soft_wrap=True)
    console.print(f"page: {out / PAGE}", highlight=False, markup=False, soft_wrap=True)
    return 2 if summary["failed"] else 0


def _suite(arguments: argparse.Namespace, unknown: Sequence[str]) -> tuple[Suite, str]:
    """Return the suite that the command line describes, and its name."""
    stated: dict[str, Any] = {key: value for key, value in gather(arguments, unknown).items() if key not in ("data", "out")}
    stated |= {key: value for key in ("methods", "encoders", "seeds", "search") if (value := getattr(arguments, key)) is not None}
    words: list[str] = arguments.data
    suites = [word for word in words if is_suite(word)]
    if suites and len(words) > 1:
        raise ConfigError(f"benchmark: {suites[0]} is a suite, which names its data; found other data beside it")
    if suites:
        return Suite.from_mapping(load_suite(suites[0]), stated), Path(suites[0]).stem
    if "methods" not in stated:
        raise ConfigError("methods: none is named, expected --methods LIST (all is every method)")
    return Suite.from_mapping({"data": words}, stated), "benchmark"


def _executor(arguments: argparse.Namespace) -> tuple[Executor, int]:
    """Return what does the runs, and how many at a time (on a cluster, as many as it has cores)."""
    if arguments.ray is not None:
        from equipoise.benchmark.ray_cluster import RayCluster

        return RayCluster(arguments.ray), 1
    word = arguments.processes or str(os.cpu_count() or 1)
    if not word.isdigit() or int(word) < 1:
        raise ConfigError(f"option: processes = {word!r} is not valid, expected a whole number of at least 1")
    return (ThisProcess(), 1) if int(word) == 1 else (LocalPool(int(word)), int(word))


def _print_plan(planned: Plan, todo: Sequence[Job], store: Store, processes: int, console: Console) -> None:
    """Print what would be done, and how long it would take."""
    known = store.of(planned.jobs)
    clock = Clock(row for row in known if "error" not in row)
    at_most = ""
    if todo and any(clock.seconds(job) is None for job in todo):
        clock = longest(todo, planned.sources, planned.samples)
        at_most = "at most "
    table = Table("plan", ["data", "samples", "folds x seeds x\nmethods x encoders", "trials", "runs", "done", "time"])
    for name, samples in planned.samples.items():
        jobs, left = ([job for job in part if job.set == name] for part in (planned.jobs, todo))
        kinds = zip(*((job.fold, job.seed, str(job.method), str(job.options["encoder"])) for job in jobs), strict=True)
        seconds = clock.left(left, processes)
        factors, time_left = " x ".join(str(len(set(kind))) for kind in kinds), "?" if seconds is None else duration(seconds)
        counts = map(str, (jobs[0].trials, len(jobs), len(jobs) - len(left)))
        table.rows.append([name, str(samples), factors, *counts, time_left])
    console.print(_rich(table))
    total = clock.left(todo, processes)
    words = "unknown" if total is None else f"{at_most}about {duration(total)}"
    console.print(f"{len(todo)} runs to do, {processes} at a time: {words}", highlight=False)
    if at_most:
        console.print("(measured by a few epochs; most runs stop before their last epoch)", style="dim", highlight=False)


def _rich(table: Table) -> RichTable:
    found = RichTable(title=escape(table.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for number, name in enumerate(table.columns):
        found.add_column(
            escape(name.replace("against ", "against\n")),
            justify="right" if number else "left",
            overflow="fold",  # what is cut off cannot be read
            min_width=None if number else min(max(len(cells[0]) for cells in table.rows), 24),
        )
    for cells in table.rows:
        found.add_row(*map(escape, cells))
    return found


@contextmanager
def _progress(todo: Sequence[Job], store: Store, processes: int) -> Iterator[Any]:
    """Show what is done, what runs and how much time is left: a bar on a terminal, else a line a minute."""
    clock = Clock(row for row in store.rows(("configuration", "cost")) if "error" not in row)
    waiting = {job.key: job for job in todo}
    running: dict[str, Job] = {}
    failed = 0
    last = time.monotonic()
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task("runs", total=len(todo), words="")

        def show(event: Event) -> None:
            nonlocal failed, last
            job, row = event
            if row is None:
                running[job.key] = job
            else:
                clock.add(row)
                failed += "error" in row
                running.pop(job.key, None)
                waiting.pop(job.key, None)
            seconds = clock.left(list(waiting.values()), max(processes, len(running)))
            now = ", ".join(f"{one.method['name']} on {one.set} ({one.fold}/{one.seed})" for one in list(running.values())[:4])
            words = "" if seconds is None else f"about {duration(seconds)} left"
            words += (f"; {failed} failed" if failed else "") + (f"; now {now}" if now else "")
            bars.update(bar, completed=len(todo) - len(waiting), words=escape(words))
            if not console.is_terminal and time.monotonic() - last > _QUIET:
                last = time.monotonic()
                console.print(
                    f"{len(todo) - len(waiting)} of {len(todo)} runs; {words}", highlight=False, markup=False, soft_wrap=True
                )

        yield show
