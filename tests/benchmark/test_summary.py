"""The lines of a comparison equal numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from equipoise.benchmark.summary import lines

SCORES = {
    "joint": [0.70, 0.74, 0.69],
    "late": [0.75, 0.78, 0.75],
    "unimodal": [0.60, 0.60, 0.60],
}


def row(name: str, fold: int, score: float, **changes: Any) -> dict[str, Any]:
    """A row as a comparison stores it."""
    seconds = {"joint": 2.0, "late": 3.0, "unimodal": 5.0}[name]
    modalities = {"a": 0.5 + 0.01 * fold, "b": 0.8 - 0.1 * fold}
    return {
        "method": {"name": name, **changes},
        "fold": fold,
        "seed": 0,
        "seconds": seconds + fold,
        "inert": name == "late" and fold == 1,
        "samples": {"train": 70, "validation": 10, "test": 20},
        "test": {
            "fused": {"accuracy": score + 0.1, "macro_f1": score, "auroc": None},
            **{key: {"accuracy": value, "macro_f1": value, "samples": 20} for key, value in modalities.items()},
        },
    }


def rows() -> list[dict[str, Any]]:
    return [row(name, fold, scores[fold]) for fold in range(3) for name, scores in SCORES.items()]


def test_means_spreads_time_and_order() -> None:
    found = lines(rows())
    assert [line.name for line in found] == ["joint", "late", "unimodal"]
    late = found[1]
    assert late.runs == 3
    mean = (0.75 + 0.78 + 0.75) / 3
    assert late.scores["fused"]["macro_f1"] == pytest.approx((mean, math.sqrt(sum((x - mean) ** 2 for x in SCORES["late"]) / 2)))
    assert late.scores["a"]["macro_f1"] == pytest.approx((0.51, 0.01))
    assert "auroc" not in late.scores["fused"]
    assert "samples" not in late.scores["a"]
    assert [line.time for line in found] == pytest.approx([1.0, 4 / 3, 2.0])
    assert [line.inert for line in found] == [0, 1, 0]


def test_paired_tests_with_the_correction_of_nadeau_and_bengio_and_of_holm() -> None:
    """Differences of late and joint: 0.05, 0.04, 0.06. With two degrees of freedom, P(|T| > t) = 1 - t / sqrt(2 + t^2)."""
    found = {line.name: line for line in lines(rows())}
    error = math.sqrt((1 / 3 + 20 / 80) * 0.0001)
    t = 0.05 / error
    late, alone = found["late"].against["joint"], found["unimodal"].against["joint"]
    assert late.difference == pytest.approx(0.05)
    p = 1 - t / math.sqrt(2 + t * t)
    spread = math.sqrt(sum((x - 0.11) ** 2 for x in (0.10, 0.14, 0.09)) / 2 * (1 / 3 + 20 / 80))
    other = 1 - (0.11 / spread) / math.sqrt(2 + (0.11 / spread) ** 2)
    assert p < other
    assert late.p == pytest.approx(2 * p, rel=1e-6)  # the smaller of two is doubled
    assert alone.p == pytest.approx(max(2 * p, other), rel=1e-6)
    reach = 4.302653 * error
    assert (late.low, late.high) == pytest.approx((0.05 - reach, 0.05 + reach), rel=1e-5)
    assert "joint" not in found["joint"].against
    assert {name: set(line.against) for name, line in found.items()} == {
        "joint": {"b alone"},
        "late": {"joint", "b alone"},
        "unimodal": {"joint", "b alone"},
    }


def test_the_best_modality_alone_is_the_best_on_average() -> None:
    against = {line.name: line.against["b alone"] for line in lines(rows())}
    assert against["joint"].difference == pytest.approx(sum(SCORES["joint"]) / 3 - 0.7)


def test_pairs_are_runs_on_the_same_fold_with_the_same_seed() -> None:
    part = [item for item in rows() if not (item["method"]["name"] == "late" and item["fold"] == 0)]
    found = {line.name: line for line in lines(list(reversed(part)))}
    assert found["late"].runs == 2
    assert found["late"].against["joint"].difference == pytest.approx((0.04 + 0.06) / 2)
    single = [item for item in rows() if item["fold"] == 0]
    assert all(line.against == {} for line in lines(single))
    assert lines(single)[0].scores["fused"]["macro_f1"] == (0.70, 0.0)


def test_variants_of_a_method_are_told_apart_by_what_differs() -> None:
    several = [row("joint", fold, 0.7) for fold in range(2)]
    several += [row("late", fold, 0.7, depth=depth, same=1) for fold in range(2) for depth in (1, 2)]
    assert [line.name for line in lines(several)] == ["joint", "late depth=1", "late depth=2"]


def test_without_a_reference() -> None:
    found = lines([item for item in rows() if item["method"]["name"] == "late"])
    assert found[0].time is None
    assert found[0].against == {}
