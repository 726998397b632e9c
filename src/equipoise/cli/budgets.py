"""``equipoise budgets``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from equipoise.benchmark.budgets import measure_budgets
from equipoise.cli.options import gather
from equipoise.config import SECTIONS, FitConfig
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError
from equipoise.files import write_json


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Measure the budgets, print them, and write them where asked."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("budgets are measured in one process; start equipoise without torchrun")
    options = {name: value for name, value in gather(arguments, unknown).items() if name not in ("data", "out")}
    read = FitConfig.from_options(options).read
    plain = {name: value for name, value in options.items() if name not in SECTIONS["read"].__dataclass_fields__}
    found = measure_budgets(open_dataset(arguments.data, read), **plain)
    _print(found, Console())
    if arguments.out is not None:
        write_json(Path(arguments.out), found)
        Console().print(f"budgets: {arguments.out}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _print(found: Mapping[str, Any], console: Console) -> None:
    table = Table(
        title=f"information budgets of {escape(found['data'])}, in nats (the labels hold {found['label_entropy']:.3f})",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("modality", overflow="fold")
    for words in ("by entropy", "95 %", "by labels", "raw", "prior", "T", "accuracy", ""):
        table.add_column(words, justify="right")
    for name, values in found["modalities"].items():
        table.add_row(
            escape(name),
            f"{values['entropy']:.3f}",
            f"{values['low']:.2f}-{values['high']:.2f}",
            f"{values['grounded']:.3f}",
            f"{values['raw']:.3f}",
            f"{values['prior']:.2f}",
            f"{values['temperature']:.2f}",
            f"{values['accuracy']:.3f}",
            "anchor" if name == found["anchor"] else "",
        )
    console.print(table)
    notes = ["by entropy and by labels after scaling by the temperature T, which makes them agree; raw: by entropy before it"]
    if found["anchor"] != found["anchor_uncalibrated"]:
        notes.append(f"before calibration {found['anchor_uncalibrated']} seems to tell most: it is confidently wrong")
    notes.append(f"measured on the validation part of split {found['split']} {found['split_hash']}")
    for note in notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
