"""The entry point: parses the command line, runs a command, and turns errors into one sentence."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from equipoise._version import __version__
from equipoise.cli.options import add_options, separate
from equipoise.errors import ConfigError, EquipoiseError, first_line, suggest


class _Parser(argparse.ArgumentParser):
    """Reports mistakes as our own errors, with the nearest name."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see: {self.prog} --help")


Command = Callable[..., argparse.ArgumentParser]

_ALL = ("read", "splitting", "preprocessing", "model", "training")
_DATA = "folder, file, or the name of an embedded set"
_CONFIG = "YAML file of options; those of the command line win"


def _allow_imports(parser: argparse.ArgumentParser) -> None:
    words = "import encoders that the run names by import path, which runs their code"
    parser.add_argument("--allow-imports", action="store_true", help=words)


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = _Parser(
        prog="equipoise",
        description="Balanced multimodal learning: train models in which no modality starves another.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"equipoise {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def command(name: str, help: str, description: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=help,
            description=description or help[0].upper() + help[1:] + ".",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    _add_fit(command)
    _add_using(command)
    _add_measuring(command)
    methods = command("methods", "list the methods, or show the card of one")
    methods.add_argument("name", nargs="?", metavar="NAME", help="method")
    methods.add_argument("--markdown", action="store_true", help="print the list as a Markdown table")
    data = _add_data(command)
    demo = command("demo", "train on an embedded real data set and show what happens to each modality")
    demo.add_argument("--out", default="runs/demo", metavar="FOLDER", help="folder for the runs [runs/demo]")
    return parser, {"data": data}


def _add_fit(command: Command) -> None:
    fit = command("fit", "train a model and measure it on the test part", _FIT)
    fit.add_argument("data", nargs="?", metavar="DATA", help=_DATA)
    fit.add_argument("--out", metavar="RUN", help="folder for the run")
    fit.add_argument("--resume", metavar="RUN", help="go on with an interrupted run")
    _allow_imports(fit)
    fit.add_argument("--config", metavar="FILE", help=_CONFIG)
    fit.add_argument("--method", metavar="NAME", help="method, see: equipoise methods [joint]")
    add_options(fit, _ALL)


def _add_using(command: Command) -> None:
    """Add the commands that use a finished run."""
    evaluate = command("evaluate", "compute the metrics of a run on labelled data")
    evaluate.add_argument("run", metavar="RUN", help="run folder")
    evaluate.add_argument("data", metavar="DATA", help=_DATA)
    evaluate.add_argument(
        "--part",
        default="auto",
        metavar="PART",
        help="test, validation, train or all [the test part of the data of training, all of other data]",
    )
    evaluate.add_argument("--coalitions", metavar="LIST", help="also evaluate coalitions of modalities: all, or a+b,c")
    _allow_imports(evaluate)
    evaluate.add_argument("--out", metavar="FILE", help="write the metrics as JSON")
    add_options(evaluate, ("read",))

    predict = command("predict", "predict with a run")
    predict.add_argument("run", metavar="RUN", help="run folder")
    predict.add_argument("data", metavar="DATA", help=f"{_DATA}; labels are not needed")
    _allow_imports(predict)
    predict.add_argument("--out", required=True, metavar="FILE", help="csv or parquet file for the predictions")
    add_options(predict, ("read",))

    export = command("export", "write the model of a run as one file that runs without equipoise", _EXPORT)
    export.add_argument("run", metavar="RUN", help="run folder")
    export.add_argument("--format", default="onnx", metavar="FORMAT", help="onnx or torch [onnx]")
    export.add_argument("--data", metavar="DATA", help="samples to compare the file with the run on [those of training]")
    _allow_imports(export)
    export.add_argument("--out", metavar="FILE", help="the file [RUN/model.onnx or RUN/model.pt2]")
    add_options(export, ("read",))


def _add_measuring(command: Command) -> None:
    """Add the commands that train many models to measure something."""
    diagnose = command("diagnose", "say which modality carries what, which one starves, and what to do", _DIAGNOSE)
    diagnose.add_argument("source", metavar="RUN|DATA", help="run folder; or data, on which joint training is diagnosed")
    diagnose.add_argument("--data", metavar="DATA", help="the data of the run, where they are not where they were")
    diagnose.add_argument("--alone", metavar="RUN", help="run of the method unimodal on the same split [trained now]")
    _allow_imports(diagnose)
    diagnose.add_argument("--format", default="text", metavar="FORMAT", help="what is printed: text or json [text]")
    diagnose.add_argument("--out", metavar="FILE", help="write everything that was measured as JSON")
    diagnose.add_argument("--config", metavar="FILE", help=_CONFIG)
    add_options(diagnose, _ALL)

    report = command("report", "write what a diagnosis of runs found as one HTML file", _REPORT)
    report.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folder; several are shown side by side; or the results of a benchmark"
    )
    report.add_argument("--data", metavar="DATA", help="the data of the runs, where they are not where they were")
    report.add_argument("--alone", metavar="RUN", help="run of the method unimodal on the same split [of the runs, or trained]")
    _allow_imports(report)
    report.add_argument("--format", default="html", metavar="FORMAT", help="html, or json for programs [html]")
    report.add_argument(
        "--out", metavar="FILE", help="file to write [report.html in the folder of the run, or here for several; json: printed]"
    )
    add_options(report, ("read",))

    budgets = command("budgets", "measure how much each modality alone tells about the target", _BUDGETS)
    budgets.add_argument("data", metavar="DATA", help=_DATA)
    budgets.add_argument(
        "--out", metavar="FILE", help="write the budgets as JSON, for: fit --method iibalance --method.budgets FILE"
    )
    budgets.add_argument("--config", metavar="FILE", help=_CONFIG)
    add_options(budgets, _ALL)

    benchmark = command("benchmark", "train methods on the same splits of data sets and compare them", _BENCHMARK)
    benchmark.add_argument(
        "data", nargs="+", metavar="DATA", help=f"{_DATA}; or one suite: a YAML file, or core, which comes along"
    )
    benchmark.add_argument(
        "--methods",
        metavar="LIST",
        help="methods, separated by commas; name:key=value:key=value sets hyper-parameters; all is every method",
    )
    benchmark.add_argument("--encoders", metavar="LIST", help="encoders, separated by commas; every method runs with each")
    benchmark.add_argument("--seeds", metavar="COUNT", help="seeds per fold, counted from --seed [1]")
    benchmark.add_argument(
        "--search",
        metavar="TRIALS",
        help="trials of a search for the hyper-parameters of each run, on its validation part [0: published defaults]",
    )
    benchmark.add_argument("--no-search", dest="search", action="store_const", const="0", help="published defaults")
    benchmark.add_argument("--processes", metavar="COUNT", help="processes on this machine, one thread each [one per core]")
    benchmark.add_argument("--ray", metavar="ADDRESS", help="do the runs on a Ray cluster: auto, host:port or local")
    benchmark.add_argument("--retry", action="store_true", help="try again what failed before")
    benchmark.add_argument("--bayesian", action="store_true", help="add the Bayesian signed-rank test over data sets")
    benchmark.add_argument("--dry-run", action="store_true", help="show what would be done and how long it would take")
    benchmark.add_argument(
        "--out", metavar="FOLDER", help="folder of the results; an interrupted suite goes on there [runs/NAME OF THE SUITE]"
    )
    benchmark.add_argument("--config", metavar="FILE", help=_CONFIG)
    add_options(benchmark, _ALL)


def _add_data(command: Command) -> argparse.ArgumentParser:
    data = command("data", "describe, list and export data, and show published layouts")
    actions = data.add_subparsers(dest="action", metavar="ACTION", parser_class=_Parser)
    describe = actions.add_parser("describe", help="show data as they are understood, with a dataset.yaml", allow_abbrev=False)
    describe.add_argument("data", metavar="DATA")
    add_options(describe, ("read",))
    actions.add_parser("list", help="list the embedded sets", allow_abbrev=False)
    layouts = actions.add_parser("layouts", help="list the published layouts that folders are read in", allow_abbrev=False)
    layouts.add_argument("layout", metavar="NAME", nargs="?", help="show what one of them expects")
    export = actions.add_parser("export", help="write data as a folder of tables and arrays", allow_abbrev=False)
    export.add_argument("data", metavar="DATA")
    export.add_argument("folder", metavar="FOLDER")
    add_options(export, ("read",))
    return data


_FIT = """Train a model and measure it on the test part.

  equipoise fit DATA --target label --method ogm --out RUN
  equipoise fit DATA --method ogm --method.alpha 0.5 --encoder.image cnn --epochs 50 --out RUN
  equipoise fit --resume RUN
"""

_EXPORT = """Write the model of a run as one file, with the arithmetic of its preparation, and check it against the run.

  equipoise export RUN
  equipoise export RUN --format torch --out model.pt2

FILE.json says what goes in and what comes out. Nothing is written if the file differs from the run by more than 1e-5.
"""

_DIAGNOSE = """Say which modality carries what inside a model, which one starves, and what to do about it.

Every modality is compared with a model of its own (--alone, or trained now). All scores are taken on the test part of the data
that the run was trained on. Given data instead of a run, joint training is diagnosed; options are those of fit.

  equipoise diagnose RUN --alone RUN_OF_UNIMODAL --out diagnosis.json
  equipoise diagnose DATA --target label
"""

_REPORT = """Write what a diagnosis of runs found as one HTML file, which opens from disk and needs no network.

  equipoise report RUN --alone RUN_OF_UNIMODAL
  equipoise report RUN OTHER_RUN --out comparison.html
"""

_BUDGETS = """Measure how much each modality alone tells about the target.

Trains each modality alone (the epoch of least validation loss is kept, unless --monitor says otherwise) and measures on the
validation part, in nats: the entropy of the labels minus the mean entropy of the temperature-scaled predictions.

  equipoise budgets DATA --target label --out budgets.json
  equipoise fit DATA --target label --method iibalance --method.budgets budgets.json --out RUN
"""

_BENCHMARK = """Train methods on the same splits of data sets and compare them.

  equipoise benchmark core
  equipoise benchmark DATA --target label --methods joint,ogm:alpha=0.5,aug --folds 5 --seeds 3 --out RESULTS
  equipoise benchmark suite.yaml --dry-run
  equipoise benchmark suite.yaml --search 20 --ray auto

Results are stored run by run: killed or interrupted, the same command goes on, and with more methods it runs what is new.
"""

# Where each command lives; its module, and torch with it, is imported only when it runs.
_COMMANDS = {
    "fit": "equipoise.cli.fit",
    "evaluate": "equipoise.cli.evaluate",
    "predict": "equipoise.cli.predict",
    "export": "equipoise.cli.export",
    "diagnose": "equipoise.cli.diagnose",
    "report": "equipoise.cli.report",
    "budgets": "equipoise.cli.budgets",
    "benchmark": "equipoise.cli.benchmark",
    "methods": "equipoise.cli.methods",
    "data": "equipoise.cli.data",
    "demo": "equipoise.cli.demo",
}


def _dispatch(argv: Sequence[str]) -> int:
    parser, groups = _parser()
    if argv and not argv[0].startswith("-") and argv[0] not in _COMMANDS:
        raise ConfigError(f"unknown command {argv[0]!r}, {suggest(argv[0], _COMMANDS)}")
    words, apart = separate(argv)
    arguments, unknown = parser.parse_known_args(words)
    unknown += apart
    if arguments.command is None or (arguments.command in groups and arguments.action is None):
        if unknown:
            raise ConfigError(f"unknown option {unknown[0]!r}, {suggest(unknown[0], ('--help', '--version'))}")
        groups.get(arguments.command, parser).print_help()
        return 0
    run: Callable[[argparse.Namespace, Sequence[str]], int] = import_module(_COMMANDS[arguments.command]).run
    return run(arguments, unknown)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The words after the program's name; None takes those of the process.

    Returns:
        0 on success, 2 for a mistake in the input, 130 when interrupted.
    """
    try:
        code = _dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()  # what cannot be written is told here and not by the interpreter as it ends
        return code
    except EquipoiseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 130 if type(error).__name__ == "Interrupted" else 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except MemoryError as error:
        print(f"error: there is not enough memory: {first_line(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; there is nobody left to tell.
        _give_up_output()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _give_up_output()
        print("error: the output cannot be written: the disk is full", file=sys.stderr)
        return 2


def _give_up_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
