"""How far reading is, for people who wait for it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item", bound=Sized)

_PATIENCE = 3.0
"""Seconds of work before a progress bar is shown."""


def with_rows(pieces: Iterable[Item], rows: int, words: str) -> Iterator[Item]:
    """Pass pieces of a table on, with a progress bar on a terminal if they take longer than a moment.

    Args:
        pieces: The pieces; the length of each is its number of rows.
        rows: How many rows there are, or about how many.
        words: What is done, for people. Only the first of several processes says it.
    """
    if os.environ.get("RANK", "0") != "0":
        yield from pieces
        return
    start, done, bar = time.monotonic(), 0, None
    try:
        for piece in pieces:
            done += len(piece)
            if bar is None and time.monotonic() - start > _PATIENCE:
                from rich.console import Console
                from rich.progress import Progress

                console = Console(stderr=True)
                bar = Progress(console=console, transient=True, disable=not console.is_terminal)
                task = bar.add_task(words, total=rows)
                bar.start()
            if bar is not None:
                bar.update(task, completed=done)
            yield piece
    finally:
        if bar is not None:
            bar.stop()
