"""Pictures of a model as inline SVG: pure functions from numbers to markup.

Lines differ by their dashes and not by colours alone. Values show when a mark is hovered over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from equipoise.report import svg
from equipoise.report.svg import LEFT, RIGHT, SERIES, WIDTH, Point, Scale, axis, picture, short, tag

_BAR = 15


def bars(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, Point]]]], mark: float | None = None) -> Markup:
    """Draw horizontal bars with intervals.

    Args:
        title: What they show.
        rows: Label of each group, and its bars: their names and values.
        mark: A value to mark by a vertical line, such as that of a guess.
    """
    ends = [end for _, values in rows for _, point in values for end in point if end is not None]
    x, ticks = axis([0.0, *ends, *([] if mark is None else [mark])], 4, WIDTH - 16)
    parts, top = [], 0.0
    for label, values in rows:
        if label:
            parts.append(svg.text(short(label, 48), 4, top + 12, class_="name"))
            top += 19
        for number, (name, (value, low, high)) in enumerate(values):
            parts.append(_bar(x, top, f"{label}, {name}" if name else label, (value, low, high), number))
            top += _BAR
        top += 8
    grid = [tag("line", x1=x(at), x2=x(at), y1=0, y2=top, class_="grid") for at in ticks]
    named = [svg.text(f"{at:g}", x(at), top + 12, class_="tick", text_anchor="middle") for at in ticks]
    if mark is not None:
        grid.append(tag("line", x1=x(mark), x2=x(mark), y1=0, y2=top, class_="mark"))
    grid.append(tag("line", x1=x(0), x2=x(0), y1=0, y2=top, class_="axis"))
    return picture(f"bars: {title}", top + 18, *grid, *parts, *named)


def _bar(x: Scale, top: float, name: str, point: Point, series: int) -> Markup:
    value, low, high = point
    if value is None:
        return tag("text", "not defined", x=x(0) + 4, y=top + 10, class_="tick")
    left, right, middle = min(x(0), x(value)), max(x(0), x(value)), top + _BAR / 2
    parts = [tag("rect", x=left, y=top + 2, width=max(right - left, 0.5), height=_BAR - 4, class_=svg.series(series))]
    words = f"{name}: {value:.3f}"
    if low is not None and high is not None:
        parts.append(tag("line", x1=x(low), x2=x(high), y1=middle, y2=middle, class_="reach"))
        parts += [tag("line", x1=x(end), x2=x(end), y1=middle - 3, y2=middle + 3, class_="reach") for end in (low, high)]
        words += f" ({low:.3f} to {high:.3f})"
    return tag("g", tag("title", words), *parts)


def stacks(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> Markup:
    """Draw parts of a whole as horizontal bars one behind the other.

    Args:
        title: What they show.
        rows: Label of each bar, and its parts: names and values; negative ones, which estimates of 0 may be, are left out.
    """
    totals = [sum(max(value, 0.0) for _, value in parts) for _, parts in rows]
    x, ticks = axis([0.0, *totals], 4, WIDTH - 16)
    drawn, top = [], 0.0
    for label, parts in rows:
        drawn.append(svg.text(short(label, 48), 4, top + 12, class_="name"))
        at = 0.0
        for number, (name, value) in enumerate(parts):
            if value > 0:
                words = tag("title", f"{label}, {name}: {value:.3f}")
                size = {"x": x(at), "y": top + 18, "width": x(at + value) - x(at), "height": 14}
                drawn.append(tag("rect", words, class_=svg.series(number), **size))
                at += value
        top += 40
    grid = [tag("line", x1=x(at), x2=x(at), y1=0, y2=top, class_="grid") for at in ticks]
    named = [svg.text(f"{at:g}", x(at), top + 12, class_="tick", text_anchor="middle") for at in ticks]
    return picture(f"stacked bars: {title}", top + 18, *grid, *drawn, *named)


def lines(
    title: str,
    at: Sequence[float],
    series: Mapping[str, Sequence[Point]],
    across: str,
    marks: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Draw lines, with a band where values have intervals and a gap where there is no value.

    Args:
        title: What they show.
        at: Places of the values on the horizontal axis, in order.
        series: Values of each line.
        across: What the horizontal axis is.
        marks: Places to mark by a vertical line, each with a name; lines are cut there.
    """
    height, bottom = 200, 164
    ends = [end for points in series.values() for point in points for end in point if end is not None]
    y, ticks = axis(ends or [0.0, 1.0], bottom, 10)
    x, places = axis([min(at), max(at)], LEFT, WIDTH - RIGHT, exact=True)
    if all(isinstance(place, int) for place in at):
        places = [place for place in places if place.is_integer()]
    parts = [tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(tick), y2=y(tick), class_="grid") for tick in ticks]
    parts += [svg.text(f"{tick:g}", LEFT - 4, y(tick) + 4, class_="tick", text_anchor="end") for tick in ticks]
    parts += [svg.text(f"{place:g}", x(place), bottom + 14, class_="tick", text_anchor="middle") for place in places]
    parts.append(svg.text(across, WIDTH - RIGHT, height - 6, class_="tick", text_anchor="end"))
    for place, name in marks:
        parts.append(tag("line", tag("title", name), x1=x(place), x2=x(place), y1=10, y2=bottom, class_="mark"))
    starts = [place for place, _ in marks]
    for number, (name, points) in enumerate(series.items()):
        drawn = [tag("title", name)]
        for first, end in zip([-math.inf, *starts], [*starts, math.inf], strict=True):
            piece = [(place, point) for place, point in zip(at, points, strict=True) if first <= place < end]
            drawn += _line(piece, x, y, name)
        parts.append(tag("g", *drawn, class_=f"{svg.series(number)} d{number // SERIES + number % SERIES}"))
    return picture(f"lines: {title}", height, *parts)


