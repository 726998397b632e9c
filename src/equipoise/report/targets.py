"""The sections about labels and numbers one by one, where classes have their confusion matrices. Pure functions of plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report import charts
from equipoise.report.blocks import Block, Figure, Section, table

Data = Mapping[str, Any]

FIGURES = 12
"""Where there are more numbers and outputs than these together, predictions are drawn of the fused output alone."""


def report_table(found: Data) -> list[tuple[Any, ...]]:
    """Return precision, recall and F1 of the fused output, and F1 of the others, by class or label."""
    fused, *others = (item["classes"] for item in found["outputs"].values())
    return [
        (row["class"], row["support"], row["precision"], row["recall"], row["f1"], *(own[place]["f1"] for own in others))
        for place, row in enumerate(fused)
    ]


def report_heads(found: Data) -> tuple[str, ...]:
    """Return the heads of that table."""
    _, *others = found["outputs"]
    return (found["terms"]["one"], "samples", "precision", "recall", "F1", *(f"F1 of {name}" for name in others))


def labels(found: Data) -> Section:
    """Return the section about labels."""
    rows = report_table(found)
    outputs = tuple(found["outputs"])
    title = "F1 of each label"
    names, values = [row[0] for row in rows], [row[4:] for row in rows]
    picture = charts.heat(title, names, outputs, values, [[f"{value:.2f}" for value in row] for row in values])
    numbers = table(title, ("label", *outputs), [(name, *row) for name, row in zip(names, values, strict=True)])
    blocks: list[Block] = [
        Figure(title, picture, numbers, (), "The fused output beside each modality's own."),
        table("Labels: the fused output, and each modality's own", report_heads(found), rows),
    ]
    intro = (
        "How well each label is told, by the fused output and by each modality's own. A label is named from probability 1/2 on."
    )
    return Section("labels", "Labels one by one", intro, blocks)


def residuals(found: Data) -> Section:
    """Return the section about predicted numbers."""
    told, outputs = found["residuals"], found["outputs"]
    rows = [
        (item["class"], name, item["support"], item["r2"], item["mae"], item["rmse"], item["correlation"])
        for name, output in outputs.items()
        for item in output["classes"]
    ]
    heads = ("number", "output", "samples", "R²", "mean absolute error", "root mean squared error", "correlation")
    blocks: list[Block] = [table("Numbers: the fused output, and each modality's own", heads, rows)]
    for item in told:
        if item["output"] == "fused" or len(told) <= FIGURES:
            title = f"Predicted against true {item['number']}: {item['output']}"
            points = list(zip(item["true"], item["predicted"], strict=True))
            picture = charts.against(title, item["true"], item["predicted"], item["number"])
            words = "On the line it is exact. A flat cloud says that predictions keep near the mean."
            blocks.append(Figure(title, picture, table(title, ("true", "predicted"), points), (), words))
    numbers = dict.fromkeys(item["number"] for item in told)
    blocks += [_errors(number, [item for item in told if item["number"] == number]) for number in numbers]
    spread = [(item["number"], item["output"], item["mean"], *item["quantiles"]) for item in told]
    blocks.append(table("Residuals, predicted minus true", ("number", "output", "mean", "5 %", "median", "95 %"), spread))
    intro = "Where predictions are off, by the fused output and by each modality's own, in the units of the numbers."
    return Section("residuals", "Predicted and true numbers", intro, blocks)


def _errors(number: str, told: list[Data]) -> Figure:
    """The mean absolute error of a number, from the tenth of the samples with the smallest targets to that with the largest."""
    title = f"Mean absolute error of {number} by tenth of its targets"
    most = max(len(item["error"]) for item in told)
    at = list(range(1, most + 1))
    columns = {item["output"]: [*item["error"], *[None] * (most - len(item["error"]))] for item in told}
    lines = {name: [(value, None, None) for value in values] for name, values in columns.items()}
    middle = max((item["middle"] for item in told), key=len)
    rows = [(place, middle[place - 1], *(values[place - 1] for values in columns.values())) for place in at]
    shown = table(title, ("tenth", "mean target", *columns), rows)
    words = "From the samples with the smallest targets to those with the largest."
    return Figure(title, charts.lines(title, at, lines, "tenth of the samples"), shown, tuple(columns), words)
