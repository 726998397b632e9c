from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from equipoise.errors import DataError
from equipoise.evaluation.significance import (
    bayesian_signed_rank,
    corrected_paired_test,
    friedman_nemenyi,
    holm,
    iman_davenport,
    mean_interval,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "stat_tests.json").read_text())
CASES: list[dict[str, Any]] = GOLDEN["cases"]
QUANTILES: dict[str, Any] = GOLDEN["nemenyi_q"]


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


def test_the_correction_is_that_of_the_ordinary_test_by_its_ratio() -> None:
    """``t`` shrinks by ``sqrt((1 / J) / (1 / J + n_test / n_train))`` against the ordinary paired test."""
    first, second = np.random.default_rng(1).normal([[0.3], [0.0]], 1.0, size=(2, 15))
    plain = stats.ttest_rel(first, second)
    t = plain.statistic * np.sqrt((1 / 15) / (1 / 15 + 20 / 80))
    found = corrected_paired_test(first, second, train=80, test=20)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 14), rel=1e-12)
    reach = stats.t.ppf(0.975, 14) * found.difference / t
    assert [found.low, found.high] == pytest.approx([found.difference - reach, found.difference + reach], rel=1e-12)


def test_unpaired_scores_are_refused() -> None:
    with pytest.raises(DataError, match="at least two pairs of scores, found 2 and 1"):
        corrected_paired_test([1.0, 2.0], [1.0], 8, 2)


@pytest.mark.parametrize("case", CASES)
def test_holm_equals_the_reference(case: dict[str, Any]) -> None:
    assert holm(case["p_vs_control"]) == pytest.approx(case["holm_adjusted"], abs=1e-12)


def test_holm_equals_the_example_of_demsar() -> None:
    """Demsar 2006, section 3.2.2: three variants against C4.5; the first two are rejected at 5 %, the third is not."""
    assert holm([0.016, 0.607, 0.019]) == pytest.approx([0.048, 0.607, 0.048])


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]) == []


def test_the_interval_of_a_mean_is_wider_than_that_of_independent_runs() -> None:
    """Three scores, two degrees of freedom: t = 4.302653."""
    scores = [0.70, 0.74, 0.69]
    reach = 4.302653 * np.sqrt((1 / 3 + 20 / 80) * np.var(scores, ddof=1))
    assert mean_interval(scores, 80, 20) == pytest.approx((np.mean(scores) - reach, np.mean(scores) + reach), rel=1e-6)
    with pytest.raises(DataError, match="at least two scores, found 1"):
        mean_interval([0.5], 80, 20)


@pytest.mark.parametrize("case", CASES)
def test_ranks_equal_the_reference(case: dict[str, Any]) -> None:
    found = friedman_nemenyi(case["table"])
    assert found.ranks == pytest.approx(case["ranks"], abs=1e-12)
    assert found.statistic == pytest.approx(case["friedman"]["chi2"], abs=1e-10)
    assert found.p == pytest.approx(case["friedman"]["p"], abs=1e-10)
    assert found.critical_difference == pytest.approx(case["critical_difference"], rel=1e-6)
    np.testing.assert_allclose(found.pairs, case["nemenyi_p"], atol=1e-6)
    assert found.sets == len(case["table"])


DEMSAR = [
    [4, 3, 2, 1],
    [1, 2, 3, 4],
    [4, 1, 2, 3],
    [4, 1, 3, 2],
    [4, 2, 3, 1],
    [1, 2.5, 4, 2.5],
    [3, 2, 4, 1],
    [2.5, 2.5, 4, 1],
    [4, 3, 2, 1],
    [2.5, 2.5, 2.5, 2.5],
    [4, 2.5, 1, 2.5],
    [3, 2, 4, 1],
    [4, 1, 2, 3],
    [3, 1, 4, 2],
]
"""Ranks of C4.5 and three variants on 14 data sets: Demsar 2006, Table 6."""


