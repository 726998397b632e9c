"""``equipoise predict``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from equipoise.cli.options import gather
from equipoise.inference.predictions import Predictions, check_destination, write_predictions
from equipoise.run import load

_SECONDS = 3.0
"""What takes longer shows how far it is."""


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Write predictions, piece by piece."""
    options = gather(arguments, unknown)
    path = Path(arguments.out)
    check_destination(path)
    predictor = load(arguments.run, allow_imports=arguments.allow_imports).predictor
    dataset = predictor.read(arguments.data, **options)
    write_predictions(path, _shown(predictor.stream(dataset), len(dataset)))
    absent = {name: int((~mask).sum()) for name, mask in dataset.present.items() if not mask.all()}
    words = f"; absent: {', '.join(f'{name} in {count}' for name, count in absent.items())}" if absent else ""
    Console().print(f"{len(dataset)} predictions written to {path}{words}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _shown(pieces: Iterable[Predictions], total: int) -> Iterator[Predictions]:
    """Pass pieces on, with a progress bar on a terminal if there is time to look at one."""
    start, started = time.monotonic(), False
    progress = Progress(console=Console(stderr=True))
    bar = progress.add_task("predicting", total=total)
    try:
        for piece in pieces:
            progress.advance(bar, len(piece))
            if not started and time.monotonic() - start > _SECONDS and sys.stderr.isatty():
                progress.start()
                started = True
            yield piece
    finally:
        if started:
            progress.stop()
