"""The section about what outputs tell, in nats, and what of it holds on new samples. Pure functions of plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.report import charts
from equipoise.report.blocks import Block, Figure, Section, number, point_of, table

Data = Mapping[str, Any]
Rows = list[tuple[Any, ...]]


def information(found: Data) -> Section:
    """Return the section about information and what holds on new samples."""
    told, terms = found["information"], found["terms"]
    outputs = {"fused": told["fused"], **told["modalities"]}
    blocks: list[Block] = []
    if told["label_entropy"] is None:
        rows: Rows = [(name, item["neighbours"]) for name, item in outputs.items()]
        drawn = [(name, [("", point_of(value))]) for name, value in rows]
        title = "Information of each output about the target by near samples, in nats"
        blocks.append(Figure(title, charts.bars(title, drawn), table(title, ("output", "information"), rows)))
        intro = "How much the outputs tell about the target, in nats, and what holds on new samples."
    else:
        blocks += _budgets(told, outputs, terms)
        intro = f"How much the outputs tell about {terms['a']}, in nats, and how much of it is said twice."
    if told["pairs"]:
        known = 3 if told["label_entropy"] is None else 4
        columns = ("first", "second", "information between them", "told together")
        pairs = [(item["first"], item["second"], item["between"], item["together"]["budget"]) for item in told["pairs"]]
        blocks.append(table("Pairs", columns[:known], [pair[:known] for pair in pairs]))
    fits = found["generalisation"].items()
    heads = ("output", "score in training", "score", "loss in training", "loss", f"loss above {terms['constant']}")
    rows = [(name, item["train_score"], item["score"], item["train_loss"], item["loss"], item["excess"]) for name, item in fits]
    blocks.append(table("What holds on new samples", heads, rows))
    return Section("information", "Information" if told["label_entropy"] is None else "Information and budgets", intro, blocks)


def _budgets(told: Data, outputs: Data, terms: Data) -> list[Block]:
    """What outputs are worth as predictions, and what pairs of them say twice."""
    entropy = told["label_entropy"]
    title = f"Information of each output about {terms['a']}, in nats"
    rows: Rows = [(name, item["budget"], item["neighbours"], item["temperature"], item["raw"]) for name, item in outputs.items()]
    drawn = [(name, [("", point_of(item["budget"]))]) for name, item in outputs.items()]
    shown = table(title, ("output", "budget", "by near samples", "temperature", "budget unscaled"), rows)
    words = f"The vertical line marks all that there is to tell: {terms['holds']} {number(entropy)} nats."
    blocks: list[Block] = [Figure(title, charts.bars(title, drawn, entropy), shown, (), words)]
    parts = {"redundant": "both say", "unique_first": "only the first", "unique_second": "only the second"}
    parts["synergistic"] = "only both together"
    pairs = [pair for pair in told["pairs"] if pair["parts"]]
    if pairs:
        title = "What pairs tell: said twice, by one alone, or only together (nats)"
        broja = [(f"{pair['first']}, {pair['second']}", pair["parts"]["broja"]) for pair in pairs]
        stacked = [(name, [(words, values[key]) for key, words in parts.items()]) for name, values in broja]
        all_ways = [
            (f"{pair['first']}, {pair['second']}", way, *(values[key] for key in parts))
            for pair in pairs
            for way, values in pair["parts"].items()
        ]
        shown = table(title, ("pair", "decomposition", *parts.values()), all_ways)
        words = f"Drawn: the decomposition broja, of the {terms['many']} that both name by themselves."
        blocks.append(Figure(title, charts.stacks(title, stacked), shown, tuple(parts.values()), words))
    return blocks
