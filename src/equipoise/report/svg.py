"""What pictures are made of: elements of SVG, scales and axes.

Colours are classes ``s0`` .. ``s7`` of the style sheet, a palette that colour-blind readers can tell apart, so that a picture
follows light and dark. Every text is escaped by :class:`markupsafe.Markup`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

WIDTH = 360
"""Width of every picture; it is shown larger or smaller, as there is room."""

SERIES = 8
"""How many colours there are; more series begin again at the first."""

LEFT, RIGHT = 46, 12
"""Room beside a picture with a vertical axis."""

Point = tuple[float | None, float | None, float | None]
"""A value with the ends of its interval."""


def tag(name: str, *content: str, **attributes: object) -> Markup:
    """Return an element, with everything in it escaped that is not markup.

    Args:
        name: Name of the element.
        content: What is in it.
        attributes: Its attributes; ``_`` stands for ``-``, and one at the end is dropped.

    Example:
        >>> tag("text", "a < b", x=1.25, class_="name")
        Markup('<text x="1.2" class="name">a &lt; b</text>')
    """
    words = [
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), f"{value:.1f}" if isinstance(value, float) else value)
        for key, value in attributes.items()
    ]
    return Markup("<{0}{1}>{2}</{0}>").format(name, Markup("").join(words), Markup("").join(content))


def short(text: str, most: int) -> str:
    """Cut a text to a length.

    Example:
        >>> short("malignant", 5), short("benign", 6)
        ('mali…', 'benign')
    """
    return text if len(text) <= most else text[: max(most - 1, 1)] + "…"


def distinct(names: Sequence[str], most: int) -> list[str]:
    """Cut names to a length so that different ones stay different: those that begin alike keep their ends, or get numbers.

    Example:
        >>> distinct(["aug heads=1", "aug heads=2", "joint"], 7)
        ['au…ds=1', 'au…ds=2', 'joint']
    """
    cut = [short(name, most) for name in names]
    ends = [one if cut.count(one) == 1 else _ends(name, most) for one, name in zip(cut, names, strict=True)]
    found = []
    for one, name in zip(ends, names, strict=True):
        alike = sorted(other for other, end in zip(names, ends, strict=True) if end == one)
        found.append(one if len(alike) == 1 else f"{short(name, most - 3)} {alike.index(name) + 1}")
    return found


def _ends(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most // 3]}…{name[len(name) - most + most // 3 + 1 :]}"


class Scale:
    """Turns values into places."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self._low, self._first, self._slope = low, first, (last - first) / (high - low)

    def __call__(self, value: float) -> float:
        return self._first + (value - self._low) * self._slope


def axis(values: Sequence[float], first: float, last: float, exact: bool = False) -> tuple[Scale, list[float]]:
    """Return the scale of an axis and its ticks at round numbers; ``exact`` begins and ends it at the values themselves."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if (high - low) / (power * factor) <= 5)
    if not exact:
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    start, count = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Scale(low, high, first, last), [round(number * step, 10) for number in range(start, count + 1)]


def series(number: int) -> str:
    """Return the class of the colour of a series."""
    return f"s{number % SERIES}"


def text(words: str, x: float, y: float, *more: str, **attributes: object) -> Markup:
    """Return a text at a place, with more elements inside it such as a title."""
    return tag("text", words, *more, x=float(x), y=float(y), **attributes)


def picture(title: str, height: float, *content: str) -> Markup:
    """Return a picture of a height; its title says what it shows to those who cannot see it."""
    words = f"{title}; the numbers are in the table that follows"
    return tag("svg", *content, viewBox=f"0 0 {WIDTH} {math.ceil(height)}", role="img", aria_label=words)
