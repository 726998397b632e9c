"""The pictures have the lengths, places and colours that their numbers ask for."""

from __future__ import annotations

import math

import pytest

from equipoise.report.charts import against, bars, heat, lines, reliability, stacks
from equipoise.report.svg import WIDTH, tag
from tests.report.conftest import SCRIPT, Page


def floats(given: dict[str, str | None], *names: str) -> list[float]:
    return [float(given[name] or "nan") for name in names]


def test_bars_are_as_long_as_their_values() -> None:
    page = Page(
        bars("t", [("a", [("one", (0.5, 0.25, 0.75)), ("two", (-0.25, None, None))]), ("b", [("one", (None, None, None))])])
    )
    (first, width), (second, other) = (floats(given, "x", "width") for given in page.names("rect"))
    assert other / width == pytest.approx(0.5, abs=0.01)
    assert second + other == pytest.approx(first, abs=0.11)  # both begin at 0
    reach = next(floats(given, "x1", "x2") for given in page.names("line") if given["class"] == "reach")
    assert reach == pytest.approx([first + width / 2, first + 1.5 * width], abs=0.11)
    assert "a, one: 0.500 (0.250 to 0.750)" in page.text
    assert "not defined" in page.text


def test_the_mark_is_on_the_scale() -> None:
    page = Page(bars("t", [("a", [("", (0.4, None, None))])], mark=0.8))
    (left, width) = floats(page.names("rect")[0], "x", "width")
    (mark,) = [floats(given, "x1")[0] for given in page.names("line") if given["class"] == "mark"]
    assert mark == pytest.approx(left + 2 * width, abs=0.11)


def test_stacks_follow_each_other() -> None:
    page = Page(stacks("t", [("a", [("one", 0.5), ("none", -0.01), ("two", 0.25)])]))
    (first, width), (second, other) = (floats(given, "x", "width") for given in page.names("rect"))
    assert second == pytest.approx(first + width, abs=0.11)
    assert other == pytest.approx(width / 2, abs=0.11)


def test_lines_have_gaps_and_end_where_a_phase_begins() -> None:
    points = [(value, None, None) for value in (1.0, None, 3.0, 2.0, 2.0)]
    page = Page(lines("t", [1, 2, 3, 4, 5], {"a": points}, "epoch", [(4, "second phase")]))
    paths = [given["points"] or "" for given in page.names("polyline")]
    assert [len(path.split()) for path in paths] == [2, 2]
    (x1, y1), (x3, y3) = (map(float, place.split(",")) for place in paths[0].split())
    (x4, y4), _ = (map(float, place.split(",")) for place in paths[1].split())
    assert x3 - x1 == pytest.approx(2 * (x4 - x3), abs=0.3)
    assert (y1 - y4) == pytest.approx((y1 - y3) / 2, abs=0.3)
    assert len(page.names("circle")) == 4
    assert "second phase" in page.text


def test_lines_have_bands() -> None:
    page = Page(lines("t", [0.0, 0.5], {"a": [(1.0, 0.0, 2.0), (2.0, 1.0, 3.0)]}, "level"))
    places = [tuple(map(float, place.split(","))) for place in (page.names("polygon")[0]["points"] or "").split()]
    assert [x for x, _ in places] == [46.0, WIDTH - 12.0, WIDTH - 12.0, 46.0]
    assert places[0][1] == pytest.approx(2 * places[2][1] - places[3][1], abs=0.3)  # 2, as far from 1 as 1 from 0


def test_constant_and_single_values_can_be_drawn() -> None:
    page = Page(lines("t", [1], {"a": [(0.0, None, None)]}, "epoch"))
    assert all(math.isfinite(value) for value in floats(page.names("circle")[0], "cx", "cy"))
    assert Page(lines("t", [1, 2], {"a": [(None, None, None)] * 2}, "epoch")).names("circle") == []


def test_dots_lie_where_confidence_and_accuracy_are() -> None:
    page = Page(reliability("t", [None, 0.5, 1.0], [None, 1.0, 0.5], [0, 1, 3]))
    (x1, y1, r1), (x2, y2, r2) = (floats(given, "cx", "cy", "r") for given in page.names("circle"))
    assert (x2 - x1, y2 - y1) == (120, 120)
    assert (r1, r2) == pytest.approx((9, 3 + 12 * math.sqrt(0.75)), abs=0.06)


def test_cells_are_as_strong_as_their_values() -> None:
    page = Page(heat("t", ["a", "b"], ["c", "d"], [[1.0, None], [-0.5, 0.0]], [["1", ""], ["-0.5", "0"]]))
    drawn = [given for given in page.names("rect") if given["class"] != "frame"]
    assert [(given["class"], given["fill-opacity"]) for given in drawn] == [("hot", "0.85"), ("cold", "0.42")]
    assert "b, c: -0.5" in page.text


def test_many_columns_are_numbered() -> None:
    names = [f"class {number}" for number in range(15)]
    page = Page(heat("t", names, names, [[1] * 15] * 15, [["1"] * 15] * 15))
    assert "1 class 0" in page.text


def test_text_is_escaped() -> None:
    assert tag("text", SCRIPT, x=SCRIPT) == (
        '<text x="&lt;script&gt;alert(1)&lt;/script&gt;">&lt;script&gt;alert(1)&lt;/script&gt;</text>'
    )
    for picture in (
        bars(SCRIPT, [(SCRIPT, [(SCRIPT, (1.0, 0.5, 2.0))])]),
        stacks(SCRIPT, [(SCRIPT, [(SCRIPT, 1.0)])]),
        lines(SCRIPT, [1, 2], {SCRIPT: [(1.0, None, None)] * 2}, SCRIPT, [(2, SCRIPT)]),
        reliability(SCRIPT, [1.0], [1.0], [1]),
        heat(SCRIPT, [SCRIPT], [SCRIPT], [[1.0]], [[SCRIPT]]),
    ):
        assert "<script" not in picture
        assert Page(picture).names("svg")[0]["aria-label"]


def test_predicted_numbers_lie_on_the_line_where_they_are_right() -> None:
    page = Page(against("t", [1.0, 2.0, 3.0], [1.0, 3.0, 3.0], "age"))
    first, second, third = (floats(given, "cx", "cy") for given in page.names("circle"))
    (line,) = [floats(given, "x1", "y1", "x2", "y2") for given in page.names("line") if given["class"] == "mark"]
    assert first == pytest.approx(line[:2], abs=0.11)
    assert third == pytest.approx(line[2:], abs=0.11)
    assert second == pytest.approx([(line[0] + line[2]) / 2, line[3]], abs=0.11)
    assert "true 2, predicted 3" in page.text
    assert "age, true" in page.text
