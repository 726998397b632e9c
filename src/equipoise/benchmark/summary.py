"""From the rows of a comparison to one line per method: means, spreads, paired tests and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from equipoise.evaluation.significance import PairedTest, corrected_paired_test, holm

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """What a comparison says about one method.

    Attributes:
        name: The method; with the hyper-parameters that differ, where a method stands in it more than once.
        runs: Number of runs.
        scores: Mean and standard deviation over runs, by output (``fused`` and each modality) and metric.
        against: Paired tests on the fused macro-F1, by reference, with p-values adjusted for the number of methods.
        time: Mean wall time relative to the reference method; None without it.
        inert: Runs in which the method changed nothing.
    """

    name: str
    runs: int
    scores: dict[str, dict[str, tuple[float, float]]]
    against: dict[str, PairedTest]
    time: float | None
    inert: int


def lines(rows: Sequence[Row], reference: str = "joint", metric: str = "macro_f1") -> list[Line]:
    """Summarise a comparison.

    Each method is compared with the reference method and, where ``unimodal`` was run, with the modality that is best alone
    on average over all runs: a choice in favour of that reference.

    Args:
        rows: Rows of finished runs.
        reference: Name of the method to compare with.
        metric: The metric that is tested.

    Returns:
        A line per method, in the order in which methods first occur.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_label(row, rows), []).append(row)
    references = _references(groups, reference, metric)
    tests: dict[str, dict[str, PairedTest]] = {name: {} for name in groups}
    for words, scores in references.items():
        found = {name: _test(group, scores, metric) for name, group in groups.items() if name != words}
        known = {name: test for name, test in found.items() if test is not None}
        for (name, test), adjusted in zip(known.items(), holm([test.p for test in known.values()]), strict=True):
            tests[name][words] = PairedTest(test.difference, test.low, test.high, adjusted)
    base = mean(row["seconds"] for row in groups[reference]) if reference in groups else None
    return [
        Line(
            name,
            len(group),
            _scores(group),
            tests[name],
            mean(row["seconds"] for row in group) / base if base else None,
            sum(bool(row["inert"]) for row in group),
        )
        for name, group in groups.items()
    ]


def _label(row: Row, rows: Sequence[Row]) -> str:
    """The method's name, with the hyper-parameters in which runs of that name differ."""
    name: str = row["method"]["name"]
    others = [other["method"] for other in rows if other["method"]["name"] == name]
    differing = [key for key in row["method"] if any(other.get(key) != row["method"][key] for other in others)]
    return name + "".join(f" {key}={row['method'][key]}" for key in differing)


def _place(row: Row) -> tuple[int, int]:
    return row["fold"], row["seed"]


def _references(groups: Mapping[str, Sequence[Row]], reference: str, metric: str) -> dict[str, dict[tuple[int, int], float]]:
    found = {}
    if reference in groups:
        found[reference] = {_place(row): row["test"]["fused"][metric] for row in groups[reference]}
    if "unimodal" in groups:
        alone = groups["unimodal"]
        modalities = [name for name in alone[0]["test"] if name != "fused" and all(name in row["test"] for row in alone)]
        best = max(modalities, key=lambda name: mean(row["test"][name][metric] for row in alone))
        found[f"{best} alone"] = {_place(row): row["test"][best][metric] for row in alone}
    return found


def _test(group: Sequence[Row], scores: Mapping[tuple[int, int], float], metric: str) -> PairedTest | None:
    pairs = [(row["test"]["fused"][metric], scores[_place(row)]) for row in group if _place(row) in scores]
    if len(pairs) < 2:
        return None
    samples = group[0]["samples"]
    train = samples["train"] + samples["validation"]
    return corrected_paired_test([pair[0] for pair in pairs], [pair[1] for pair in pairs], train, samples["test"])


def _scores(group: Sequence[Row]) -> dict[str, dict[str, tuple[float, float]]]:
    scores: dict[str, dict[str, tuple[float, float]]] = {}
    for output, metrics in group[0]["test"].items():
        for name in metrics:
            values = [row["test"][output][name] for row in group if row["test"].get(output, {}).get(name) is not None]
            if values and name != "samples":
                scores.setdefault(output, {})[name] = (mean(values), stdev(values) if len(values) > 1 else 0.0)
    return scores
