"""Pictures of many methods side by side as inline SVG, readable with forty of them: pure functions from numbers to markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from markupsafe import Markup

from equipoise.evaluation.significance import cliques
from equipoise.report import svg
from equipoise.report.svg import LEFT, RIGHT, WIDTH, Point, Scale, axis, distinct, picture, tag

_ROW, _LETTER = 16, 6.0
_NAME = 18
"""Letters of a name beside a picture; hovering shows all of it."""
_STEM = 15
"""Letters of a name in a critical-difference diagram, which has names on both sides."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


def dots(title: str, rows: Sequence[tuple[str, Point]], mark: Point = (None, None, None)) -> Markup:
    """Draw one value with its interval per row.

    Args:
        title: What they show.
        rows: Name and value of each row.
        mark: A value to compare with, drawn as a vertical line with its interval as a band.
    """
    low, high = _limits([*(point for _, point in rows), mark])
    left, top = _room([name for name, _ in rows]), 18
    x, ticks = axis([low, high], left, WIDTH - RIGHT)
    bottom = top + _ROW * len(rows)
    parts = [tag("line", x1=x(at), x2=x(at), y1=top, y2=bottom, class_="grid") for at in ticks]
    for y in (top - 6, bottom + 13):
        parts += [svg.text(f"{at:g}", x(at), y, class_="tick", text_anchor="middle") for at in ticks]
    value, *ends = mark
    if value is not None:
        if None not in ends:
            start, stop = (x(min(max(float(end or 0), low), high)) for end in ends)
            parts.append(tag("rect", x=start, y=top, width=stop - start, height=bottom - top, class_="zone"))
        parts.append(tag("line", tag("title", f"{value:.3f}"), x1=x(value), x2=x(value), y1=top, y2=bottom, class_="mark"))
    shown = distinct([name for name, _ in rows], _NAME)
    for number, (name, point) in enumerate(rows):
        middle = top + _ROW * (number + 0.5)
        drawn: list[str] = [svg.text(shown[number], left - 8, middle + 4, text_anchor="end")]
        if point[0] is None:
            drawn.append(svg.text("not known", left + 4, middle + 4, class_="tick"))
        else:
            drawn += _interval(x, point, middle, low, high)
            drawn.append(tag("circle", cx=x(point[0]), cy=middle, r=4))
        parts.append(tag("g", tag("title", f"{name}: {_said(point)}"), *drawn, class_="s0"))
    return picture(f"dots: {title}", bottom + 20, *parts)


def scatter(title: str, points: Sequence[tuple[str, float, Point]], across: str) -> Markup:
    """Draw values with their intervals against a cost; the cost's axis is logarithmic where it covers much.

    Names stand beside the points where there is room; other points are numbered, and their names listed below.

    Args:
        title: What is shown.
        points: Name, cost and value of each point; the first ones are the first to be named.
        across: What the horizontal axis is.
    """
    known = [(name, cost, value, point) for name, cost, point in points if (value := point[0]) is not None]
    top, bottom = 10, 240
    low, high = _limits([point for *_, point in known])
    y, ticks = axis([low, high], bottom, top)
    x, places = _costs([cost for _, cost, *_ in known])
    parts = [tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(tick), y2=y(tick), class_="grid") for tick in ticks]
    parts += [tag("line", x1=at, x2=at, y1=top, y2=bottom, class_="grid") for at, _ in places]
    parts += [svg.text(f"{tick:g}", LEFT - 4, y(tick) + 4, class_="tick", text_anchor="end") for tick in ticks]
    parts += [svg.text(words, at, bottom + 14, class_="tick", text_anchor="middle") for at, words in places]
    parts.append(svg.text(across, WIDTH - RIGHT, bottom + 28, class_="tick", text_anchor="end"))
    for name, cost, value, point in known:
        words = tag("title", f"{name}: {_said(point)} at cost {cost:.3g}")
        reach = _interval(y, point, x(cost), low, high, upright=True)
        parts.append(tag("g", words, *reach, tag("circle", cx=x(cost), cy=y(value), r=4), class_="s0"))
    frame = (float(LEFT), float(top), float(WIDTH), float(bottom))
    labels, listed = _labels([(name, x(cost), y(value)) for name, cost, value, _ in known], frame)
    lines, shown = (len(listed) + 1) // 2, distinct([name for _, name in listed], 24)
    for place, (number, _) in enumerate(listed):
        at = (4 if place < lines else WIDTH / 2, bottom + 46 + 14 * (place % lines))
        parts.append(svg.text(f"{number}  {shown[place]}", *at, class_="tick"))
    return picture(f"points: {title}", bottom + 36 + 14 * lines, *parts, *labels)


