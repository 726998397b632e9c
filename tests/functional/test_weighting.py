"""Weights of losses equal a library's numbers, closed forms and naive loops, and behave at the edges."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from equipoise.errors import ConfigError, DataError
from equipoise.functional.weighting import (
    calibration,
    fused_weight,
    gates,
    gradnorm_loss,
    gradnorm_renormalise,
    gradnorm_targets,
    mean_dependence,
    modality_weights,
    need,
    support,
    uncertainty_loss,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "gradnorm_kendall.json").read_text())["cases"][0]
F1 = torch.tensor([0.93, 0.86, 0.75, 0.16], dtype=torch.float64)  # strong, middle, weak, junk
INFORMATION = torch.tensor([[0, 2.36, 1.63, -0.01], [2.36, 0, 1.45, 0.0], [1.63, 1.45, 0, 0.01], [-0.01, 0.0, 0.01, 0]]).double()
RHO = INFORMATION.clamp_min(0) / (INFORMATION.clamp_min(0) + 1.26)
unit = st.floats(0, 1)


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def norms_of_gradients() -> tuple[Tensor, Tensor]:
    """The library's stub: three linear tasks on one shared matrix."""
    inputs = GOLDEN["inputs"]
    shared = tensor(inputs["shared_W"]).requires_grad_()
    prediction = tensor(inputs["X"]) @ shared @ tensor(inputs["task_heads"]).T
    losses = (prediction.T - tensor(inputs["targets"])).square().mean(1)
    gradients = [torch.autograd.grad(loss, shared, retain_graph=True)[0] for loss in losses]
    return losses.detach(), torch.stack([gradient.norm() for gradient in gradients])


@pytest.mark.parametrize("alpha", [0.12, 1.5])
def test_gradnorm_equals_the_library(alpha: float) -> None:
    golden = GOLDEN["outputs"][f"gradnorm_alpha_{alpha}"]
    losses, norms = norms_of_gradients()
    torch.testing.assert_close(losses, tensor(golden["task_losses"]))
    raw = tensor(GOLDEN["inputs"]["raw_scale"]).requires_grad_()
    weights = 3 * raw.softmax(0)  # the library's parametrisation; the paper's weights are free
    initial = tensor(GOLDEN["inputs"]["initial_losses"])
    torch.testing.assert_close(weights.detach() * norms, tensor(golden["own_grad_norms"]), rtol=1e-10, atol=0)
    targets = gradnorm_targets(weights * norms, losses, initial, alpha)
    torch.testing.assert_close(targets, tensor(golden["own_targets"]), rtol=1e-10, atol=0)
    loss = gradnorm_loss(weights, norms, losses, initial, alpha)
    assert loss.item() == pytest.approx(golden["own_Lgrad"], rel=1e-10)
    (gradient,) = torch.autograd.grad(loss, raw)
    torch.testing.assert_close(gradient, tensor(golden["grad_wrt_raw_scale"]), rtol=1e-9, atol=1e-12)


def test_uncertainty_weighting_equals_the_library() -> None:
    golden = GOLDEN["outputs"]["uncertainty_weighting"]
    losses = tensor(golden["task_losses"])
    scale = tensor(GOLDEN["inputs"]["raw_scale"]).requires_grad_()
    total = uncertainty_loss(losses, scale, "regression").sum()
    assert total.item() == pytest.approx(golden["own_total_loss"], rel=1e-12)
    torch.testing.assert_close(torch.autograd.grad(total, scale)[0], tensor(golden["grad_wrt_log_variance"]))
    weighted = losses.clone().requires_grad_()
    (weights,) = torch.autograd.grad(uncertainty_loss(weighted, scale, "regression").sum(), weighted)
    torch.testing.assert_close(weights, tensor(golden["weights"]))
    classification = uncertainty_loss(losses, scale).sum()
    assert classification.item() == pytest.approx(golden["own_total_loss_exp_form"], rel=1e-12)


