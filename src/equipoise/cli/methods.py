"""``equipoise methods``."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from equipoise.cli.options import gather
from equipoise.data.schema import TASKS
from equipoise.methods.base import METHODS, Method, MethodCard


def run(arguments: argparse.Namespace, unknown: Sequence[str]) -> int:
    """List the methods or show one."""
    gather(arguments, unknown)
    console = Console()
    if arguments.markdown:
        print(_markdown())
    elif arguments.name is None:
        table = Table(title="methods", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for name in ("name", "acts on"):
            table.add_column(name, no_wrap=True)
        for name, width in (("tasks", 8), ("what it does", None), ("source", 14)):
            table.add_column(name, max_width=width)
        for name in METHODS.names():
            card = METHODS.get(name).card
            table.add_row(name, card.kind, _tasks(card), escape(card.summary), escape(card.venue))
        console.print(table)
        console.print("equipoise methods NAME shows the card of one")
    else:
        _print_card(METHODS.get(arguments.name), console)
    return 0


def _markdown() -> str:
    """Return the list of methods as it stands in the README."""
    rows = ["| method | acts on | tasks | what it does | source |", "|---|---|---|---|---|"]
    for name in METHODS.names():
        card = METHODS.get(name).card
        source = f"{card.venue}, [arXiv {card.arxiv}](https://arxiv.org/abs/{card.arxiv})" if card.arxiv else card.venue
        source = f"[{card.venue}]({card.link})" if card.link else source
        rows.append(f"| `{name}` | {card.kind} | {_tasks(card)} | {card.summary} | {source} |")
    return "\n".join(rows)


def _tasks(card: MethodCard) -> str:
    """Return the tasks of a method in the fewest words: classes stand for those of an order as well."""
    return "all" if card.tasks == TASKS else ", ".join(_SHORT[task] for task in card.tasks if task in _SHORT)


_SHORT = {"classification": "classes", "multilabel": "labels", "regression": "numbers"}


def _print_card(method: type[Method], console: Console) -> None:
    card = method.card
    console.print(f"[bold]{escape(method.name)}[/bold]  {escape(card.title)}", highlight=False)
    console.print(escape(card.summary), highlight=False)
    facts = {
        "formula": card.formula,
        "source": ", ".join(part for part in (card.authors, card.venue, card.arxiv and f"arXiv {card.arxiv}", card.link) if part),
        "acts on": card.kind,
        "cost": "; ".join(
            part for part in (f"{card.forwards:g} forward and {card.backwards:g} backward passes per batch", card.extra) if part
        ),
        "fusion": card.fusion or "any",
        "tasks": "all" if card.tasks == TASKS else ", ".join(card.tasks),
        "differs": card.differs,
    }
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value:
            table.add_row(f"[dim]{name}[/dim]", escape(value))
    console.print(table)
    fields = [item for item in dataclasses.fields(method) if "help" in item.metadata]
    if not fields:
        console.print("no hyper-parameters")
        return
    options = Table(title="hyper-parameters", title_justify="left")
    for name in ("option", "default", "range", "meaning"):
        options.add_column(name)
    for item in fields:
        bounds = item.metadata
        limits = [
            words.format(bounds[key])
            for key, words in (("low", ">= {:g}"), ("above", "> {:g}"), ("high", "<= {:g}"), ("below", "< {:g}"))
            if bounds[key] is not None
        ]
        limits += [", ".join(bounds["choices"])] if bounds["choices"] else []
        options.add_row(f"--method.{item.name}", str(item.default).lower(), ", ".join(limits), escape(bounds["help"]))
    console.print(options)
