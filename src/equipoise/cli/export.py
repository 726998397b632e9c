"""``equipoise export``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from equipoise.cli.options import gather
from equipoise.config import FitConfig
from equipoise.data.dataset import Dataset
from equipoise.data.sources import open_dataset
from equipoise.errors import EquipoiseError
from equipoise.inference.export import SUFFIXES, check_format, export
from equipoise.run import Run, load


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Write the model of a run as one file and print on what it was compared with the run."""
    options = gather(arguments, unknown)
    path = Path(arguments.out or Path(arguments.run) / f"model{SUFFIXES.get(arguments.format, '')}")
    check_format(path, arguments.format)
    finished = load(arguments.run, device="cpu", allow_imports=arguments.allow_imports)
    samples, words = _samples(finished, arguments.data, options)
    checks = export(finished.predictor, path, arguments.format, samples)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("compared on", overflow="fold")
    table.add_column("samples", justify="right")
    table.add_column("largest difference", justify="right")
    for check in checks:
        table.add_row(check.samples, str(check.count), f"{check.difference:.1e}")
    console = Console()
    console.print(f"the file against the run, {words}", markup=False, highlight=False, soft_wrap=True)  # paths stay whole
    console.print(table)
    console.print(
        f"model written to {path}, what goes in and comes out to {path}.json", markup=False, highlight=False, soft_wrap=True
    )
    return 0


def _samples(finished: Run, data: str | None, options: dict[str, Any]) -> tuple[Dataset | None, str]:
    """The data that were asked for, or else those of training where they still are."""
    if data is not None:
        return finished.predictor.read(data, **options), f"data {data}"
    source = finished.config["data"]["source"]
    read = FitConfig.from_options(finished.config["options"]).read
    if source is not None:
        try:
            return open_dataset(source, read, labelled=False, schema=finished.predictor.schema), f"data {source}"
        except EquipoiseError:
            pass
    return None, "made-up data (those of the run are not at hand)"
