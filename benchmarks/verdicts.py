"""What diagnosis says of plain joint training and of the balanced methods on five real data sets, over three seeds."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

from common import ROOT, Table, report
from real_sets import SETS, RealSet
from rich.progress import track

import equipoise
from equipoise.data.dataset import Dataset
from equipoise.diagnosis.diagnose import ALONE
from equipoise.diagnosis.spread import WHOLE, Spread, Varied, spreads
from equipoise.files import write_json

METHODS: dict[str, dict[str, Any]] = {
    "joint": {"name": "joint"},
    "aug (learned weights)": {"name": "aug", "fusion_weights": "validation"},
    "iibalance": {"name": "iibalance"},
    "mi_balance": {"name": "mi_balance"},
}
ROWS = ROOT / "runs" / "verdicts"

NOTES = [
    "Scores are balanced accuracies on the test part, in percent; mean ± standard deviation over three seeds of one split: the "
    "first of five folds (av_digits: without the first speaker), with library defaults as in real_sets.md.",
    "alone: a model of the modality alone (own output). inside: its own output inside the model. by probe: a new linear "
    "classifier on the frozen features. lost by its encoder: probe alone minus probe inside, which decides the state: starved "
    "(loses more than 5 % of what it tells alone, interval over samples above 0), held, over-fed, or unclear (outside 5 %, with "
    "too few samples to tell). 2x starved: in two of the three runs.",
    "Intervals of gesture_phase resample whole videos; where the test part is one video, they are over its frames, too narrow.",
    "All three systems stand here, so that none had to be chosen by its test scores.",
    "The last column of the first table is the time of one diagnosis of a trained run, probes trained before, on two cores with "
    "other work beside it.",
]


def diagnose_all(name: str, item: RealSet, dataset: Dataset, options: dict[str, Any], seeds: int) -> list[dict[str, Any]]:
    """Return the diagnoses of all methods and seeds; those made before are read from disk."""
    found = []
    jobs = [(method, seed) for seed in range(seeds) for method in METHODS]
    alone: dict[int, Any] = {}
    for method, seed in track(jobs, name):
        path = ROWS / name / f"{method.split()[0]}_{seed}.json"
        if not path.is_file():
            if seed not in alone:
                alone[seed] = equipoise.fit(dataset, method=ALONE, seed=seed, progress=False, **options)
            run = equipoise.fit(dataset, method=METHODS[method], seed=seed, progress=False, **options)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, equipoise.diagnose(run, dataset, alone=alone[seed], progress=False).to_json())
        found.append(json.loads(path.read_text()))
    return found


def percent(value: Varied | None) -> str:
    return "-" if value is None else f"{100 * value.mean:.1f} ± {100 * value.deviation:.1f}"


def verdicts(name: str, found: Sequence[Spread], seconds: dict[str, float]) -> list[list[str]]:
    """Return a row per method."""
    return [
        [
            name,
            item.method,
            "; ".join(f"{headline} ({count}x)" for headline, count in item.verdicts.items()),
            percent(item.values[WHOLE].get("balanced_accuracy")),
            f"{item.values[WHOLE]['deviation'].mean:.2f}",
            f"{seconds[item.method]:.1f} s",
        ]
        for item in found
    ]


def gaps(item: Spread) -> list[list[str]]:
    """Return a row per modality."""
    keys = ("alone", "inside", "alone_probe", "inside_probe", "encoder_gap", "shapley")
    return [
        [
            item.method,
            name,
            *(percent(values.get(key)) for key in keys),
            ", ".join(f"{count}x {state}" for state, count in item.states[name].items()),
        ]
        for name, values in item.values.items()
        if name != WHOLE
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), help="data sets (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each method")
    arguments = parser.parse_args()
    heads = ["data", "method", "verdict", "balanced accuracy", "deviation", "diagnosis"]
    tables = [Table("Verdicts", heads)]
    columns = ["method", "modality", "alone", "inside", "probe alone", "probe inside", "lost by its encoder", "Shapley", "state"]
    started = time.perf_counter()
    for name in arguments.sets:
        item = SETS[name]
        data = item.open()
        options = {**item.folds(data), **item.options, "threads": 1}
        found = diagnose_all(name, item, data[0], options, arguments.seeds)
        seconds: dict[str, float] = {}
        for one in found:
            seconds[one["run"]["method"]["name"]] = max(one["seconds"], seconds.get(one["run"]["method"]["name"], 0.0))
        several = spreads(found)
        tables[0].rows += verdicts(name, several, seconds)
        tables.append(Table(f"{name}: what each modality reaches", columns, [row for one in several for row in gaps(one)]))
        print(f"{name}: {time.perf_counter() - started:.0f} s")
    report("verdicts", "Verdicts and capacity gaps on real data", tables, NOTES)


if __name__ == "__main__":
    main()