def ranks(title: str, methods: Sequence[str], values: Sequence[float], critical_difference: float) -> Markup:
    """Draw a critical-difference diagram: mean ranks on an axis, and a bar over those that do not differ significantly.

    Args:
        title: What is shown.
        methods: Names.
        values: The mean rank of each.
        critical_difference: Mean ranks that differ by no more do not differ significantly.

    References:
        Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006.
    """
    order = sorted(range(len(values)), key=lambda place: values[place])
    side, shown = _room(methods, _STEM), distinct(methods, _STEM)
    x, ticks = axis([1, len(values)], side, WIDTH - side, exact=True)
    across, step, level = 44, 14, 6
    bars = _levels([(x(values[group[0]]), x(values[group[-1]])) for group in cliques(values, critical_difference)])
    first = across + 14 + level * max((number + 1 for *_, number in bars), default=0)
    parts = [tag("line", x1=side, x2=WIDTH - side, y1=across, y2=across, class_="axis")]
    for tick in ticks:
        parts.append(tag("line", x1=x(tick), x2=x(tick), y1=across - 4, y2=across, class_="axis"))
        parts.append(svg.text(f"{tick:g}", x(tick), across - 7, class_="tick", text_anchor="middle"))
    end = min(x(1 + critical_difference), float(WIDTH - 2))
    parts.append(svg.text(f"critical difference {critical_difference:.2f}", side, 10, class_="tick"))
    parts.append(tag("line", x1=side, x2=end, y1=17, y2=17, class_="reach"))
    ends = [at for at in (float(side), x(1 + critical_difference)) if at <= end]  # one longer than the picture has no end
    parts += [tag("line", x1=at, x2=at, y1=14, y2=20, class_="reach") for at in ends]
    half = (len(order) + 1) // 2
    for number, place in enumerate(order):
        best = number < half
        y = first + step * (number if best else len(order) - 1 - number)
        edge = side - 4 if best else WIDTH - side + 4
        stem = f"{x(values[place]):.1f},{across} {x(values[place]):.1f},{y} {edge},{y}"
        name = svg.text(shown[place], edge + (-3 if best else 3), y + 4, text_anchor="end" if best else "start")
        words = tag("title", f"{methods[place]}: mean rank {values[place]:.2f}")
        parts.append(tag("g", words, tag("polyline", points=stem, class_="stem"), name))
    parts += [
        tag("line", x1=start - 3, x2=stop + 3, y1=across + 8 + level * number, y2=across + 8 + level * number, class_="clique")
        for start, stop, number in bars
    ]
    return picture(f"critical-difference diagram: {title}", first + step * half, *parts)


