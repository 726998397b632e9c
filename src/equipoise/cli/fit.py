"""``equipoise fit``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from equipoise.cli.options import gather
from equipoise.cli.tables import print_run
from equipoise.errors import ConfigError
from equipoise.run import fit, resume
from equipoise.training.loop import Interrupted


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """Train, or go on training, and print the closing table."""
    options = gather(arguments, unknown)
    if arguments.resume is not None:
        given = [name for name in (*options, "out") if options.get(name) or getattr(arguments, name, None)]
        if given:
            raise ConfigError(f"--resume takes the options of the run; leave out {', '.join(f'--{name}' for name in given)}")
        out = arguments.resume
    else:
        data, out = arguments.data or options.pop("data", None), arguments.out or options.pop("out", None)
        options.pop("data", None)
        options.pop("out", None)
        if data is None:
            raise ConfigError("which data? give a folder, a file or the name of an embedded set (equipoise data list)")
        if out is None:
            raise ConfigError("where should the run be stored? give --out RUN")
    try:
        finished = (
            resume(out, arguments.data, allow_imports=arguments.allow_imports)
            if arguments.resume is not None
            else fit(data, out=out, **options)
        )
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}: equipoise fit --resume {out}") from None
    if finished.is_main:
        print_run(finished.summary, finished.folder, Console())
    return 0