def test_ranks_equal_the_example_of_demsar() -> None:
    """Demsar 2006, section 3.2.2, which does not correct the statistic for ties: two each on three sets, four on one."""
    found = friedman_nemenyi([[-rank for rank in ranks] for ranks in DEMSAR])
    assert found.ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    untied = found.statistic * (1 - (3 * (2**3 - 2) + 4**3 - 4) / (14 * 4 * (4**2 - 1)))
    assert untied == pytest.approx(9.28, abs=5e-3)
    f, p = iman_davenport(untied, sets=14, methods=4)
    assert f == pytest.approx(3.69, abs=5e-3)
    assert p == pytest.approx(stats.f.sf(f, 3, 39))
    assert stats.f.isf(0.05, 3, 39) == pytest.approx(2.85, abs=1e-2)  # the printed critical value, so that p < 5 %
    assert p < 0.05
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert (found.f, found.f_p) == iman_davenport(found.statistic, sets=14, methods=4)


def test_orders_that_are_all_alike_have_the_chance_of_that() -> None:
    """Three methods can be ordered in six ways: that two more data sets agree with the first has a chance of 1 / 36."""
    found = friedman_nemenyi([[0.9, 0.8, 0.7]] * 3)
    assert found.f == np.inf
    assert found.f_p == pytest.approx(1 / 36)


def test_friedman_equals_scipy_with_and_without_ties() -> None:
    random = np.random.default_rng(0)
    for digits in (1, 8):
        table = random.normal(size=(9, 4)).round(digits)
        wanted = stats.friedmanchisquare(*table.T)
        found = friedman_nemenyi(table.tolist())
        assert (found.statistic, found.p) == pytest.approx((wanted.statistic, wanted.pvalue), abs=1e-12)


def test_critical_differences_follow_the_printed_table() -> None:
    for methods, q in zip(QUANTILES["methods"], QUANTILES["q"], strict=True):
        table = np.random.default_rng(methods).normal(size=(6, methods))
        found = friedman_nemenyi(table.tolist())
        assert found.critical_difference == pytest.approx(q * np.sqrt(methods * (methods + 1) / 36), rel=1e-6)


def test_methods_that_are_all_alike_do_not_differ() -> None:
    found = friedman_nemenyi([[0.5, 0.5], [0.7, 0.7]])
    assert (found.ranks, found.statistic, found.p) == ([1.5, 1.5], 0.0, 1.0)


@pytest.mark.parametrize("table", [[[0.1, 0.2]], [[0.1], [0.2]], []])
def test_too_few_scores_to_rank_are_refused(table: list[list[float]]) -> None:
    with pytest.raises(DataError, match="at least two methods on at least two data sets"):
        friedman_nemenyi(table)


def test_bayesian_signed_rank_of_one_difference_is_known() -> None:
    """With w ~ Beta on the pseudo-difference, the better method wins where w^2 < 1 - w^2: chance (1 / sqrt 2)^prior."""
    for prior in (0.5, 1.0, 2.0):
        worse, equal, better = bayesian_signed_rank([0.1], region=0.01, prior=prior, samples=200_000)
        assert worse == 0.0
        assert better == pytest.approx(0.5 ** (prior / 2), abs=0.005)
        assert worse + equal + better == pytest.approx(1.0)


def test_bayesian_signed_rank_equals_the_sums_of_the_paper() -> None:
    """Benavoli et al. 2017: in each draw of weights the sums over all pairs of differences are compared."""
    values, wins = [0.0, 0.03, -0.02, 0.012], np.zeros(3)
    for weights in np.random.default_rng(0).dirichlet([0.5, 1.0, 1.0, 1.0], 2000):
        shares = np.zeros(3)
        for z, w in zip(values, weights, strict=True):
            for other, v in zip(values, weights, strict=True):
                shares[0 if z + other < -0.02 else 2 if z + other > 0.02 else 1] += w * v
        wins[shares.argmax()] += 1 / 2000
    assert bayesian_signed_rank(values[1:], samples=2000) == pytest.approx(wins, abs=1e-9)


def test_bayesian_signed_rank_is_symmetric_and_knows_small_differences() -> None:
    differences = [0.03, -0.01, 0.05, 0.02, 0.04, -0.02]
    forward, back = bayesian_signed_rank(differences), bayesian_signed_rank([-value for value in differences])
    assert forward == pytest.approx(back[::-1])
    assert bayesian_signed_rank(differences, region=0.1)[1] == 1.0
    assert bayesian_signed_rank(differences, seed=1) == pytest.approx(forward, abs=0.01)
    with pytest.raises(DataError, match="found none"):
        bayesian_signed_rank([])