def _line(points: Sequence[tuple[float, Point]], x: Scale, y: Scale, name: str) -> list[Markup]:
    known = [(place, value, low, high) for place, (value, low, high) in points if value is not None]
    band = [(x(place), y(low), y(high)) for place, _, low, high in known if low is not None and high is not None]
    parts = []
    if len(band) > 1:
        edge = [f"{place:.1f},{high:.1f}" for place, _, high in band] + [f"{place:.1f},{low:.1f}" for place, low, _ in band[::-1]]
        parts.append(tag("polygon", points=" ".join(edge), class_="band"))
    if len(known) > 1:
        path = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value, *_ in known)
        parts.append(tag("polyline", points=path, class_="line"))
    if len(known) <= 30:  # more marks would hide the line
        parts += [
            tag("circle", tag("title", f"{name} at {place:g}: {value:.3f}"), cx=x(place), cy=y(value), r=3)
            for place, value, *_ in known
        ]
    return parts


def reliability(
    title: str, confidence: Sequence[float | None], accuracy: Sequence[float | None], samples: Sequence[int]
) -> Markup:
    """Draw how often predictions are right against how sure they are; the area of a mark is its share of the samples.

    Args:
        title: What is shown.
        confidence: Mean confidence of each bin; None for an empty one.
        accuracy: Share of right predictions of each bin.
        samples: Samples of each bin.
    """
    size = 240
    x, ticks = axis([0.0, 1.0], LEFT, LEFT + size)
    y, _ = axis([0.0, 1.0], size + 10, 10)
    parts = [tag("line", x1=LEFT, x2=LEFT + size, y1=y(tick), y2=y(tick), class_="grid") for tick in ticks]
    parts += [svg.text(f"{tick:g}", LEFT - 4, y(tick) + 4, class_="tick", text_anchor="end") for tick in ticks]
    parts += [svg.text(f"{tick:g}", x(tick), size + 24, class_="tick", text_anchor="middle") for tick in ticks]
    parts.append(tag("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="mark"))
    parts.append(svg.text("confidence", x(1), size + 38, class_="tick", text_anchor="end"))
    total = sum(samples) or 1
    known = [(sure, right, count) for sure, right, count in zip(confidence, accuracy, samples, strict=True) if count]
    drawn = [
        tag(
            "circle",
            tag("title", f"confidence {sure:.3f}, right {right:.3f}, {count} samples"),
            cx=x(sure),
            cy=y(right),
            r=3 + 12 * math.sqrt(count / total),
        )
        for sure, right, count in known
        if sure is not None and right is not None
    ]
    return picture(f"reliability curve: {title}", size + 44, *parts, tag("g", *drawn, class_="s0 dots"))


def against(title: str, true: Sequence[float], predicted: Sequence[float], named: str) -> Markup:
    """Draw predicted numbers against true ones, with the line on which they are equal.

    Args:
        title: What is shown.
        true: True numbers.
        predicted: Predicted ones.
        named: What the numbers are.
    """
    size = 240
    ends = [*true, *predicted] or [0.0, 1.0]
    x, ticks = axis([min(ends), max(ends)], LEFT, LEFT + size)
    y, _ = axis([min(ends), max(ends)], size + 10, 10)
    parts = [tag("line", x1=LEFT, x2=LEFT + size, y1=y(tick), y2=y(tick), class_="grid") for tick in ticks]
    parts += [svg.text(f"{tick:g}", LEFT - 4, y(tick) + 4, class_="tick", text_anchor="end") for tick in ticks]
    parts += [svg.text(f"{tick:g}", x(tick), size + 24, class_="tick", text_anchor="middle") for tick in ticks]
    parts.append(tag("line", x1=x(ticks[0]), y1=y(ticks[0]), x2=x(ticks[-1]), y2=y(ticks[-1]), class_="mark"))
    parts.append(svg.text(f"{short(named, 30)}, true", x(ticks[-1]), size + 38, class_="tick", text_anchor="end"))
    drawn = [
        tag("circle", tag("title", f"true {truth:.4g}, predicted {said:.4g}"), cx=x(truth), cy=y(said), r=3)
        for truth, said in zip(true, predicted, strict=True)
    ]
    return picture(f"predicted against true numbers: {title}", size + 44, *parts, tag("g", *drawn, class_="s0 dots"))


def heat(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    texts: Sequence[Sequence[str]],
) -> Markup:
    """Draw a table of coloured cells; the colour is strongest at the value that is largest, of another hue below 0.

    Columns are numbered where they are many, as their rows are.

    Args:
        title: What is shown.
        rows: Names of the rows.
        columns: Names of the columns.
        values: Values of the cells; None leaves one empty.
        texts: What stands in the cells, where there is room.
    """
    left, top = 10 + 6 * min(16, max(map(len, rows), default=0)), 20
    width = min((WIDTH - left - 2) / max(len(columns), 1), 64)
    height = min(max(width, 20.0), 28.0) if len(rows) <= 30 else 8.0
    most = max((abs(value) for row in values for value in row if value is not None), default=0.0) or 1.0
    parts = []
    letters = int(width // 6.5)
    named = letters >= 5 or all(len(name) <= letters for name in columns)
    for number, name in enumerate(columns):
        if width >= 14:
            shown = short(name, letters) if named else str(number + 1)
            words = tag("title", name)
            parts.append(svg.text(shown, left + (number + 0.5) * width, 14, words, class_="tick", text_anchor="middle"))
    for line, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = top + line * height
        if height > 8:
            shown = name if named or columns != rows else f"{line + 1} {name}"
            parts.append(svg.text(short(shown, 16), left - 5, y + height / 2 + 4, class_="tick", text_anchor="end"))
        for number, value in enumerate(row):
            if value is None or value == 0:
                continue
            x, text = left + number * width, texts[line][number]
            words = tag("title", f"{name}, {columns[number]}: {text}")
            tone = f"{0.85 * abs(value) / most:.2f}"
            sign = "cold" if value < 0 else "hot"
            parts.append(tag("rect", words, x=x, y=y, width=width - 1, height=height - 1, class_=sign, fill_opacity=tone))
            if len(text) <= letters and height > 8:
                parts.append(svg.text(text, x + width / 2, y + height / 2 + 4, class_="inside", text_anchor="middle"))
    frame = tag("rect", x=left, y=top, width=width * len(columns), height=height * len(rows), class_="frame")
    return picture(f"coloured cells: {title}", top + height * len(rows) + 4, frame, *parts)
