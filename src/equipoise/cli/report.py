"""``equipoise report``."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from equipoise._version import __version__
from equipoise.benchmark.leaderboard import is_benchmark
from equipoise.cli import leaderboard
from equipoise.cli.options import gather
from equipoise.diagnosis.diagnose import ALONE, diagnose
from equipoise.diagnosis.spread import spreads
from equipoise.errors import ConfigError
from equipoise.files import finite, write_bytes, write_json
from equipoise.report.page import render
from equipoise.run import Run, load

FORMATS = ("html", "json")
PAGE = "report.html"


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Diagnose runs, and write what was found as one page or as JSON."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a report is made in one process; start equipoise without torchrun")
    if arguments.format not in FORMATS:
        raise ConfigError(f"format = {arguments.format!r} is not valid, expected {' or '.join(FORMATS)}")
    read = gather(arguments, unknown)
    if any(is_benchmark(Path(folder)) for folder in arguments.runs):
        return leaderboard.report(arguments, read)
    runs = [load(folder, allow_imports=arguments.allow_imports) for folder in dict.fromkeys(arguments.runs)]
    alone = None if arguments.alone is None else load(arguments.alone, allow_imports=arguments.allow_imports)
    found = diagnoses(runs, arguments.data, alone, **read)
    if arguments.format == "html":
        default = Path(arguments.runs[0]) / PAGE if len(runs) == 1 else Path(PAGE)
        path = default if arguments.out is None else Path(arguments.out)
        write_page(path, found)
    elif arguments.out is None:
        print(json.dumps(finite(_whole(found)), indent=2, ensure_ascii=False, allow_nan=False))
        return 0
    else:
        path = Path(arguments.out)
        write_json(path, _whole(found))
    Console().print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)
    return 0


def diagnoses(runs: Sequence[Run], data: Any = None, alone: Run | str | None = None, **read: Any) -> list[dict[str, Any]]:
    """Diagnose runs; a run of ``unimodal`` among them says what modalities reach alone for those on the same data and split.

    Args:
        runs: The runs.
        data: Their data, where they are not where they were.
        alone: A run of the method ``unimodal``, or its folder.
        read: How the data are read.

    Returns:
        The diagnoses as plain data.
    """
    known = {_split(run): run for run in runs if run.summary["method"]["name"] == ALONE}
    return [diagnose(run, data, alone=alone or known.get(_split(run)), **read).to_json() for run in runs]


def write_page(path: Path, found: Sequence[dict[str, Any]]) -> None:
    """Write the page about some diagnoses."""
    write_bytes(path, render(found).encode())


def _split(run: Run) -> tuple[str, str]:
    return run.config["data"]["fingerprint"], run.config["data"]["split_hash"]


def _whole(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"equipoise": __version__, "runs": found, "spreads": [asdict(item) for item in spreads(found)]}
