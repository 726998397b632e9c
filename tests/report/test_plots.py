"""The pictures of many methods have what their numbers ask for, and nothing covers anything."""

from __future__ import annotations

import math
import random
import re
from itertools import combinations

import pytest

from equipoise.evaluation.significance import cliques
from equipoise.report.plots import courses, dots, ranks, scatter
from equipoise.report.svg import WIDTH, distinct
from tests.report.conftest import SCRIPT, Page


def texts(picture: str) -> list[tuple[str, float, float, str]]:
    """Words, place and anchor of all texts."""
    found = re.findall(r"<text ([^>]*)>([^<]*)", picture)
    given = [(dict(re.findall(r'([\w-]+)="([^"]*)"', attributes)), words) for attributes, words in found]
    return [(words, float(item["x"]), float(item["y"]), item.get("text-anchor", "start")) for item, words in given]


def largest(values: list[float], critical: float) -> set[frozenset[int]]:
    """The largest groups within the critical difference, by trying all."""
    places = range(len(values))
    groups = [
        frozenset(group)
        for size in range(2, len(values) + 1)
        for group in combinations(places, size)
        if max(values[i] for i in group) - min(values[i] for i in group) <= critical
    ]
    return {group for group in groups if not any(group < other for other in groups)}


def test_cliques_are_the_largest_groups_that_do_not_differ() -> None:
    rng = random.Random(0)
    for _ in range(300):
        values = [rng.choice([rng.uniform(1, 8), float(rng.randint(1, 8))]) for _ in range(rng.randint(1, 8))]
        critical = rng.choice([0.0, 0.5, 1.0, 2.0, 3.5, 10.0])
        found = cliques(values, critical)
        assert {frozenset(group) for group in found} == largest(values, critical)
        assert len(found) == len({frozenset(group) for group in found})
        assert all([values[i] for i in group] == sorted(values[i] for i in group) for group in found)


def test_a_bar_joins_each_clique() -> None:
    names, values = ["a", "b", "c", "d", "e"], [1.5, 2.0, 3.5, 4.0, 4.0]
    page = Page(ranks("t", names, values, 1.2))
    bars = [given for given in page.names("line") if given["class"] == "clique"]
    stems = [given["points"] or "" for given in page.names("polyline")]
    place = dict(zip(names, (float(points.split(",")[0]) for points in stems), strict=True))
    ends = [end for given in bars for end in (float(given["x1"] or 0) + 3, float(given["x2"] or 0) - 3)]
    assert ends == pytest.approx([place["a"], place["b"], place["c"], place["e"]], abs=0.11)
    assert place["b"] - place["a"] == pytest.approx((place["c"] - place["b"]) / 3, abs=0.1)
    overlapping = Page(ranks("t", names, values, 2.2))
    levels = [given["y1"] for given in overlapping.names("line") if given["class"] == "clique"]
    assert len(set(levels)) == len(levels) == 2


def test_names_of_ranks_stand_apart() -> None:
    names = [f"method {number}" for number in range(40)]
    picture = ranks("t", names, [1 + number * 0.97 for number in range(40)], 30.0)
    placed = [item for item in texts(picture) if item[0].startswith("method")]
    assert sorted(words for words, *_ in placed) == sorted(names)
    assert len({(y, anchor) for _, _, y, anchor in placed}) == 40
    assert all(0 <= x <= WIDTH for _, x, _, _ in placed)


def test_dots_are_where_their_values_are() -> None:
    rows = [("a", (0.5, 0.4, 0.6)), ("b", (0.7, None, None)), ("c", (None, None, None))]
    page = Page(dots("t", rows, (0.6, 0.55, 0.65)))
    one, two = (float(given["cx"] or 0) for given in page.names("circle"))
    (mark,) = [float(given["x1"] or 0) for given in page.names("line") if given["class"] == "mark"]
    assert mark == pytest.approx((one + two) / 2, abs=0.11)
    (zone,) = page.names("rect")
    assert float(zone["width"] or 0) == pytest.approx((two - one) / 2, abs=0.11)
    assert "a: 0.500 (0.400 to 0.600)" in page.text
    assert "not known" in page.text


