"""Lessons between modalities equal a naive loop; only the student has a gradient, and the divergence is a divergence."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.functional.mutual import lessons


def random(modalities: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(modalities, 40, 4, generator=generator, dtype=torch.float64)
    present = torch.rand(modalities, 40, generator=generator) > 0.3
    return logits.requires_grad_(), torch.randint(0, 4, (40,), generator=generator), present


@pytest.mark.parametrize("modalities", [1, 2, 3, 4])
def test_equals_a_naive_loop(modalities: int) -> None:
    logits, target, present = random(modalities)
    found = [value.detach() for value in lessons(logits, target, present)]
    assert all(value.shape == (modalities, modalities, 40) for value in found)
    assert all(float(value.diagonal().abs().max()) < 1e-12 for value in found)
    for first, second in combinations(range(modalities), 2):
        for row, label in enumerate(target.tolist()):
            p = [logits[number, row].detach().softmax(0) for number in (first, second)]
            right = [int(value.argmax()) == label for value in p]
            both = bool(present[first, row] and present[second, row])
            weight = abs(float(p[0][label] - p[1][label])) if any(right) and both else 0.0
            teacher, student = (first, second) if p[0][label] > p[1][label] else (second, first)
            z = [logits[number, row].detach() for number in (student, teacher)]
            distance = sum(float(z[0][k] - z[1][k]) ** 2 for k in range(4)) / 4
            q, r = z[1].softmax(0), z[0].softmax(0)
            divergence = sum(float(q[k]) * float((q[k] / r[k]).log()) for k in range(4))
            for value, expected in zip(found, (weight, distance, divergence), strict=True):
                assert float(value[teacher, student, row]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
            assert found[0][student, teacher, row] == 0


def test_only_the_student_learns_and_it_learns_towards_the_teacher() -> None:
    """Differs from the published port, whose loss also pulls the better modality down."""
    logits, target, present = random(2)
    weight, distance, divergence = lessons(logits, target, present | True)
    assert not weight.requires_grad
    score = logits.detach().softmax(-1).gather(-1, target.expand(2, 40).unsqueeze(-1)).squeeze(-1)
    student = score.argmin(0)
    rows = torch.arange(40)
    taught = weight.sum((0, 1)) > 0
    assert 5 < int(taught.sum()) < 40
    for loss in (distance, divergence):
        (gradient,) = torch.autograd.grad((weight * loss).sum(), logits, retain_graph=True)
        assert bool((gradient[1 - student, rows] == 0).all())
        assert bool((gradient[student, rows].norm(dim=1) > 0).eq(taught).all())
    p = logits.detach().softmax(-1)
    (gradient,) = torch.autograd.grad(divergence[1 - student, student, rows].sum(), logits)
    torch.testing.assert_close(gradient[student, rows], p[student, rows] - p[1 - student, rows])


def test_probabilities_in_place_of_log_probabilities_are_no_divergence() -> None:
    """The published port feeds probabilities of the true class: its value is negative where the student is far behind."""
    strong, weak = torch.tensor(0.9), torch.tensor(0.2)
    assert float(F.kl_div(strong, weak, reduction="sum")) < 0
    logits = torch.stack([strong, 1 - strong, weak, 1 - weak]).view(2, 1, 2).log()
    assert float(lessons(logits, torch.tensor([0]), torch.ones(2, 1, dtype=torch.bool)).divergence[0, 1]) > 0
