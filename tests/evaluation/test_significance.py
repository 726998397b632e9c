from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from equipoise.errors import DataError
from equipoise.evaluation.significance import corrected_paired_test, holm

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "stat_tests.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES)
def test_corrected_test_equals_the_reference(case: dict[str, Any]) -> None:
    found = corrected_paired_test(case["scores_a"], case["scores_b"], case["n_train"], case["n_test"])
    wanted = case["nadeau_bengio"]
    assert found.difference == pytest.approx(wanted["mean_diff"], abs=1e-12)
    assert found.p == pytest.approx(wanted["p_two_sided"], abs=1e-12)
    assert [found.low, found.high] == pytest.approx(wanted["ci95"], abs=1e-12)


def test_without_overlap_it_is_the_ordinary_paired_test() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 12))
    assert corrected_paired_test(first, second, train=10**12, test=1).p == pytest.approx(stats.ttest_rel(first, second).pvalue)


def test_equal_and_constant_differences() -> None:
    assert corrected_paired_test([1.0, 2.0], [1.0, 2.0], 8, 2).p == 1.0
    assert corrected_paired_test([1.0, 2.0], [0.0, 1.0], 8, 2).p == 0.0


def test_unpaired_scores_are_refused() -> None:
    with pytest.raises(DataError, match="at least two pairs of scores, found 2 and 1"):
        corrected_paired_test([1.0, 2.0], [1.0], 8, 2)


@pytest.mark.parametrize("case", CASES)
def test_holm_equals_the_reference(case: dict[str, Any]) -> None:
    assert holm(case["p_vs_control"]) == pytest.approx(case["holm_adjusted"], abs=1e-12)


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]) == []
