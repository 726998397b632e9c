"""Resamples against theory, scikit-learn and samples that are really repeated."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import recall_score

from equipoise.errors import DataError
from equipoise.functional.bootstrap import balanced_mean, bootstrap, interval


def test_resamples_are_as_large_as_the_sample_and_differ() -> None:
    counts = bootstrap(lambda counts: counts, 7, resamples=50)
    assert counts.shape == (50, 7)
    assert bool((counts.sum(1) == 7).all())
    assert len({tuple(row) for row in counts.tolist()}) > 40


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    values = torch.randn(400, dtype=torch.float64)
    low, high = interval(bootstrap(lambda counts: counts @ values / 400, 400, resamples=4000)).tolist()
    error = float(values.std()) / 20
    assert low == pytest.approx(float(values.mean()) - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(float(values.mean()) + 1.96 * error, abs=0.1 * error)


def test_many_samples_are_resampled_in_blocks() -> None:
    sizes = []

    def statistic(counts: torch.Tensor) -> torch.Tensor:
        sizes.append(len(counts))
        return counts.sum(1)

    assert bootstrap(statistic, 3_000_000, resamples=3).tolist() == [3_000_000.0] * 3
    assert sizes == [1, 1, 1]


def test_what_is_no_number_is_left_out() -> None:
    assert interval(torch.tensor([1.0, torch.nan, 1.0])).tolist() == [1.0, 1.0]


def test_no_samples_are_refused() -> None:
    with pytest.raises(DataError, match="at least one sample"):
        bootstrap(lambda counts: counts, 0)


def test_balanced_means_are_balanced_accuracies_also_of_resamples() -> None:
    target, predicted = torch.randint(4, (60,)), torch.randint(4, (2, 60))
    target[target == 2] = 1  # a class without samples
    hits = (predicted == target).double()
    expected = [recall_score(target, row, labels=target.unique(), average="macro", zero_division=0) for row in predicted]
    assert balanced_mean(hits, target).tolist() == pytest.approx(expected)
    counts = torch.randint(3, (5, 60)).double()
    for row, found in zip(counts, balanced_mean(hits, target, counts), strict=True):
        repeated = torch.arange(60).repeat_interleave(row.long())
        assert found.tolist() == pytest.approx(balanced_mean(hits[:, repeated], target[repeated]).tolist())


def test_a_class_that_a_resample_lacks_does_not_count_in_it() -> None:
    hits = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    found = balanced_mean(hits, torch.tensor([0, 1]), torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
    assert found.tolist() == [[1.0], [0.5]]


def test_groups_are_drawn_as_wholes() -> None:
    groups = torch.tensor([7, 7, 7, 2, 2, 9])
    counts = bootstrap(lambda drawn: drawn, 6, 200, groups=groups)
    for code in (2, 7, 9):
        own = counts[:, groups == code]
        assert bool((own == own[:, :1]).all())
    assert set((counts[:, [0, 3, 5]]).sum(1).tolist()) == {3.0}


def test_an_interval_of_groups_is_that_of_their_means() -> None:
    # samples of a group say the same: there are 20 values, not 2000
    values = torch.randn(20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    groups = torch.arange(20).repeat_interleave(100)
    whole = bootstrap(lambda counts: counts @ values[groups] / counts.sum(1), 2000, groups=groups)
    means = bootstrap(lambda counts: counts @ values / 20, 20)
    assert torch.allclose(interval(whole), interval(means))
    alone = bootstrap(lambda counts: counts @ values[groups] / counts.sum(1), 2000)
    assert float(interval(whole).diff(dim=0)) > 5 * float(interval(alone).diff(dim=0))
