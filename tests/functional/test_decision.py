"""The diagnosis and the correction of a decision layer equal naive loops; temperatures equal a search over a grid."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.functional.decision import (
    class_abilities,
    class_weights,
    decide,
    decision_bias,
    head_norms,
    logit_shares,
    temperatures,
)

M, N, C = 3, 40, 4


@pytest.fixture
def said() -> tuple[Tensor, Tensor, Tensor]:
    """Logits of three modalities of different strength, targets, and which samples have which modality."""
    random = torch.Generator().manual_seed(0)
    target = torch.randint(0, C, (N,), generator=random)
    strength = torch.tensor([3.0, 1.0, 0.2])[:, None, None]
    logits = strength * F.one_hot(target, C) + torch.randn(M, N, C, generator=random)
    return logits, target, torch.rand(M, N, generator=random) < 0.7


def test_norms_of_the_head_are_those_of_its_blocks() -> None:
    weight = torch.randn(C, 9)
    blocks = [weight[:, :2], weight[:, 2:7], weight[:, 7:]]
    expected = [[block[c].square().sum().sqrt().item() for c in range(C)] for block in blocks]
    torch.testing.assert_close(head_norms(weight, [2, 5, 2]), torch.tensor(expected))


@pytest.mark.parametrize("every", [True, False])
def test_shares_and_abilities_equal_naive_loops(said: tuple[Tensor, Tensor, Tensor], every: bool) -> None:
    logits, target, present = said
    have = torch.ones_like(present) if every else present
    shares, abilities = torch.zeros(M, C), torch.zeros(M, C)
    for m in range(M):
        rows = [i for i in range(N) if have[m, i]]
        for c in range(C):
            parts = [abs(logits[m, i, c]) / sum(abs(logits[k, i, c]) for k in range(M) if have[k, i]) for i in rows]
            shares[m, c] = sum(parts) / len(parts)
            own = [i for i in rows if target[i] == c]
            hits = [i for i in own if int(logits[m, i].argmax()) == c]
            abilities[m, c] = (len(hits) + 1) / (len(own) + C)
    arguments = () if every else (present,)
    torch.testing.assert_close(logit_shares(logits, *arguments), shares)
    torch.testing.assert_close(class_abilities(logits, target, *arguments), abilities)
    if every:
        torch.testing.assert_close(shares.sum(0), torch.ones(C))


def test_what_nobody_has_is_not_measured() -> None:
    nobody = torch.tensor([[True, True], [False, False]])
    logits, target = torch.tensor([[[2.0, 1.0], [0.0, 1.0]], [[9.0, 9.0], [9.0, 9.0]]]), torch.tensor([0, 1])
    assert logit_shares(logits, nobody)[1].isnan().all()
    assert class_abilities(logits, target, nobody)[1].tolist() == [0.5, 0.5]
    assert float(temperatures(logits, target, nobody)[1]) == 1.0


def test_a_class_is_biased_where_two_orders_differ() -> None:
    shares = torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.3, 0.3, 0.4, 0.5], [0.2, 0.2, 0.2, 0.1]])
    abilities = torch.tensor([[0.9, 0.5, 0.1, 0.2], [0.5, 0.3, 0.9, 0.9], [0.1, 0.4, 0.1, 0.1]])
    assert decision_bias(shares, abilities).tolist() == [False, True, False, False]
    flipped = abilities.flip(0)
    naive = [
        any((shares[m, c] - shares[k, c]) * (flipped[m, c] - flipped[k, c]) < 0 for m in range(3) for k in range(3))
        for c in range(4)
    ]
    assert decision_bias(shares, flipped).tolist() == naive
    assert any(naive)


def test_temperatures_equal_a_search_over_a_grid(said: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, target, present = said
    found = temperatures(logits, target, present)
    grid = torch.logspace(-1.3, 1.3, 4001)
    for m in range(M):
        own, truth = logits[m, present[m]], target[present[m]]
        losses = torch.stack([F.cross_entropy(own / value, truth) for value in grid])
        best = min(max(float(grid[losses.argmin()]), 0.05), 20.0)
        assert float(found[m]) == pytest.approx(best, rel=2e-3)
    torch.testing.assert_close(temperatures(7 * logits, target, present)[:2], 7 * found[:2])


def test_temperatures_stay_within_bounds() -> None:
    logits, target = torch.tensor([[[5.0, 0.0], [0.0, 5.0]], [[0.0, 5.0], [5.0, 0.0]]]), torch.tensor([0, 1])
    assert temperatures(logits, target).tolist() == pytest.approx([0.05, 20.0])


def test_decision_equals_a_naive_loop(said: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, target, present = said
    present[0] |= ~present.any(0)
    weights = class_weights(class_abilities(logits, target, present), 2.0)
    ability = class_abilities(logits, target, present)
    torch.testing.assert_close(weights, ability.square() / ability.square().sum(0))
    log_p = logits.log_softmax(2)
    expected = torch.zeros(N, C)
    for i in range(N):
        own = [m for m in range(M) if present[m, i]]
        for c in range(C):
            total = sum(weights[m, c] for m in own)
            expected[i, c] = len(own) * sum(weights[m, c] * log_p[m, i, c] for m in own) / total
    torch.testing.assert_close(decide(log_p, weights, present.float()), expected)
    every = torch.ones(M, N)
    torch.testing.assert_close(decide(log_p, class_weights(ability, 0.0), every), log_p.sum(0))
    assert not decide(log_p, weights, torch.zeros(M, N)).any()
