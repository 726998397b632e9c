"""Kill a suite at random moments, go on with it, and compare its table with that of a suite that nothing disturbed."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import Table, report
from rich.console import Console
from rich.progress import track

from equipoise.benchmark.store import Store

OPTIONS = {"methods": "joint,late,ogm,aug", "folds": 5, "seeds": 6, "epochs": 8, "device": "cpu", "processes": 2}
WORDS = ["benchmark", "wisconsin", *(word for name, value in OPTIONS.items() for word in (f"--{name}", str(value))), "--out"]
RUNS = 4 * 5 * 6


def start(out: Path) -> subprocess.Popen[bytes]:
    """Start the suite, or go on with it."""
    main = "import sys; from equipoise.cli.main import main; sys.exit(main())"
    return subprocess.Popen([sys.executable, "-c", main, *WORDS, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    """Let the suite end."""
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors.decode(errors="replace"))


def keys(out: Path) -> list[str]:
    """Return the identities of all rows in the order in which they were added."""
    return [row["key"] for row in Store(out).attempts()]


def wait_for_row(out: Path, before: int, process: subprocess.Popen[bytes]) -> None:
    """Return when there are more rows than before, or the process has ended."""
    while process.poll() is None and len(keys(out)) <= before:
        time.sleep(0.005)


def scores(out: Path) -> dict[str, Any]:
    """Return what must not depend on kills: the metrics and learning curve of each run, by identity."""
    return {row["key"]: (row["test"], row["curve"]) for row in Store(out).rows()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="number of kills")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    table = Table("kills", ["kill", "moment", "rows before", "rows after", "lost", "there twice"])
    with tempfile.TemporaryDirectory() as folder:
        straight, killed = Path(folder) / "straight", Path(folder) / "killed"
        finish(start(straight))
        for number in track(range(arguments.kills), "kills", console=Console(stderr=True), transient=True):
            before, process = keys(killed), start(killed)
            if number % 4 == 3:  # while it starts
                moment = chance.uniform(0.0, 6.0)
                words = f"{moment:.2f} s after the start"
            else:
                wait_for_row(killed, len(before), process)
                moment = chance.uniform(0.0, 0.5)
                words = f"{moment:.2f} s after its first row"
            time.sleep(moment)
            process.kill()
            process.communicate()  # returns once its workers have gone as well
            after = keys(killed)
            lost, twice = len(set(before) - set(after)), len(after) - len(set(after))
            table.rows.append([str(number + 1), words, str(len(before)), str(len(after)), str(lost), str(twice)])
        left = RUNS - len(keys(killed))
        finish(start(killed))
        found, wanted = scores(killed), scores(straight)
        once = len(keys(killed)) == len(found) == RUNS
    same = sum(found.get(key) == value for key, value in wanted.items())
    harmless = same == RUNS and once and all(cells[4:] == ["0", "0"] for cells in table.rows)
    table.title = f"{arguments.kills} kills: {same} of {RUNS} runs are as in the undisturbed suite, each is there once"
    notes = [
        f"`equipoise {' '.join(WORDS)} OUT`, SIGKILL to the process that the user started, then the same command again.",
        f"After the last kill {left} runs were left for the last call. Compared exactly: test metrics and learning curves.",
        "'lost': rows that were there before the kill and are not there after it.",
    ]
    report("kill_suite", "Kill a suite and go on", [table], notes)
    sys.exit(not harmless)


if __name__ == "__main__":
    main()
