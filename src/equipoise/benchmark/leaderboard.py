"""The results of a suite in a folder, as the files that are handed on: CSV, Markdown, LaTeX and a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from equipoise.benchmark.latex import latex
from equipoise.benchmark.store import RESULTS, Store
from equipoise.benchmark.summary import summarize
from equipoise.benchmark.tables import Summary, write_tables
from equipoise.errors import RunError
from equipoise.files import read_json, write_bytes, write_json
from equipoise.report.leaderboard import Origin
from equipoise.report.page import render_benchmark

PAGE, LATEX, RECORD = "leaderboard.html", "leaderboard.tex", "suite.json"


@dataclass(frozen=True)
class Record:
    """What the last command in a folder asked for, kept beside the results, so that they can be shown again.

    Attributes:
        title: The heading.
        command: The command.
        region: See :func:`~equipoise.benchmark.summary.summarize`.
        runs: How tables call the data of each run, by the identity of the run and in the order of the suite; None for all that
            were ever done in the folder.
    """

    title: str
    command: str = ""
    region: float | None = None
    runs: Mapping[str, str] | None = None

    def write(self, folder: Path) -> None:
        """Write ``suite.json``.

        Raises:
            RunError: It cannot be written.
        """
        write_json(folder / RECORD, asdict(self))


def read_record(folder: Path) -> Record:
    """Return what ``suite.json`` says; of a folder without it, that all runs are shown.

    Raises:
        RunError: It cannot be read, or says something else.
    """
    path = folder / RECORD
    if not path.exists():
        return Record(f"Benchmark {folder.resolve().name}")
    found = read_json(path, "a suite")
    try:
        return Record(str(found["title"]), str(found["command"]), found["region"], dict(found["runs"]))
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{path}: this is not what equipoise benchmark writes; without it all runs are shown") from None


def is_benchmark(folder: Path) -> bool:
    """Whether a folder holds results of a suite."""
    return (folder / RESULTS).is_file()


def summary_and_page(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the summary of the results in a folder, and the page about them.

    Raises:
        RunError: The results cannot be read.
    """
    record, store = read_record(folder), Store(folder)
    rows = store.rows() if record.runs is None else store.named(record.runs)
    summary = summarize(rows, region=record.region)
    left = 0 if record.runs is None else len(record.runs) - len(rows)
    return summary, render_benchmark(summary, Origin(record.title, record.command, left))


def write_leaderboard(folder: Path) -> Summary:
    """Write ``leaderboard.csv``, ``.md``, ``.tex`` and ``.html`` beside the results in a folder, and return their summary.

    Raises:
        RunError: The results cannot be read, or a file cannot be written.
    """
    record = read_record(folder)
    summary, page = summary_and_page(folder)
    write_tables(summary, folder, record.title, [f"command: `{record.command}`"] if record.command else [])
    write_bytes(folder / LATEX, latex(summary).encode())
    write_bytes(folder / PAGE, page.encode())
    return summary
