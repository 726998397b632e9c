"""How much diagnoses of the same method vary from run to run: what an interval over samples cannot show."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

Data = Mapping[str, Any]

CAPACITY = ("alone", "inside", "gap", "alone_probe", "inside_probe", "encoder_gap")
"""Of each modality: what :class:`~equipoise.diagnosis.capacity.Capacity` calls so."""

WHOLE = "whole model"


@dataclass(frozen=True)
class Varied:
    """A number over several runs.

    Attributes:
        mean: Its mean.
        deviation: Its standard deviation (that of a sample, divided by one less than the number of runs).
        low: The smallest.
        high: The largest.
    """

    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """What several runs of one method on the same data have in common, and how far they are apart.

    Attributes:
        method: Name of the method.
        data: Name of the data.
        runs: Number of runs.
        seeds: Their seeds.
        splits: Number of different splits among them.
        verdicts: How many runs got each verdict.
        states: Per modality how many runs found it in each state (``starved``, ``held``, ``over-fed``, ``unclear``).
        key: What models are compared by, such as ``balanced_accuracy``.
        score: The same in words.
        values: Per modality the numbers of :data:`CAPACITY` and ``shapley`` (absent by mask), as scores; under ``whole model``
            the score of the fused output (``balanced_accuracy``, ``r2``), its main metric and the equilibrium ``deviation``.
    """

    method: str
    data: str
    runs: int
    seeds: tuple[int, ...]
    splits: int
    verdicts: dict[str, int]
    states: dict[str, dict[str, int]]
    key: str
    score: str
    values: dict[str, dict[str, Varied]]


def spreads(found: Sequence[Data]) -> list[Spread]:
    """Gather the runs of the same method (with the same hyper-parameters) on the same data, and say how they vary.

    Args:
        found: What :meth:`equipoise.diagnosis.diagnose.Diagnosis.to_json` returned for each run.

    Returns:
        One for each method and data set of which there are at least two runs, in the order of the first.

    Example:
        >>> import equipoise
        >>> runs = [equipoise.fit("wisconsin", epochs=1, seed=seed, progress=False) for seed in (0, 1)]
        >>> (one,) = spreads([equipoise.diagnose(run, "wisconsin", progress=False).to_json() for run in runs])
        >>> one.method, one.runs, one.seeds, sorted(one.values)
        ('joint', 2, (0, 1), ['error', 'mean', 'whole model', 'worst'])
    """
    groups: dict[str, list[Data]] = {}
    for item in found:
        key = json.dumps([item["run"]["method"], item["data"]["fingerprint"]], sort_keys=True)
        groups.setdefault(key, []).append(item)
    return [_spread(group) for group in groups.values() if len(group) > 1]


def _spread(group: Sequence[Data]) -> Spread:
    values: dict[str, dict[str, list[float]]] = {}
    states: dict[str, Counter[str]] = {}
    for item in group:
        for place, name, value in _numbers(item):
            if value is not None:
                values.setdefault(place, {}).setdefault(name, []).append(value)
        for capacity in item["capacity"]:
            states.setdefault(capacity["modality"], Counter())[capacity["state"]] += 1
    return Spread(
        method=group[0]["run"]["method"]["name"],
        data=group[0]["data"]["name"],
        runs=len(group),
        seeds=tuple(item["run"]["options"]["seed"] for item in group),
        splits=len({item["data"]["split_hash"] for item in group}),
        verdicts=dict(Counter(item["verdict"]["headline"] for item in group)),
        states={name: dict(counts) for name, counts in states.items()},
        key=group[0]["terms"]["key"],
        score=group[0]["terms"]["score"],
        values={
            place: {name: _varied(several) for name, several in numbers.items() if len(several) > 1}
            for place, numbers in values.items()
        },
    )


def _numbers(item: Data) -> Iterator[tuple[str, str, float | None]]:
    """All numbers of a run that are compared: where they belong, what they are, their value."""
    masked = item["coalitions"]["mask"]
    for capacity in item["capacity"]:
        for name in CAPACITY:
            yield capacity["modality"], name, capacity[name]["value"]
        yield capacity["modality"], "shapley", masked["shapley"][capacity["modality"]]["value"]
    terms = item["terms"]
    yield WHOLE, terms["key"], item["generalisation"]["fused"]["score"]["value"]
    if terms["main"] != terms["key"]:
        yield WHOLE, terms["main"], item["outputs"]["fused"]["metrics"][terms["main"]]
    yield WHOLE, "deviation", masked["deviation"]["value"]


def _varied(values: Sequence[float]) -> Varied:
    return Varied(mean(values), stdev(values), min(values), max(values))
