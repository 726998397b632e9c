"""What a page is made of: sections of words, tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from markupsafe import Markup

from equipoise.report.svg import Point


@dataclass(frozen=True)
class Cell:
    """What stands in a table.

    Attributes:
        text: What is shown.
        value: What is sorted by, where it is a number.
    """

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """A table, whose first column names the rows.

    Attributes:
        caption: What it shows.
        columns: Heads of the columns.
        rows: Cells.
        search: Whether rows may be filtered by words.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    search: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture with the same numbers in a table.

    Attributes:
        title: What it shows.
        picture: SVG.
        table: The numbers.
        legend: Names of the series, in the order of their colours.
        words: What to see in it.
        wide: Whether it takes the room of two where there is room.
    """

    kind: ClassVar[str] = "figure"
    title: str
    picture: Markup
    table: Table
    legend: tuple[str, ...] = ()
    words: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    kind: ClassVar[str] = "words"
    text: str


@dataclass(frozen=True)
class Points:
    """A list of things, each a term and what is said of it."""

    kind: ClassVar[str] = "points"
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Commands:
    """Lines for a terminal."""

    kind: ClassVar[str] = "commands"
    lines: tuple[str, ...]


Block = Table | Figure | Words | Points | Commands


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: Its name within links.
        title: Its head.
        intro: What it answers.
        blocks: Its content.
    """

    name: str
    title: str
    intro: str
    blocks: Sequence[Block] = field(default_factory=tuple)


@dataclass(frozen=True)
class Article:
    """Sections about one thing, such as a run.

    Attributes:
        name: Its name within links.
        short: What links to it say.
        title: Its head: the thing, and what was found.
        intro: What it is about.
        sections: Its content.
        good: Whether what was found is good news; None for neither.
    """

    name: str
    short: str
    title: str
    intro: str
    sections: Sequence[Section]
    good: bool | None = None


def number(value: float | None) -> str:
    """Return a number as text with three decimals; a dash where there is none.

    Example:
        >>> number(0.12345), number(None)
        ('0.123', '-')
    """
    return "-" if value is None else f"{value:.3f}"


def within(estimate: Mapping[str, float | None]) -> str:
    """Return an estimate as text with its interval; a dash where there is none.

    Example:
        >>> within({"value": 0.5, "low": 0.4, "high": 0.625})
        '0.500 (0.400 to 0.625)'
    """
    if estimate["value"] is None:
        return number(None)
    return f"{number(estimate['value'])} ({number(estimate['low'])} to {number(estimate['high'])})"


def cell(value: Any) -> Cell:
    """Return the cell of a text, a count, a number or an estimate; one that is made already as it is.

    Example:
        >>> cell(3), cell("held").value, cell(0.5).text
        (Cell(text='3', value=3), None, '0.500')
    """
    if isinstance(value, Cell):
        return value
    if isinstance(value, Mapping):
        return Cell(within(value), value["value"])
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return Cell("-" if value is None else str(value))
    return Cell(str(value), value) if isinstance(value, int) else Cell(number(value), value)


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], search: bool = False) -> Table:
    """Return a table of values, see :func:`cell`."""
    return Table(caption, tuple(columns), tuple(tuple(map(cell, row)) for row in rows), search)


def point_of(value: Mapping[str, float | None] | float | None) -> Point:
    """Return what a picture draws of a number: with the ends of its interval where it has one."""
    return (value["value"], value["low"], value["high"]) if isinstance(value, Mapping) else (value, None, None)