def test_uncertainty_weight_at_its_best_is_half_the_inverse_loss() -> None:
    losses = tensor([0.3, 2.0])
    best = (2 * losses).log().requires_grad_()
    (gradient,) = torch.autograd.grad(uncertainty_loss(losses, best).sum(), best)
    torch.testing.assert_close(gradient, torch.zeros(2, dtype=torch.float64), atol=1e-15, rtol=0)


def test_a_step_on_gradnorm_evens_out_the_norms() -> None:
    norms, ones = tensor([1.0, 4.0, 2.0]), torch.ones(3, dtype=torch.float64)
    weights = ones
    for _ in range(300):
        leaf = weights.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(gradnorm_loss(leaf, norms, ones, ones), leaf)
        weights = gradnorm_renormalise(leaf - 0.005 * gradient)
    torch.testing.assert_close(weights * norms, (weights * norms).mean().expand(3), rtol=0.1, atol=0)
    assert weights.sum().item() == pytest.approx(3)


def test_gradnorm_edges() -> None:
    ones = torch.ones(2)
    assert gradnorm_targets(ones, torch.zeros(2), ones).tolist() == [1.0, 1.0]  # all losses solved
    assert gradnorm_loss(torch.ones(1), torch.ones(1), torch.ones(1), torch.ones(1)).item() == 0
    assert gradnorm_renormalise(torch.tensor([-5.0, 1.0])).min() > 0
    with pytest.raises(DataError, match="expected positive numbers"):
        gradnorm_targets(ones, ones, torch.tensor([1.0, 0.0]))
    with pytest.raises(DataError, match="expected one entry per modality"):
        gradnorm_loss(ones, torch.ones(3), ones, ones)


def naive_weights(f1: list[float], rho: list[list[float]]) -> list[float]:
    size = len(f1)
    shared = [sum(max(rho[m][n], 0) for n in range(size) if n != m) / (size - 1) for m in range(size)]
    scores = [(1 - f / max(f1)) * r / max(shared) for f, r in zip(f1, shared, strict=True)]
    parts = [math.exp(score / 0.25) for score in scores]
    clipped = [min(max(size * part / sum(parts), 0.2), 3.0) for part in parts]
    return [size * weight / sum(clipped) for weight in clipped]


@given(
    st.integers(2, 5).flatmap(
        lambda m: st.tuples(st.lists(st.floats(0.01, 1), min_size=m, max_size=m), st.randoms(use_true_random=False))
    )
)
def test_weights_equal_a_naive_loop(case: tuple[list[float], Any]) -> None:
    f1, random = case
    size = len(f1)
    rho = [[random.uniform(0.01, 1) for _ in range(size)] for _ in range(size)]
    weights = modality_weights(need(tensor(f1)), support(tensor(rho)))
    assert weights.tolist() == pytest.approx(naive_weights(f1, rho), rel=1e-9)
    assert weights.sum().item() == pytest.approx(size)


def test_junk_is_not_boosted_and_weak_but_informative_is() -> None:
    strong, middle, weak, junk = modality_weights(need(F1), support(RHO)).tolist()
    assert junk < 1
    assert junk == pytest.approx(0.78, abs=0.06)
    assert strong == pytest.approx(0.74, abs=0.06)
    assert weak == max(strong, middle, weak, junk) > 1.2
    alone = modality_weights(need(F1), torch.ones(4, dtype=torch.float64))
    assert alone[3] > 2.3  # what F1 without dependence would do


@given(st.lists(unit, min_size=2, max_size=6), st.floats(0.05, 2))
def test_no_support_is_no_boost(f1: list[float], temperature: float) -> None:
    """A modality that shares nothing is never above the mean weight, however weak it is."""
    scores = tensor([*f1, 0.0])
    shared = torch.ones(len(scores), len(scores), dtype=torch.float64)
    shared[-1], shared[:, -1] = 0, 0
    assert modality_weights(need(scores), support(shared), temperature)[-1] <= 1 + 1e-9


