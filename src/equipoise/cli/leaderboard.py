"""``equipoise report`` for the results of a benchmark."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from equipoise.benchmark.leaderboard import PAGE, summary_and_page, write_leaderboard
from equipoise.errors import ConfigError
from equipoise.files import finite, write_bytes, write_json


def report(arguments: argparse.Namespace, read: Mapping[str, Any]) -> int:
    """Write the page and the tables of the results in a folder again, or their summary as JSON, without running anything."""
    folder = Path(arguments.runs[0])
    if len(arguments.runs) > 1:
        raise ConfigError(f"report: the results of a benchmark have a page of their own, found {len(arguments.runs)} folders")
    stated = [*(name for name in ("data", "alone") if getattr(arguments, name) is not None), *read]
    if stated:
        raise ConfigError(f"report: {folder} holds the results of a benchmark, for which --{stated[0]} says nothing")
    path = folder / PAGE if arguments.out is None else Path(arguments.out)
    if arguments.format == "html" and arguments.out is None:
        write_leaderboard(folder)
    else:
        summary, page = summary_and_page(folder)
        if arguments.out is None:
            print(json.dumps(finite(summary), indent=2, ensure_ascii=False, allow_nan=False))
            return 0
        if arguments.format == "json":
            write_json(path, summary)
        else:
            write_bytes(path, page.encode())
    Console().print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)
    return 0
