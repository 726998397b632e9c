"""``equipoise diagnose``."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from math import isnan
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from equipoise.cli import tables
from equipoise.cli.options import gather
from equipoise.config import SECTIONS, FitConfig
from equipoise.data.sources import open_dataset
from equipoise.diagnosis.diagnose import Diagnosis, diagnose, diagnose_data
from equipoise.diagnosis.material import Estimate
from equipoise.errors import ConfigError
from equipoise.files import write_json
from equipoise.run import CONFIG, Run, load

FORMATS = ("text", "json")


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Diagnose a run, or data; print what was found, and write it where asked."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a diagnosis is made in one process; start equipoise without torchrun")
    if arguments.format not in FORMATS:
        raise ConfigError(f"format = {arguments.format!r} is not valid, expected {' or '.join(FORMATS)}")
    found = _diagnose(arguments, unknown)
    console = Console(soft_wrap=True)
    if arguments.out is not None:
        write_json(Path(arguments.out), found.to_json())
    if arguments.format == "json":
        print(json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return 0
    print_diagnosis(found, Console())
    if arguments.out is not None:
        console.print(f"diagnosis: {arguments.out}", highlight=False, markup=False)
    return 0


def _diagnose(arguments: argparse.Namespace, unknown: Sequence[str]) -> Diagnosis:
    options = {name: value for name, value in gather(arguments, unknown).items() if name not in ("data", "out")}
    read = {name: options.pop(name) for name in SECTIONS["read"].__dataclass_fields__ if name in options}
    if (Path(arguments.source) / CONFIG).is_file():
        if options:
            raise ConfigError(
                f"{arguments.source} is a run, which has its options; leave out {', '.join(f'--{name}' for name in options)}"
            )
        found = load(arguments.source, allow_imports=arguments.allow_imports)
        return diagnose(found, arguments.data, alone=_alone(arguments), **read)
    if arguments.data is not None:
        raise ConfigError(f"--data goes with a run, but {arguments.source} is not a run folder: it has no {CONFIG}")
    dataset = open_dataset(arguments.source, FitConfig.from_options({**options, **read}).read)
    return diagnose_data(dataset, alone=_alone(arguments), **options)


def _alone(arguments: argparse.Namespace) -> Run | None:
    return None if arguments.alone is None else load(arguments.alone, allow_imports=arguments.allow_imports)


def print_diagnosis(found: Diagnosis, console: Console) -> None:
    """Print the tables and the verdict of a diagnosis."""
    data = found.data
    samples = found.outputs["fused"].samples
    console.print(
        f"{found.run['method']['name']} on {data['name']}: test part, {samples} samples, {found.terms['targets']}; "
        f"scores are {found.terms['scores']}, intervals 95 %",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    shown = (_capacity(found), _contributions(found), _information(found), _pairs(found), _decision(found))
    for table in shown:
        if table.row_count:
            console.print(table)
    console.print(f"[bold]{escape(found.verdict.text)}[/bold]", highlight=False, soft_wrap=True)
    for finding in found.verdict.findings:
        for name, reason in finding.methods:
            console.print(f"  {finding.kind}: {name} {reason}", highlight=False, markup=False, soft_wrap=True)
    for note in found.notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, overflow="fold")
    for words in columns:
        table.add_column(words, justify="right")
    return table


def number(value: float | None) -> str:
    """Return a number as text; a dash where it is not defined."""
    return tables.number(None if value is None or isnan(value) else value)


def _with(estimate: Estimate) -> str:
    if isnan(estimate.value):
        return "-"
    return f"{estimate.value:.3f} ({estimate.low:.2f}..{estimate.high:.2f})"  # no blank inside: it stays on one line


def _capacity(found: Diagnosis) -> Table:
    own, probe = ("own output\nalone", "inside", "gap"), ("probe\nalone", "inside", "gap")
    table = _table("what a modality reaches alone and inside the model", "modality", *own, *probe, "")
    for item in found.capacity:
        table.add_row(
            escape(item.modality),
            number(item.alone.value),
            number(item.inside.value),
            number(item.gap.value),
            number(item.alone_probe.value),
            number(item.inside_probe.value),
            _with(item.encoder_gap),
            item.state,
        )
    return table


def _contributions(found: Diagnosis) -> Table:
    ways, masked = list(found.coalitions), found.coalitions["mask"]
    deviations = ", ".join(f"{way} {item.deviation.value:.2f}" for way, item in found.coalitions.items())
    table = _table(
        f"Shapley values; equilibrium deviation (0 balanced, 1 one modality): {deviations}",
        "modality",
        *(f"absent by\n{way}" for way in ways),
        "lost\nwithout it",
        "decided",
    )
    for name, removal in masked.removal.items():
        others = (number(found.coalitions[way].shapley[name].value) for way in ways[1:])
        table.add_row(
            escape(name), _with(masked.shapley[name]), *others, _with(removal), f"{100 * found.samples.decided[name]:.0f} %"
        )
    return table


def _information(found: Diagnosis) -> Table:
    told = {"fused": found.information.fused, **found.information.modalities}
    entropy = found.information.label_entropy
    near, losses = ("by near\nsamples",), ("loss in\ntraining", "loss")
    if entropy is None:
        table = _table("information (nats) and loss", "output", *near, *losses)
    else:
        table = _table(
            f"information and calibration of each output ({found.terms['holds']} {entropy:.3f} nats)",
            "output",
            "information",
            *near,
            "temper-\nature",
            "calibration\nerror",
            *losses,
        )
    for name, item in told.items():
        fit = found.generalisation[name]
        cells = [escape(name), number(item.neighbours), number(fit.train_loss), number(fit.loss)]
        if item.budget is not None:
            cells.insert(1, _with(item.budget))
            cells[3:3] = [f"{item.temperature:.2f}", _with(found.calibration[name].error)]
        table.add_row(*cells)
    return table


def _pairs(found: Diagnosis) -> Table:
    names = ("redundant", "unique_first", "unique_second", "synergistic")
    heads = ("redun-\ndant", "unique\nto first", "to\nsecond", "syner-\ngistic")
    told = found.information.label_entropy is not None
    if told:
        title = "pairs: information in nats, Shapley interaction of the score"
        table = _table(title, "pair", *heads, "between", "together", "inter-\naction")
    else:
        table = _table("pairs of modalities", "pair", "information between\n(nats)", "Shapley\ninteraction")
    crossed = {(one, two): estimate for one, two, estimate in found.coalitions["mask"].interactions}
    for pair in found.information.pairs:
        interaction = crossed.get((pair.first, pair.second))
        cells = [number(pair.between), number(interaction.value if interaction else None)]
        if pair.together.budget is not None:
            parts = pair.parts["broja"] if pair.parts else {}
            cells[1:1] = [number(pair.together.budget.value)]
            cells[:0] = [number(parts.get(name)) for name in names]
        table.add_row(escape(f"{pair.first}, {pair.second}"), *cells)
    return table


def _decision(found: Diagnosis) -> Table:
    levels = {"noise": 1.0, "absence": 1.0, "shuffling": 1.0}
    score = number(found.generalisation["fused"].score.value)
    table = _table(
        f"decision layer, and the fused score ({score}) when disturbed",
        "modality",
        "weight",
        f"share of {found.terms['gives']}",
        "noise 1",
        "absent",
        "shuffled",
    )
    curves = {(curve.modality, curve.kind): curve for curve in found.robustness}
    for name, item in found.decision.items():
        if (name, "absence") in curves:
            known = [(curves.get((name, kind)), level) for kind, level in levels.items()]
            scores = [None if curve is None else curve.scores[curve.levels.index(level)].value for curve, level in known]
            table.add_row(escape(name), number(item.weight), f"{100 * item.share:.0f} %", *map(number, scores))
    return table
