"""Purity and the strength of re-learning equal the authors' numbers and a naive loop."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.functional.purity import purity, relearning_strength

CASE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "dr.json").read_text())["cases"][0]


@pytest.mark.parametrize("case", CASE["purity"])
def test_authors_purity(case: dict[str, Any]) -> None:
    labels = np.array(case["labels"])
    kept = labels.copy()
    assert purity(np.array(case["clusters"]), labels) == pytest.approx(case["purity"], rel=1e-12)
    assert (labels == kept).all(), "the published code relabels in place"


@pytest.mark.parametrize("case", CASE["gap_alpha"])
@pytest.mark.parametrize("strength", [1, 3])
def test_authors_strength(case: dict[str, Any], strength: int) -> None:
    golden = case["result"][f"lambda{strength}"]
    found = [
        purity(np.array(case[f"clusters_{part}_{name}"]), np.array(case[f"{part}_labels"]))
        for name in ("audio", "visual")
        for part in ("train", "val")
    ]
    assert found == pytest.approx(golden["purities"], rel=1e-12)
    for name, (train, validation) in {"audio": found[:2], "visual": found[2:]}.items():
        assert abs(train - validation) == pytest.approx(golden[f"gap_{name}"], rel=1e-9, abs=1e-12)
        assert relearning_strength(abs(train - validation), strength) == pytest.approx(golden[f"alpha_{name}"], rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40))
def test_equals_a_naive_loop(pairs: list[tuple[int, int]]) -> None:
    clusters, labels = (np.array(values) for values in zip(*pairs, strict=True))
    most = sum(max(Counter(label for group, label in pairs if group == cluster).values()) for cluster in {c for c, _ in pairs})
    assert purity(clusters, labels) == pytest.approx(most / len(pairs))


@given(st.floats(0, 1), st.floats(0, 10))
def test_strength_is_a_share(gap: float, strength: float) -> None:
    assert relearning_strength(gap, strength) == math.tanh(gap * strength)
    assert relearning_strength(gap, 0.0) == 0.0
    assert 0 <= relearning_strength(gap, strength) <= 1
