"""Kill training runs at random moments, resume them, and compare what they leave with runs that nothing disturbed."""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from common import Table, report
from rich.console import Console
from rich.progress import track

from equipoise.files import read_json
from equipoise.methods.base import METHODS
from equipoise.training.checkpoint import load_checkpoint

DATA = "wisconsin"
OPTIONS = {"epochs": 12, "encoder": "mlp", "encoder.dropout": 0.2, "threads": 1, "device": "cpu", "checkpoint-seconds": 0}
EQUAL = ("config.json", "split.json", "metrics.jsonl", "model.safetensors")


def start(run: Path, method: str) -> subprocess.Popen[bytes]:
    """Start a training run from the shell, or go on with it."""
    words = ["fit", "--resume", str(run)]
    if not (run / "config.json").is_file():
        options = [word for name, value in OPTIONS.items() for word in (f"--{name}", str(value))]
        words = ["fit", DATA, "--method", method, *options, "--out", str(run)]
    main = "import sys; from equipoise.cli.main import main; sys.exit(main())"
    return subprocess.Popen([sys.executable, "-c", main, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(run: Path, method: str) -> float:
    """Let a run end; return how long it went on after its first checkpoint."""
    process = start(run, method)
    wait_for_training(run, process)
    began = time.monotonic()
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{method}: {errors.decode(errors='replace')}")
    return time.monotonic() - began


def place(run: Path) -> str:
    """Return how far a killed run had come."""
    if not (run / "config.json").is_file():
        return "before the run folder"
    if (run / "model.safetensors").is_file():
        return "while results were written"
    if not (run / "checkpoint.pt").is_file():
        return "before the first checkpoint"
    phase, epoch, batch = load_checkpoint(run / "checkpoint.pt")["position"]  # fails on a damaged one, as resuming would
    return f"phase {phase + 1}, epoch {epoch + 1}, batch {batch + 1}"


def written(run: Path) -> int:
    """Return when the last checkpoint was written, in nanoseconds; 0 if there is none."""
    try:
        return (run / "checkpoint.pt").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def wait_for_training(run: Path, process: subprocess.Popen[bytes]) -> None:
    """Return once a process has written a checkpoint of its own, or has ended."""
    before = written(run)
    while process.poll() is None and written(run) in (0, before):
        time.sleep(0.002)


@dataclass
class Outcome:
    """A method's killed run beside its undisturbed one."""

    method: str
    kills: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)


def torture(method: str, kills: int, folder: Path, chance: random.Random) -> Outcome:
    """Kill a run some times, let it end, and compare."""
    straight, killed = folder / f"{method}-straight", folder / f"{method}-killed"
    seconds = finish(straight, method)
    outcome = Outcome(method)
    while len(outcome.kills) < kills:
        process = start(killed, method)
        wait_for_training(killed, process)
        try:
            # What is left gets shorter from kill to kill.
            process.wait(seconds * chance.uniform(0.0, 0.9) / kills)
            if process.returncode:
                raise RuntimeError(f"{method}: {process.stderr.read().decode(errors='replace') if process.stderr else ''}")
            shutil.rmtree(killed)  # it was faster than the kill: once more from the start, with less patience
            outcome.kills.clear()
            seconds *= 0.7
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            outcome.kills.append(place(killed))
    finish(killed, method)
    outcome.different = [name for name in EQUAL if (straight / name).read_bytes() != (killed / name).read_bytes()]
    summaries = [read_json(path / "summary.json", "the summary of a run") for path in (straight, killed)]
    for summary in summaries:
        del summary["seconds"]
    if summaries[0] != summaries[1]:
        outcome.different.append("summary.json")
    if {path.name for path in straight.iterdir()} != {path.name for path in killed.iterdir() if not path.name.startswith(".")}:
        outcome.different.append("list of files")
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="at least this many kills over all methods")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    methods = METHODS.names()
    each = -(-arguments.kills // len(methods))
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [
            torture(method, each, Path(folder), chance)
            for method in track(methods, "methods", console=Console(stderr=True), transient=True)
        ]
    total, equal = sum(len(item.kills) for item in outcomes), sum(not item.different for item in outcomes)
    table = Table(
        f"{total} kills: {equal} of {len(outcomes)} runs end bit for bit as undisturbed", ["method", "killed at", "different"]
    )
    table.rows += [[item.method, "; ".join(item.kills), ", ".join(item.different) or "nothing"] for item in outcomes]
    options = " ".join(f"--{name} {value}" for name, value in OPTIONS.items())
    notes = [
        f"`equipoise fit {DATA} --method NAME {options} --out RUN` in a process of its own, SIGKILL at a random "
        "moment after the first checkpoint of that process (there is one after every batch), then "
        "`equipoise fit --resume RUN`, killed again, and so on, until it is left to end.",
        f"Compared byte for byte with a run that was not killed: {', '.join(EQUAL)}; equal but for the time taken: summary.json; "
        "and the names of all files.",
        "'killed at' is the place of the last checkpoint, from which the run went on.",
    ]
    report("kill_resume", "Kill and resume", [table], notes)
    sys.exit(equal < len(outcomes))


if __name__ == "__main__":
    main()
