"""``equipoise predict``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from equipoise.cli.options import gather
from equipoise.inference.predictions import check_destination
from equipoise.run import load


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Write predictions."""
    options = gather(arguments, unknown)
    path = Path(arguments.out)
    check_destination(path)
    predictions = load(arguments.run).predict(arguments.data, **options)
    predictions.write(path)
    absent = {name: int((~mask).sum()) for name, mask in predictions.present.items() if not mask.all()}
    words = f"; absent: {', '.join(f'{name} in {count}' for name, count in absent.items())}" if absent else ""
    Console().print(f"{len(predictions)} predictions written to {path}{words}", highlight=False, markup=False, soft_wrap=True)
    return 0
