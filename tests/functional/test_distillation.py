"""The distillation loss equals PyTorch's reference numbers and a naive loop."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.errors import ConfigError, DataError
from equipoise.functional.distillation import distillation_loss

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "hinton_kd.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("temperature", [1, 2, 4])
def test_reference_numbers(case: dict[str, Any], temperature: int) -> None:
    student = torch.tensor(case["inputs"]["student_logits"], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor(case["inputs"]["teacher_logits"], dtype=torch.float64)
    golden = case["outputs"]["by_T"][str(temperature)]
    loss = distillation_loss(student, teacher, temperature)
    assert loss.shape == (len(student),)
    assert loss.mean().item() == pytest.approx(golden["kl_T2"], rel=1e-12)
    (gradient,) = torch.autograd.grad(loss.mean(), student)
    expected = torch.tensor(golden["grad_wrt_student_logits"], dtype=torch.float64)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-14)
    # The source's soft cross-entropy is larger by the teacher's entropy.
    soft = (teacher / temperature).softmax(1)
    entropy = float(torch.special.entr(soft).sum(1).mean())
    assert loss.mean().item() + temperature**2 * entropy == pytest.approx(golden["soft_ce_T2"], rel=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_naive_loop(temperature: float) -> None:
    student, teacher = torch.randn(2, 5, 4, dtype=torch.float64)
    for row, loss in enumerate(distillation_loss(student, teacher, temperature)):
        p, q = ([math.exp(float(z) / temperature) for z in logits[row]] for logits in (teacher, student))
        divergence = sum(a / sum(p) * math.log(a / sum(p) / (b / sum(q))) for a, b in zip(p, q, strict=True))
        assert float(loss) == pytest.approx(temperature**2 * divergence, rel=1e-10)


def test_agreement_is_zero_and_the_teacher_gets_no_gradient() -> None:
    teacher = torch.randn(3, 4, requires_grad=True)
    student = (teacher.detach() + torch.tensor([[5.0], [0.0], [-2.0]])).requires_grad_()  # a shift changes nothing
    loss = distillation_loss(student, teacher)
    torch.testing.assert_close(loss, torch.zeros(3), atol=1e-6, rtol=0)
    loss.sum().backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_extreme_logits_stay_finite() -> None:
    loss = distillation_loss(torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]]), 1.0)
    assert loss.tolist() == [1e4]


def test_errors() -> None:
    with pytest.raises(DataError, match=r"shapes \(2, 3\) \(student\) and \(2, 4\) \(teacher\)"):
        distillation_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="temperature is 0"):
        distillation_loss(torch.zeros(2, 3), torch.zeros(2, 3), 0)
