"""Signals of branches and the weights that follow: against formulas by hand, with a junk modality, in any order."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.errors import ConfigError
from equipoise.functional.information import label_entropy
from equipoise.functional.signals import HeldOut, Measured, grouped_folds, join, loss_weights, measure, stratified_folds
from equipoise.functional.transfer import Estimate
from tests.functional.test_transfer import outputs

NOISE = {"strong": 0.3, "weak": 1.5, "junk": 1000.0}


def fixed(f1: dict[str, float], told: dict[str, float], shared: dict[tuple[str, str], float], noise: float = 0.0) -> Measured:
    return Measured(
        1.2,
        f1,
        {name: Estimate(value, noise, 5) for name, value in told.items()},
        {pair: Estimate(value, noise, 5) for pair, value in shared.items()},
    )


def test_weights_equal_the_formula_by_hand() -> None:
    shared = {("a", "b"): 0.8, ("a", "c"): 0.4, ("b", "c"): 0.2}
    found = fixed({"a": 0.9, "b": 0.6, "c": 0.3}, {"a": 1.0, "b": 0.5, "c": 0.1}, shared)
    signals = found.signals()
    rho = {pair: value / (value + 1.2) for pair, value in shared.items()}
    assert signals["rho.a & b"] == pytest.approx(rho["a", "b"])
    mean = {name: sum(value for pair, value in rho.items() if name in pair) / 2 for name in "abc"}
    top = max(mean.values())
    scores = [(1 - f / 0.9) * mean[name] / top for name, f in zip("abc", (0.9, 0.6, 0.3), strict=True)]
    powers = [math.exp(score / 0.25) for score in scores]
    weights, fused = loss_weights(signals, ("a", "b", "c"))
    torch.testing.assert_close(weights, torch.tensor([3 * value / sum(powers) for value in powers]))
    assert fused == pytest.approx(1 + 0.5 * (1 - sum(rho.values()) / 3))
    turned, same = loss_weights(signals, ("c", "a", "b"))
    torch.testing.assert_close(turned, weights[[2, 0, 1]])
    assert same == pytest.approx(fused)


def test_edge_cases_give_weights_of_one() -> None:
    ones = torch.ones(2)
    pair = {("a", "b"): 0.5}
    alone = fixed({"a": 0.4}, {"a": 0.3}, {})
    assert loss_weights(alone.signals(), ("a",)) == (torch.ones(1), 1.0)
    equal = fixed({"a": 0.5, "b": 0.5}, {"a": 0.3, "b": 0.1}, pair)
    assert torch.equal(loss_weights(equal.signals(), ("a", "b"))[0], ones)
    nothing = fixed({"a": 0.0, "b": 0.0}, {"a": 0.0, "b": 0.0}, {("a", "b"): 0.0})
    assert torch.equal(loss_weights(nothing.signals(), ("a", "b"))[0], ones)
    apart = {"a": 0.9, "b": 0.4}
    below, above = (fixed(apart, {"a": 1.0, "b": 0.2}, pair, noise=noise) for noise in (0.3, 0.2))  # twice it: 0.6 and 0.4
    assert torch.equal(loss_weights(below.signals(), ("a", "b"))[0], ones)
    assert loss_weights(above.signals(), ("a", "b"))[0][1] > 1.5


def test_information_of_its_own_supports_a_modality_where_asked() -> None:
    shared = {("a", "b"): 0.8, ("a", "own"): 0.05, ("b", "own"): 0.05}
    signals = fixed({"a": 0.9, "b": 0.8, "own": 0.5}, {"a": 1.0, "b": 0.9, "own": 0.9}, shared).signals()
    plain, either = (loss_weights(signals, ("a", "b", "own"), relevance=value)[0] for value in (False, True))
    assert either[2] > plain[2] + 0.3


def test_junk_is_not_boosted_but_the_weak_is() -> None:
    logits, labels = outputs(NOISE)
    every = {name: torch.ones(len(labels), dtype=torch.bool) for name in logits}
    found = measure(logits, every, labels)
    weights = dict(zip(logits, loss_weights(found.signals(), tuple(logits))[0].tolist(), strict=True))
    assert weights["junk"] < 1.0 < weights["weak"]
    assert found.f1["junk"] < found.f1["weak"] < found.f1["strong"]
    assert found.entropy == label_entropy(labels.numpy())


def test_a_branch_is_judged_where_it_is_and_a_pair_where_both_are() -> None:
    """What absent rows hold changes nothing; the order of modalities neither."""
    logits, labels = outputs(NOISE, 150)
    random = torch.Generator().manual_seed(0)
    present = {name: torch.rand(len(labels), generator=random) < 0.7 for name in logits}
    spoiled = {name: torch.where(present[name][:, None], value, torch.nan) for name, value in logits.items()}
    found = measure(spoiled, present, labels, permutations=4)
    assert found == measure(logits, dict(reversed(present.items())), labels, permutations=4)
    assert found != measure(logits, dict.fromkeys(logits, torch.ones(150, dtype=torch.bool)), labels, permutations=4)
    assert list(found.shared) == [("junk", "strong"), ("junk", "weak"), ("strong", "weak")]


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_have_equal_shares_of_samples_and_of_classes(folds: int) -> None:
    labels = torch.tensor([0] * 17 + [1] * 8 + [2] * 3)[torch.randperm(28, generator=torch.Generator().manual_seed(3))]
    fold = stratified_folds(labels, folds, seed=1)
    for rows in (labels >= 0, *(labels == code for code in range(3))):
        counts = torch.bincount(fold[rows], minlength=folds)
        assert int(counts.max() - counts.min()) <= 1
        assert int(counts.sum()) == int(rows.sum())
    assert torch.equal(fold, stratified_folds(labels, folds, seed=1))
    assert not torch.equal(fold, stratified_folds(labels, folds, seed=2))


@pytest.mark.parametrize(("samples", "folds"), [(5, 1), (3, 4)])
def test_folds_that_cannot_be_are_refused(samples: int, folds: int) -> None:
    with pytest.raises(ConfigError, match=f"^{folds} folds of {samples} samples"):
        stratified_folds(torch.zeros(samples, dtype=torch.long), folds)


def test_joined_samples_keep_their_order() -> None:
    parts = [
        HeldOut({"a": torch.full((count, 2), float(count))}, {"a": torch.arange(count) > 0}, torch.arange(count))
        for count in (2, 3)
    ]
    logits, present, target = join(*parts)
    assert logits["a"][:, 0].tolist() == [2, 2, 3, 3, 3]
    assert present["a"].tolist() == [False, True, False, True, True]
    assert target.tolist() == [0, 1, 0, 1, 2]


def test_no_group_is_in_two_folds_and_folds_are_about_equal() -> None:
    groups = torch.randint(0, 23, (400,), generator=torch.Generator().manual_seed(0))
    fold = grouped_folds(groups, 5, seed=1)
    assert all(len(fold[groups == group].unique()) == 1 for group in groups.unique())
    sizes = torch.bincount(fold, minlength=5)
    assert int(sizes.max() - sizes.min()) <= int(torch.bincount(groups).max())
    assert torch.equal(fold, grouped_folds(groups, 5, seed=1))
    assert not torch.equal(fold, grouped_folds(groups, 5, seed=2))


def test_more_folds_than_groups_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 folds of 2 groups"):
        grouped_folds(torch.tensor([0, 0, 1, 1]), 3)