def test_edges_give_equal_weights() -> None:
    one = modality_weights(need(tensor([0.7])), support(tensor([[math.nan]])))
    assert one.tolist() == [1.0]
    assert modality_weights(need(tensor([0.7] * 4)), support(RHO)).tolist() == pytest.approx([1] * 4)
    assert modality_weights(need(torch.zeros(4)), support(RHO)).tolist() == pytest.approx([1] * 4)
    quiet = support(RHO, floor=0.7)
    assert quiet.tolist() == [0.0] * 4
    assert modality_weights(need(F1), quiet).tolist() == pytest.approx([1] * 4)
    assert support(-RHO).tolist() == [0.0] * 4


def test_relevance_supports_what_is_unique() -> None:
    rho = torch.zeros(3, 3)
    rho[0, 1] = rho[1, 0] = 0.4
    assert support(rho)[2] == 0
    torch.testing.assert_close(support(rho, relevance=torch.tensor([0.1, 0.1, 0.4])), torch.tensor([0.5, 0.5, 1.0]))
    assert support(torch.zeros(1, 1), relevance=torch.tensor([0.3])).tolist() == [1.0]


def test_weights_are_clipped_before_they_are_scaled() -> None:
    weights = modality_weights(tensor([0.0, 0, 0, 0, 1]), torch.ones(5, dtype=torch.float64), temperature=0.01)
    assert weights.tolist() == pytest.approx([5 * value / 3.8 for value in (0.2, 0.2, 0.2, 0.2, 3.0)])


def test_fused_weight_and_mean_dependence() -> None:
    pairs = [RHO[m, n].item() for m in range(4) for n in range(m)]
    assert mean_dependence(RHO).item() == pytest.approx(sum(pairs) / 6)
    assert mean_dependence(torch.zeros(1, 1)).item() == 1
    assert fused_weight(0.0) == 1.5
    assert fused_weight(mean_dependence(torch.zeros(1, 1)).item()) == 1
    assert fused_weight(0.2, eta=0.0) == 1


def test_gates() -> None:
    found = gates(tensor([1.16, 1.11, 1.01, 0.0]), 1.26)
    assert found.sum().item() == pytest.approx(4)
    assert (found[3] / found[0]).item() == pytest.approx(0.05 * 1.26 / 1.16)
    assert gates(tensor([-0.1, 0.0]), 0.0).tolist() == [1.0, 1.0]
    assert gates(tensor([0.3]), 1.0).tolist() == [1.0]
    assert not gates(tensor([0.3, 0.1]).requires_grad_(), 1.0).requires_grad


def test_calibration() -> None:
    assert calibration(tensor([1.0, 1.0, 100.0])).tolist() == [3.0, 3.0, pytest.approx(0.34)]
    assert calibration(tensor([0.0, 1.0])).tolist() == [3.0, 0.5]
    assert calibration(torch.zeros(2)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: need(torch.tensor([0.5, math.nan])), "scores"),
        (lambda: need(torch.tensor([])), "scores"),
        (lambda: support(torch.zeros(2, 3)), r"\(2, 3\)"),
        (lambda: support(torch.full((2, 2), math.nan)), "not finite"),
        (lambda: support(torch.zeros(2, 2), relevance=torch.zeros(3)), "expected 2 finite numbers"),
        (lambda: modality_weights(torch.zeros(2), torch.zeros(3)), "one vector size"),
        (lambda: gates(torch.tensor([math.inf]), 1.0), "information of shape"),
        (lambda: gates(torch.zeros(2), -1.0), "entropy -1"),
        (lambda: calibration(torch.tensor([-1.0])), "gradient norms"),
        (lambda: uncertainty_loss(torch.zeros(2), torch.zeros(3)), "expected one entry per modality"),
    ],
)
def test_bad_data_is_named(call: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()


def test_bad_options_are_named() -> None:
    with pytest.raises(ConfigError, match="temperature 0"):
        modality_weights(torch.zeros(2), torch.zeros(2), 0.0)
    with pytest.raises(ConfigError, match="low 2"):
        modality_weights(torch.zeros(2), torch.zeros(2), low=2.0)
    with pytest.raises(ConfigError, match="'class' is unknown"):
        uncertainty_loss(torch.zeros(2), torch.zeros(2), "class")