def courses(title: str, cells: Sequence[tuple[str, Mapping[str, Sequence[float | None]], Sequence[int]]]) -> Markup:
    """Draw lines over epochs in one small picture per method, all with the same vertical axis; they flow as there is room.

    Args:
        title: What they show.
        cells: Name of each picture, its series in the same order everywhere, and the epochs with which phases begin.
    """
    width, top, bottom, left = 150, 18, 76, 24
    known = [value for _, series, _ in cells for values in series.values() for value in values if value is not None]
    y, ticks = axis(known or [0.0, 1.0], bottom, top)
    shown = distinct([name for name, *_ in cells], 20)
    pictures = []
    for number, (name, series, starts) in enumerate(cells):
        length = max(map(len, series.values()), default=0)
        x = Scale(1, max(length, 2), left + 3, width - 4)
        parts: list[str] = [tag("title", name), svg.text(shown[number], left, 11)]
        for tick in (ticks[0], ticks[len(ticks) // 2], ticks[-1]):
            parts.append(tag("line", x1=left, x2=width, y1=y(tick), y2=y(tick), class_="grid"))
            parts.append(svg.text(f"{tick:g}", left - 3, y(tick) + 4, class_="tick", text_anchor="end"))
        words = "1 epoch" if length == 1 else f"{length} epochs"
        parts.append(svg.text(words, width - 4, bottom + 13, class_="tick", text_anchor="end"))
        parts += [tag("line", x1=x(place), x2=x(place), y1=top, y2=bottom, class_="mark") for place in starts]
        parts += [_course(values, x, y, f"{svg.series(place)} d{place}") for place, values in enumerate(series.values())]
        pictures.append(tag("svg", *parts, viewBox=f"0 0 {width} {bottom + 18}", aria_hidden="true"))
    words = f"one small picture of lines per method: {title}; the numbers are in the table that follows"
    return tag("div", *pictures, class_="multiples", role="img", aria_label=words)


def _course(values: Sequence[float | None], x: Scale, y: Scale, classes: str, most: int = 30) -> Markup:
    """Draw a line through at most so many of its points, the first and the last among them."""
    step = max((len(values) - 1) / (most - 1), 1.0)
    chosen = dict.fromkeys(round(number * step) for number in range(min(len(values), most)))
    known = [(place, value) for place in chosen if (value := values[place]) is not None]
    if len(known) == 1:
        return tag("g", tag("circle", cx=x(known[0][0] + 1), cy=y(known[0][1]), r=2), class_=classes)
    path = " ".join(f"{x(place + 1):.1f},{y(value):.1f}" for place, value in known)
    return tag("g", tag("polyline", points=path, class_="line"), class_=classes)


def _room(names: Sequence[str], most: int = _NAME) -> int:
    """The width that names of so many letters at most take beside a picture."""
    return round(14 + _LETTER * min(most, max(map(len, names), default=0)))


def _said(point: Point) -> str:
    value, low, high = point
    if value is None:
        return "not known"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _limits(points: Iterable[Point]) -> tuple[float, float]:
    """The ends of an axis: all values and their intervals, but no interval that would crush the rest (of two runs, say)."""
    known = [(value, low, high) for value, low, high in points if value is not None]
    values = [value for value, _, _ in known] or [0.0, 1.0]
    reaches = [(high - low) / 2 for _, low, high in known if low is not None and high is not None]
    room = max(max(values) - min(values), median(reaches) if reaches else 0.0)
    low = min([*values, *(low for _, low, _ in known if low is not None)])
    high = max([*values, *(high for *_, high in known if high is not None)])
    return max(low, min(values) - room), min(high, max(values) + room)


def _interval(scale: Scale, point: Point, across: float, low: float, high: float, upright: bool = False) -> list[Markup]:
    """Draw an interval with an end at each side that is on the axis, along the horizontal or the vertical one."""
    _, *ends = point
    if None in ends:
        return []
    start, stop = (scale(min(max(float(end or 0), low), high)) for end in ends)
    pieces = [f"M{across:.1f},{start:.1f}V{stop:.1f}" if upright else f"M{start:.1f},{across:.1f}H{stop:.1f}"]
    for at, end in zip((start, stop), ends, strict=True):
        if low <= float(end or 0) <= high:
            pieces.append(f"M{across - 3:.1f},{at:.1f}h6" if upright else f"M{at:.1f},{across - 3:.1f}v6")
    return [tag("path", d="".join(pieces), class_="span")]


def _costs(costs: Sequence[float]) -> tuple[Scale | _Logarithmic, list[tuple[float, str]]]:
    """The horizontal axis of costs, with the places and words of its ticks."""
    low, high = min(costs, default=0.0), max(costs, default=1.0)
    if low <= 0 or high / low < 8:
        x, ticks = axis([low, high], LEFT + 20, WIDTH - RIGHT - 20)
        return x, [(x(tick), f"{tick:g}") for tick in ticks]
    scale = _Logarithmic(low, high)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [factor * 10.0**power for power in powers for factor in (1, 2, 5) if low <= factor * 10.0**power <= high]
    return scale, [(scale(step), f"{step:g}") for step in steps]


class _Logarithmic:
    """Turns positive values into places by their logarithms."""

    def __init__(self, low: float, high: float) -> None:
        self._scale = Scale(math.log(low), math.log(high), LEFT + 20, WIDTH - RIGHT - 20)

    def __call__(self, value: float) -> float:
        return self._scale(math.log(value))


def _levels(bars: Sequence[tuple[float, float]]) -> list[tuple[float, float, int]]:
    """Give each bar the first level at which it touches no other."""
    ends: list[float] = []
    found = []
    for start, stop in bars:
        level = next((number for number, end in enumerate(ends) if start > end + 8), len(ends))
        ends[level : level + 1] = [stop]
        found.append((start, stop, level))
    return found


def _labels(points: Sequence[tuple[str, float, float]], frame: Box) -> tuple[list[Markup], list[tuple[int, str]]]:
    """Place the names of points where they cover nothing.

    Returns:
        What is drawn, and number and name of each point whose name found no room.
    """
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for _, x, y in points]
    drawn: list[Markup] = []
    listed: list[tuple[int, str]] = []
    names = distinct([name for name, *_ in points], _NAME)
    for number, (name, x, y) in enumerate(points, start=1):
        shown = names[number - 1]
        width = _LETTER * len(shown)
        near = [(x + 7, y), (x - 7 - width, y)]
        near += [(x - width / 2, y + away) for away in (-11, 11)]
        near += [(x + side, y + away) for side in (5, -5 - width) for away in (-11, 11)]
        place = _free(near, width, taken, frame)
        if place is None:
            shown, width = str(number), _LETTER * len(str(number))
            rings = [(radius, turn * math.pi / 8) for radius in range(12, 120, 4) for turn in range(16)]
            around = [(x + radius * math.cos(angle) - width / 2, y + radius * math.sin(angle)) for radius, angle in rings]
            place = _free(around, width, taken, frame) or (x - width / 2, y)
            listed.append((number, name))
            if math.hypot(place[0] + width / 2 - x, place[1] - y) > 14:
                drawn.append(tag("line", x1=x, y1=y, x2=place[0] + width / 2, y2=place[1], class_="grid"))
        left, middle = place
        taken.append((left - 1, middle - 6, left + width + 1, middle + 6))
        drawn.append(svg.text(shown, left, middle + 4, class_="label"))
    return drawn, listed


def _free(places: Iterable[tuple[float, float]], width: float, taken: Sequence[Box], frame: Box) -> tuple[float, float] | None:
    """Return the first place (left end and middle) at which a text of a width is inside the frame and covers nothing."""
    for left, middle in places:
        box = (left, middle - 6, left + width, middle + 6)
        inside = frame[0] <= box[0] and frame[1] <= box[1] and box[2] <= frame[2] and box[3] <= frame[3]
        if inside and not any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken
        ):
            return left, middle
    return None
