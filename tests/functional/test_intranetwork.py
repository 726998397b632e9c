"""Scores by prototypes and slow channels against loops."""

from __future__ import annotations

from math import exp, tanh

import pytest
import torch

from equipoise.functional.intranetwork import depth_strength, prototype_scores, relative_movement, slow_channels


def test_scores_equal_a_loop_and_unseen_classes_are_left_out() -> None:
    random = torch.Generator().manual_seed(0)
    features = torch.randn(9, 5, generator=random, dtype=torch.float64)
    means = torch.randn(4, 5, generator=random, dtype=torch.float64)
    seen, target = torch.tensor([True, False, True, True]), torch.arange(9) % 4
    found = prototype_scores(features, means, seen, target, temperature=0.3)
    for row in range(9):
        odds = {}
        for k in (0, 2, 3):
            cosine = features[row] @ means[k] / features[row].norm() / means[k].norm()
            odds[k] = exp(float(cosine) / 0.3)
        assert float(found[row]) == pytest.approx(odds.get(int(target[row]), 0.0) / sum(odds.values()))


def test_nothing_is_known_without_class_means() -> None:
    nobody = torch.zeros(3, dtype=torch.bool)
    assert prototype_scores(torch.ones(2, 4), torch.zeros(3, 4), nobody, torch.tensor([0, 2])).tolist() == [0.0, 0.0]


def test_movement_does_not_depend_on_the_size_of_weights() -> None:
    random = torch.Generator().manual_seed(0)
    before, step = torch.randn(6, 4, generator=random), torch.randn(6, 4, generator=random)
    found = relative_movement(before + step, before)
    scales = torch.tensor([1.0, 10.0, 0.1, 5.0, 2.0, 3.0])[:, None]
    torch.testing.assert_close(relative_movement((before + step) * scales, before * scales), found)
    assert float(found[3]) == pytest.approx(float(step[3].norm() / before[3].norm()), rel=1e-5)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.5, 3), (1.0, 6)])
def test_slow_channels_are_those_that_move_least(share: float, count: int) -> None:
    movement = torch.tensor([0.5, 0.1, 0.4, 0.2, 0.6, 0.3])
    slow = slow_channels(movement, share)
    assert int(slow.sum()) == count
    assert not slow.any() or slow.all() or float(movement[slow].max()) < float(movement[~slow].min())


def test_strength_rises_from_zero_with_a_lead() -> None:
    assert [depth_strength(ratio, 2.0) for ratio in (0.0, 1.0)] == [0.0, 0.0]
    assert depth_strength(1.25, 2.0) == pytest.approx(tanh(0.5))
