"""The section that shows several diagnosed runs side by side. Pure functions of their plain data."""

from __future__ import annotations

from collections.abc import Sequence

from equipoise.diagnosis.spread import WHOLE, Spread, Varied, spreads
from equipoise.report import charts
from equipoise.report.blocks import Block, Cell, Figure, Section, Table, Words, point_of, table, within
from equipoise.report.sections import Data, metrics_of


def comparison(found: Sequence[Data]) -> Section:
    """Return the section that shows runs side by side.

    Args:
        found: Their diagnoses as plain data.
    """
    names = titles(found)
    metrics = {key: words for item in found for key, words in metrics_of(item).items()}
    rows = [
        (
            name,
            item["data"]["name"],
            item["verdict"]["headline"],
            *(item["outputs"]["fused"]["metrics"].get(key) for key in metrics),
            item["coalitions"]["mask"]["deviation"],
            float(item["run"]["seconds"]),
        )
        for name, item in zip(names, found, strict=True)
    ]
    heads = ("run", "data", "verdict", *metrics.values(), "deviation", "seconds")
    blocks: list[Block] = [table("Fused output on the test part", heads, rows)]
    modalities = list(dict.fromkeys(item["modality"] for run in found for item in run["capacity"]))
    for key, words in (("inside", "own output"), ("inside_probe", "linear probe")):
        scores = [{item["modality"]: (item[key], item["state"]) for item in run["capacity"]} for run in found]
        title = f"What each modality reaches inside, by {words}"
        drawn = [
            (name, [(run, point_of(score[name][0] if name in score else None)) for run, score in zip(names, scores, strict=True)])
            for name in modalities
        ]
        shown = [
            (name, *(f"{within(score[name][0])}, {score[name][1]}" if name in score else "-" for score in scores))
            for name in modalities
        ]
        blocks.append(Figure(title, charts.bars(title, drawn), table(title, ("modality", *names), shown), tuple(names)))
    blocks += [_spread(item) for item in spreads(found)]
    if len({(item["data"]["fingerprint"], item["data"]["split_hash"]) for item in found}) > 1:
        blocks.append(Words("The runs differ in their data or split, so their numbers cannot be compared directly."))
    return Section("comparison", "Runs side by side", "The main numbers of all runs; each run follows in full.", blocks)


def _spread(item: Spread) -> Table:
    heads = {"alone": "alone", "inside": "inside", "inside_probe": "inside by probe", "encoder_gap": "lost by its encoder"}
    heads |= {"shapley": "Shapley value"}
    rows = [
        (
            name,
            ", ".join(f"{state} {count}x" for state, count in item.states[name].items()),
            *(_varied(values.get(key)) for key in heads),
        )
        for name, values in item.values.items()
        if name != WHOLE
    ]
    whole = item.values[WHOLE]
    verdicts = "; ".join(f"{headline} ({count}x)" for headline, count in item.verdicts.items())
    splits = "one split" if item.splits == 1 else f"{item.splits} splits"
    caption = (
        f"{item.method} on {item.data}: mean ± standard deviation over {item.runs} runs on {splits}. Verdicts: {verdicts}. Fused "
        f"{item.score} {_varied(whole.get(item.key)).text}, equilibrium deviation "
        f"{_varied(whole.get('deviation')).text}"
    )
    return table(caption, ("modality", "state", *heads.values()), rows)


def _varied(value: Varied | None) -> Cell:
    return Cell("-") if value is None else Cell(f"{value.mean:.3f} ± {value.deviation:.3f}", value.mean)


def titles(found: Sequence[Data]) -> list[str]:
    """Return a name of each run by which readers can tell them apart: its method, and its folder where methods repeat."""
    methods = [item["run"]["method"]["name"] for item in found]
    return [
        name if methods.count(name) == 1 else f"{name} ({item['run']['folder'] or place})"
        for place, (name, item) in enumerate(zip(methods, found, strict=True), start=1)
    ]
