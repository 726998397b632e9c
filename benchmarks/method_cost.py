"""What a training update costs under every registered method, beside plain joint training."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from common import Spread, Table, report, verdict
from rich.console import Console
from rich.progress import track
from step_cost import CASES, Case

from equipoise.config import TrainingOptions
from equipoise.data.loader import MemoryPart
from equipoise.methods.base import METHODS, make_method
from equipoise.training.context import Context
from equipoise.training.loop import Loop
from equipoise.training.runtime import Runtime

EPOCHS = 4
TARGETS = {
    **dict.fromkeys(("opm", "mnl", "mmcosine", "cml", "mbsd", "pmr", "relearning", "difficulty", "lfm"), 1.10),
    "agm": 1.15,
    "mmpareto": 2.2,
    "mie": 2.1,
}
"""Largest ratio to joint training that is aimed at; that of mmpareto is for two modalities."""


class TimedLoop(Loop):
    """A loop that notes the CPU time of each batch of the second half of its last phase."""

    seconds: Sequence[float] = ()

    def _run_phase(self, *arguments: Any) -> None:
        self.seconds = []
        super()._run_phase(*arguments)

    def _train_batch(self, number: int, batch: Any, watched: bool = False) -> None:
        start = time.process_time()
        super()._train_batch(number, batch)
        if self.ctx.epoch >= EPOCHS // 2:
            self.seconds = [*self.seconds, time.process_time() - start]


def at_once(name: str) -> dict[str, float]:
    """Return hyper-parameters under which a method acts from the first epochs on: counts of epochs at their lower bound."""
    return {
        item.name: item.metadata["low"]
        for item in dataclasses.fields(METHODS.get(name))
        if item.name in ("start", "warm_up", "warmup", "period", "window") and item.metadata.get("low") is not None
    }


def update_seconds(name: str, case: Case, train: MemoryPart, validation: MemoryPart) -> float:
    """Return the median CPU seconds of a batch in the main phase."""
    method = make_method({"name": name, **at_once(name)})
    model = case.model(method.card.fusion or "concat")
    options = TrainingOptions(epochs=EPOCHS, batch_size=case.batch_size, patience=None, device="cpu")
    loop = TimedLoop(Context(model, Runtime("cpu"), options, train, validation), method)
    loop.fit()
    return median(loop.seconds)


def measure(case: Case, names: Sequence[str], rounds: int) -> Table:
    """Measure all methods in turn, as often as there are rounds."""
    train, held_out = case.part(), case.part()
    rows = torch.arange(min(len(held_out), 64))
    validation = MemoryPart(
        {name: value[rows] for name, value in held_out.inputs.items()},
        {name: value[rows] for name, value in held_out.present.items()},
        None if held_out.target is None else held_out.target[rows],
    )
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in track(range(rounds), case.title, console=Console(stderr=True)):
        for name in names:
            seconds[name].append(update_seconds(name, case, train, validation))
    table = Table(
        f"{case.title}, {len(case.shapes)} modalities: {rounds} rounds",
        ["method", "ms per batch", "of joint [quartiles]", "passes forward, backward", "target"],
    )
    for name in names:
        found = Spread.of([own / base for own, base in zip(seconds[name], seconds["joint"], strict=True)])
        limit = TARGETS.get(name) if name != "mmpareto" or len(case.shapes) == 2 else None
        card = METHODS.get(name).card
        cells = [f"{1e3 * median(seconds[name]):.2f}", found.text(".2f"), f"{card.forwards:g}, {card.backwards:g}"]
        table.rows.append([name, *cells, "" if limit is None else verdict(found.median, at_most=limit)])
    return table


NOTES = [
    "CPU time of one thread from the batch to the step, median over the batches of the second half of the main phase; earlier "
    "phases, validation and what happens between epochs are not in it. All methods take turns in a round, and a ratio is that "
    "of one round; random data, library defaults, MLPs and small ResNets as in step_cost.md.",
    "Methods with a fusion of their own are compared with joint training of the usual model (concatenation), so the cost of the "
    "fusion is in the ratio. Methods that update one modality at a time take several steps per batch.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=METHODS.names(), help="methods (default: all)")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=["large", "images"], help="models")
    parser.add_argument("--rounds", type=int, default=5, help="rounds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = list(dict.fromkeys(["joint", *arguments.methods]))
    report(
        "method_cost",
        "Cost of an update under every method",
        [measure(CASES[name], names, arguments.rounds) for name in arguments.cases],
        NOTES,
    )


if __name__ == "__main__":
    main()
