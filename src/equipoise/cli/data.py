"""``equipoise data``: describe, list, show layouts, export."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from equipoise.cli.options import gather
from equipoise.config import ReadOptions
from equipoise.data.builtin import BUILTIN
from equipoise.data.dataset import Dataset
from equipoise.data.describe import describe_yaml, facts
from equipoise.data.export import export
from equipoise.data.layouts import LAYOUTS, open_layout
from equipoise.data.sources import open_dataset


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Run one of the actions."""
    options = gather(arguments, unknown)
    console = Console()
    if arguments.action == "list":
        _list(console)
        return 0
    if arguments.action == "layouts":
        _layouts(console) if arguments.layout is None else _layout(arguments.layout, console)
        return 0
    dataset = open_dataset(arguments.data, ReadOptions(**options), labelled=False)
    if arguments.action == "export":
        console.print(f"written to {export(dataset, arguments.folder)}", highlight=False, markup=False, soft_wrap=True)
    else:
        _describe(dataset, console)
    return 0


def _list(console: Console) -> None:
    table = Table(title="embedded sets", title_justify="left")
    for name in ("name", "samples", "classes", "modalities"):
        table.add_column(name)
    for name in sorted(BUILTIN):
        schema = open_dataset(name).schema
        table.add_row(name, str(schema.samples), str(len(schema.classes)), ", ".join(schema.names))
    console.print(table)


def _layouts(console: Console) -> None:
    table = Table(title="published layouts (of a folder: --layout NAME)", title_justify="left")
    for name in ("name", "data", "variants"):
        table.add_column(name)
    for name in LAYOUTS.names():
        table.add_row(name, escape(LAYOUTS.get(name).title), ", ".join(LAYOUTS.get(name).variants))
    console.print(table)


def _layout(name: str, console: Console) -> None:
    layout = open_layout(name)
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    say(f"{layout.title}\nreference: {layout.reference}\nlicence: {layout.licence}\n\nDATA/")
    for line in layout.tree.splitlines():
        say(f"  {line}")
    say(f"\n{layout.choices}")
    for number, (variant, words) in enumerate(layout.variants.items()):
        say(f"--layout {layout.name}:{variant}  {words}{'' if number else ' [the default]'}")


def _describe(dataset: Dataset, console: Console) -> None:
    found = facts(dataset)
    table = Table(title=escape(f"{found['name']}: {found['samples']} samples"), title_justify="left")
    for name in ("modality", "kind", "shape", "present", "missing values", "constant columns", "categorical columns"):
        table.add_column(name)
    for name, modality in found["modalities"].items():
        table.add_row(
            escape(name),
            modality["kind"],
            " x ".join(map(str, modality["shape"])),
            str(modality["present"]),
            str(modality["missing_values"]),
            str(len(modality["constant_columns"])),
            escape(", ".join(modality["categorical"])),
        )
    console.print(table)
    for name, modality in found["modalities"].items():
        if "words" in modality:
            count = modality["words"]
            lengths = f"{count['median']} per sample (median; {count['shortest']} to {count['longest']})"
            words = f"words of {name}: {count['different']} different ones, {lengths}"
            console.print(words, highlight=False, markup=False, soft_wrap=True)
        if "steps" in modality:
            count = modality["steps"]
            words = f"time steps of {name}: {count['median']} per sample (median; {count['shortest']} to {count['longest']})"
            console.print(words, highlight=False, markup=False, soft_wrap=True)
        for what, words in modality.get("files", {}).items():
            console.print(f"{what} of {name}: {words}", highlight=False, markup=False, soft_wrap=True)
        for note in modality.get("notes", ()):
            console.print(note, highlight=False, markup=False, soft_wrap=True)
    for note in found["notes"]:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    if found["target"]:
        targets = ", ".join(dataset.schema.targets)
        console.print(f"task: {found['task']} of {targets}", highlight=False, markup=False, soft_wrap=True)
    for name, values in found["values"].items():
        words = ", ".join(f"{key} {value:g}" for key, value in values.items())
        console.print(f"{name}: {words}", highlight=False, markup=False, soft_wrap=True)
    for key in ("classes", "split"):
        if found[key]:
            words = ", ".join(f"{name} {count}" for name, count in found[key].items())
            console.print(f"{key}: {words}", highlight=False, markup=False, soft_wrap=True)
    if found["groups"]:
        console.print(f"groups: {found['groups']}", highlight=False)
    if not dataset.schema.target:
        console.print("target: none is stated; state it by --target or in dataset.yaml", highlight=False, soft_wrap=True)
    elif found["unlabelled"]:
        console.print(f"without a label: {found['unlabelled']}", highlight=False)
    console.print("\n[dim]# the same as dataset.yaml; put it beside the data to correct it[/dim]")
    print(describe_yaml(dataset))
