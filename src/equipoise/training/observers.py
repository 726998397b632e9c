"""What watches a run: the log of epochs and the progress bar."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from equipoise.files import append_line
from equipoise.methods.base import Phase


class MetricsLog:
    """Appends one line per epoch to a file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_phase(self, phase: Phase, epochs: int, done: int) -> None:
        """Do nothing."""

    def on_epoch(self, line: dict[str, Any]) -> None:
        """Append the line."""
        append_line(self._path, line)


class ProgressBar:
    """Shows one bar per phase with the validation metrics of the best epoch so far; nothing where output is not a terminal.

    Args:
        metric: The metric that selects epochs.
    """

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("epoch {task.completed}/{task.total}"),
            TextColumn("{task.fields[best]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._bar: TaskID | None = None
        self._target, self._shown = "fused", metric

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_phase(self, phase: Phase, epochs: int, done: int) -> None:
        """Start a bar."""
        self._finish()
        self._target, self._shown = phase.monitor or "fused", phase.metric or self._metric
        self._bar = self._progress.add_task(phase.name, total=epochs, completed=done, best="")

    def on_epoch(self, line: dict[str, Any]) -> None:
        """Move the bar."""
        assert self._bar is not None
        self._progress.update(self._bar, advance=1)
        if line["best"]:
            value = line["validation"][self._target][self._shown]
            self._progress.update(self._bar, best=f"best validation {self._shown} {value:.3f}")

    def _finish(self) -> None:
        """Fill the bar of a phase that stopped early."""
        if self._bar is not None:
            task = self._progress.tasks[self._bar]
            self._progress.update(self._bar, total=task.completed)
