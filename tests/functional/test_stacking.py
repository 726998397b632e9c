from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from equipoise.errors import DataError
from equipoise.functional.stacking import best_of, convex_weights


def problem(samples: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, (samples,), generator=random)
    signal = torch.nn.functional.one_hot(target, 3).double()
    noise = torch.randn(3, samples, 3, generator=random, dtype=torch.float64)
    return torch.stack([2.0 * signal + noise[0], 0.7 * signal + noise[1], 3.0 * noise[2]]), target


def loss_of(weights: np.ndarray, logits: torch.Tensor, target: torch.Tensor) -> float:
    fused = (torch.from_numpy(weights)[:, None, None] * logits).sum(0)
    return float(cross_entropy(fused, target))


def test_no_point_of_a_fine_grid_is_better() -> None:
    logits, target = problem()
    found = convex_weights(
        logits, torch.ones(logits.shape[:2], dtype=torch.float64), lambda z: cross_entropy(z, target, reduction="none")
    )
    assert float(found.sum()) == pytest.approx(1.0)
    assert float(found.min()) >= 0
    steps = np.linspace(0, 1, 41)
    grid = min(loss_of(np.array([a, b, 1 - a - b]), logits, target) for a in steps for b in steps if a + b <= 1)
    assert loss_of(found.numpy(), logits, target) <= grid + 1e-6


def test_samples_that_are_all_right_leave_finite_weights() -> None:
    target = torch.arange(30) % 3
    right = 5 * torch.nn.functional.one_hot(target, 3).double()
    loss = lambda z: cross_entropy(z, target, reduction="none")  # noqa: E731
    found = convex_weights(torch.stack([right, -right]), torch.ones(2, 30), loss)
    assert found[0] > 0.99
    assert float(found.sum()) == pytest.approx(1.0)
    assert convex_weights(right[None], torch.ones(1, 30), loss).tolist() == [1.0]


def test_noise_gets_next_to_nothing() -> None:
    logits, target = problem()
    found = convex_weights(
        logits, torch.ones(logits.shape[:2], dtype=torch.float64), lambda z: cross_entropy(z, target, reduction="none")
    )
    assert found[2] < 0.01 < found[1] < found[0]


def test_absent_modalities_do_not_count() -> None:
    logits, target = problem()
    available = torch.ones(logits.shape[:2], dtype=torch.float64)
    available[0, ::2] = 0
    poisoned = logits.clone()
    poisoned[0, ::2] = 1e6
    loss = lambda z: cross_entropy(z, target, reduction="none")  # noqa: E731
    assert torch.allclose(convex_weights(logits, available, loss), convex_weights(poisoned, available, loss))


def test_no_samples_are_refused() -> None:
    with pytest.raises(DataError, match="the validation part has no sample"):
        convex_weights(torch.zeros(2, 0, 3), torch.zeros(2, 0), lambda z: z.sum(1))


def test_best_candidate_equals_a_naive_search() -> None:
    logits, target = problem()
    random = torch.Generator().manual_seed(1)
    have = torch.rand(3, len(target), generator=random) < 0.7
    have[0] |= ~have.any(0)
    candidates = torch.rand(6, 3, generator=random, dtype=torch.float64) + 0.01
    found = []
    for weights in candidates:
        total = 0.0
        for sample in range(len(target)):
            some = [number for number in range(3) if bool(have[number, sample])]
            fused = sum(weights[number] * logits[number, sample] for number in some) / sum(weights[number] for number in some)
            total += float(cross_entropy(fused[None], target[sample : sample + 1]))
        found.append(total)
    values = best_of(candidates, logits, have.double(), lambda fused: cross_entropy(fused, target, reduction="none"))
    assert values == int(np.argmin(found))


def test_best_candidate_needs_a_sample() -> None:
    with pytest.raises(DataError, match="no held-out sample"):
        best_of(torch.ones(2, 3), torch.zeros(3, 0, 4), torch.zeros(3, 0), lambda fused: fused.sum(1))
