"""MBSD's loss is the formula of its card, and a modality that lags learns from the one that leads."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from equipoise.methods.base import Update, make_method
from tests.contract.harness import toy_model, toy_part
from tests.methods.helpers import gradients_of, make_batch, make_context


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_loss_equals_a_naive_loop_for_two_modalities(missing: float) -> None:
    part = toy_part(20, signal=1.0, names=("alpha", "beta"), missing=missing)
    assert part.target is not None
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "mbsd", "unimodal": 0.5, "distance": 2.0, "divergence": 3.0})
    batch = make_batch(part.inputs, part.target, part.present)
    outputs = model(batch)
    losses = method.losses(make_context(model, method), Update(batch), outputs)
    assert set(losses) == {"fused", "alpha", "beta", "distillation"}
    z = {name: value.detach() for name, value in outputs.unimodal.items()}
    for name, rows in part.present.items():
        torch.testing.assert_close(losses[name].detach(), 0.5 * F.cross_entropy(z[name][rows], part.target[rows]))
    total = 0.0
    for row, label in enumerate(part.target.tolist()):
        first, second = z["alpha"][row], z["beta"][row]
        gap = first.softmax(0)[label] - second.softmax(0)[label]
        student, teacher = (second, first) if gap > 0 else (first, second)
        some_right = label in (int(first.argmax()), int(second.argmax()))
        if some_right and part.present["alpha"][row] and part.present["beta"][row]:
            p, q = teacher.softmax(0), student.softmax(0)
            lesson = 2.0 * (student - teacher).square().mean() + 3.0 * (p * (p / q).log()).sum()
            total += float(gap.abs() * lesson)
    assert losses["distillation"].item() == pytest.approx(total / 20, rel=1e-5)


def test_a_lagging_modality_is_drawn_to_the_leading_one() -> None:
    """One step by the distillation alone: the leading encoder rests, the lagging one comes nearer to the truth."""
    part = toy_part(30, signal=1.0, names=("alpha", "beta"))
    assert part.target is not None
    inputs = {"alpha": 8 * F.one_hot(part.target, 3).float(), "beta": part.inputs["beta"]}
    model = toy_model({name: tuple(value.shape[1:]) for name, value in inputs.items()}, "sum")
    model.encoders["alpha"] = torch.nn.Sequential(torch.nn.Linear(3, 3))
    model.fusion.heads["alpha"] = torch.nn.Identity()
    with torch.no_grad():
        model.encoders["alpha"][0].weight.copy_(torch.eye(3))
    method = make_method({"name": "mbsd", "unimodal": 0.0})
    ctx = make_context(model, method, optimizer="sgd", momentum=0.0, learning_rate=0.2)
    batch = make_batch(inputs, part.target)
    before = F.cross_entropy(model(batch).unimodal["beta"], part.target).item()
    model.zero_grad()
    method.losses(ctx, Update(batch), model(batch))["distillation"].backward()
    assert all(item.grad is None or not item.grad.any() for item in model.parameters_of("alpha"))
    ctx.optimizer.step()
    assert F.cross_entropy(model(batch).unimodal["beta"], part.target).item() < before - 0.01


def test_one_modality_has_nobody_to_learn_from() -> None:
    part = toy_part(20, names=("alpha",))
    assert part.target is not None
    model = toy_model({"alpha": tuple(part.inputs["alpha"].shape[1:])})
    method = make_method({"name": "mbsd"})
    _, losses = gradients_of(make_context(model, method), method, Update(make_batch(part.inputs, part.target)))
    assert set(losses) == {"fused", "alpha"}
