"""What the benchmarks share: interleaved timing, paired ratios, and result files that say where their numbers come from."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table as RichTable

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DATA = Path(os.environ.get("EQUIPOISE_DATA", ROOT / ".." / "shared" / "data"))

Setup = Callable[[], Callable[[], object]]
"""Prepares one run (not timed) and returns what is timed."""


@dataclass
class Table:
    """Rows of text under column heads.

    Attributes:
        title: What the numbers are.
        columns: Column heads.
        rows: The cells.
    """

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def rich(self) -> RichTable:
        """Return the table for a terminal."""
        table = RichTable(title=self.title, title_justify="left")
        for number, name in enumerate(self.columns):
            table.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Return the table as Markdown."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self.columns, rule, *self.rows))


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least two numbers."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def text(self, form: str = ".3f", scale: float = 1.0) -> str:
        """Return ``median [lower quartile, upper quartile]``."""
        return f"{self.median * scale:{form}} [{self.low * scale:{form}}, {self.high * scale:{form}}]"


def interleave(
    variants: Mapping[str, Setup], rounds: int, words: str, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Time variants in turn, A B C A B C ..., each round starting with another one, after one round that does not count.

    Args:
        variants: What is timed, by name.
        rounds: How often.
        words: Shown beside the progress bar.
        clock: Gives seconds.

    Returns:
        Seconds per variant, one number per round.
    """
    names = list(variants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in track(range(-1, rounds), words, console=Console(stderr=True), transient=True):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            run = variants[name]()
            start = clock()
            run()
            if turn >= 0:
                seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Mapping[str, Sequence[float]], name: str, base: str) -> Spread:
    """Return the spread of a variant's time in that of another one of the same round."""
    return Spread.of([value / other for value, other in zip(seconds[name], seconds[base], strict=True)])


def verdict(value: float, *, at_most: float | None = None, at_least: float | None = None) -> str:
    """Return the target and whether a value meets it."""
    if at_most is not None:
        return f"<= {at_most:g} {'met' if value <= at_most else 'MISSED'}"
    return f">= {at_least:g} {'met' if at_least is not None and value >= at_least else 'MISSED'}"


def facts() -> list[str]:
    """Return what produced the numbers: command, commit, versions and the machine."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [
        f"command: `python benchmarks/{' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])}`",
        f"commit: {commit.stdout.strip() or 'unknown'}",
        f"python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
        f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} cores",
    ]


def _processor() -> str:
    """The model of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def report(name: str, title: str, tables: Sequence[Table], notes: Sequence[str]) -> None:
    """Print tables and write them to ``benchmarks/results/NAME.md``.

    Args:
        name: Name of the result file.
        title: Its heading.
        tables: The numbers.
        notes: What a reader must know to judge them, one sentence or two each.
    """
    console = Console(width=None if sys.stdout.isatty() else 160)
    parts = [f"# {title}"]
    for table in tables:
        console.print(table.rich())
        parts.append(f"## {table.title}\n\n{table.markdown()}")
    for heading, lines in (("Notes", notes), ("Made by", facts())):
        parts.append(f"## {heading}\n\n" + "\n".join(f"- {line}" for line in lines))
        for line in lines:
            console.print(f"- {line}", highlight=False, markup=False)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