def test_an_interval_that_would_crush_the_rest_is_cut() -> None:
    rows = [("a", (0.5, 0.49, 0.51)), ("b", (0.52, 0.5, 0.54)), ("c", (0.51, -9.0, 9.0))]
    drawn = [given["d"] or "" for given in Page(dots("t", rows)).names("path")]
    assert [path.count("v6") for path in drawn] == [2, 2, 0]
    assert all(0 <= float(place) <= WIDTH for path in drawn for place in re.findall(r"[MH](-?[\d.]+)", path))


def test_forty_names_cover_neither_each_other_nor_points() -> None:
    rng = random.Random(1)
    points = [
        (f"method_{number}", rng.choice([1.0, 1.5, rng.uniform(1, 40)]), (rng.uniform(0.6, 0.9), None, None))
        for number in range(40)
    ]
    picture = scatter("t", points, "cost")
    labels = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="label">([^<]*)', picture)
    boxes = [(float(x), float(y) - 10, float(x) + 6 * len(words), float(y) + 2) for x, y, words in labels]
    boxes += [
        (float(x) - 4, float(y) - 4, float(x) + 4, float(y) + 4)
        for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', picture)
    ]
    labelled = boxes[: len(labels)]
    assert len(labels) == 40
    for number, one in enumerate(labelled):
        assert one[0] >= 0
        assert one[2] <= WIDTH
        for other in boxes[number + 1 :]:
            assert not (one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3])
    numbered = {words for *_, words in labels if words.isdigit()}
    listed = {words.split()[0] for words, *_ in texts(picture) if re.match(r"\d+  method", words)}
    assert numbered == listed


def test_costs_that_span_much_are_logarithmic() -> None:
    value = (0.5, None, None)
    page = Page(scatter("t", [("a", 1.0, value), ("b", 10.0, value), ("c", 100.0, value)], "cost"))
    one, two, three = (float(given["cx"] or 0) for given in page.names("circle"))
    assert two - one == pytest.approx(three - two, abs=0.11)
    plain = Page(scatter("t", [("a", 1.0, value), ("b", 2.0, value), ("c", 3.0, value), ("d", 2.0, (None, None, None))], "cost"))
    one, two, three = (float(given["cx"] or 0) for given in plain.names("circle"))
    assert two - one == pytest.approx(three - two, abs=0.11)


def test_courses_keep_their_ends_however_long() -> None:
    values = [1 - math.exp(-epoch / 50) for epoch in range(500)]
    page = Page(
        courses("t", [("a", {"fused": values, "b": [None] * 499 + [0.5]}, [200]), ("c", {"fused": [0.1], "b": [0.2]}, [])])
    )
    (path, none) = [given["points"] or "" for given in page.names("polyline")] + [""]
    assert none == ""
    places = [tuple(map(float, place.split(","))) for place in path.split()]
    assert len(places) == 30
    assert (places[0][0], places[-1][0]) == (27.0, 146.0)
    assert len(page.names("circle")) == 3
    assert "500 epochs" in page.text
    assert "1 epoch" in page.text


def test_cut_names_stay_different() -> None:
    names = [
        "aug heads=11 weights=a",
        "aug heads=11 weights=b",
        "aug heads=1 weights=b",
        "x" * 30 + "1" + "x" * 30,
        "x" * 30 + "2" + "x" * 30,
    ]
    for most in (12, 18):
        cut = distinct(names, most)
        assert len(set(cut)) == len(names)
        assert max(map(len, cut)) <= most
    assert distinct(names[::-1], 12) == distinct(names, 12)[::-1]


def test_text_is_escaped() -> None:
    value = (0.5, 0.4, 0.6)
    for picture in (
        dots(SCRIPT, [(SCRIPT, value)], value),
        scatter(SCRIPT, [(SCRIPT, 1.0, value)], SCRIPT),
        ranks(SCRIPT, [SCRIPT, "b"], [1.0, 2.0], 1.0),
        courses(SCRIPT, [(SCRIPT, {SCRIPT: [0.1, 0.2]}, [1])]),
    ):
        assert "<script" not in picture
        Page(picture)
