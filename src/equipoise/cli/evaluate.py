"""``equipoise evaluate``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from equipoise.cli.options import gather
from equipoise.cli.tables import metrics_table
from equipoise.files import write_json
from equipoise.run import load


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Print metrics, and write them where asked."""
    options = gather(arguments, unknown)
    finished = load(arguments.run, allow_imports=arguments.allow_imports)
    coalitions: Any = arguments.coalitions
    if coalitions not in (None, "all"):
        coalitions = [tuple(part.split("+")) for part in coalitions.split(",")]
    metrics, words = finished.evaluated(arguments.data, part=arguments.part, coalitions=coalitions, **options)
    title = f"{finished.summary['method']['name']} on {arguments.data}: {words}"
    Console().print(metrics_table(title, metrics))
    if arguments.out is not None:
        found = {"run": arguments.run, "data": arguments.data, "samples": words, "metrics": metrics}
        write_json(Path(arguments.out), found)
    return 0
