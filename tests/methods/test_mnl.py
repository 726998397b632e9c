"""MNL: the losses of the paper, nobody guides during the warm-up, and guidance never lowers the true class."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from equipoise.functional.negative import choose_guides, negative_losses
from equipoise.methods.base import Update, make_method
from equipoise.tasks import Classification
from tests.contract.harness import CLASSES, toy_model, toy_part, train_toy
from tests.methods.helpers import gradients_of, make_batch, make_context


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_losses_equal_a_naive_sum(missing: float) -> None:
    part = toy_part(40, signal=1.0, missing=missing)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "logit")
    method = make_method({"name": "mnl", "strength": 0.7, "warmup": 0.0})
    ctx = make_context(model, method)
    assert part.target is not None
    outputs, losses = gradients_of(ctx, method, Update(make_batch(part.inputs, part.target, part.present)))
    names = list(model.modalities)
    logits, present = torch.stack([outputs.unimodal[name] for name in names]), torch.stack([part.present[name] for name in names])
    guide, guided = choose_guides(logits, outputs.logits, part.target, present)
    negative = negative_losses(logits, guide, guided, part.target)
    assert bool(guided.any())
    for number, name in enumerate(names):
        rows = part.present[name]
        torch.testing.assert_close(losses[name], F.cross_entropy(outputs.unimodal[name][rows], part.target[rows]))
        torch.testing.assert_close(losses[f"negative.{name}"], 0.7 * negative[number][rows].mean())
    torch.testing.assert_close(losses["fused"], F.cross_entropy(outputs.logits, part.target))
    assert ctx.take_log() == pytest.approx({f"guided.{name}": float(guided[n].float().mean()) for n, name in enumerate(names)})


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_the_whole_loss_never_lowers_the_true_class(strength: float) -> None:
    """Per sample, also where few are guided, with missing modalities and class weights."""
    part = toy_part(60, signal=2.0, missing=0.3)
    task = Classification(CLASSES, [0.5, 1.0, 2.5])
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "logit", task=task)
    method = make_method({"name": "mnl", "strength": strength, "warmup": 0.0})
    ctx = make_context(model, method)
    assert part.target is not None
    batch = make_batch(part.inputs, part.target, part.present)
    outputs = model(batch)
    losses = method.losses(ctx, Update(batch), outputs)
    logits = list(outputs.unimodal.values())
    # The fused logits come from logits of their own, whose gradient raises the true class as well.
    alone = [value for name, value in losses.items() if name != "fused"]
    gradients = torch.autograd.grad(torch.stack(alone).sum(), logits)
    for name, gradient in zip(outputs.unimodal, gradients, strict=True):
        true = gradient.gather(1, part.target[:, None]).squeeze(1)
        assert bool((true[part.present[name]] < 0).all())
        assert bool((true[~part.present[name]] == 0).all())


def test_nobody_guides_during_the_warm_up() -> None:
    run = train_toy("mnl", {"warmup": 0.5}, train=toy_part(signal=1.0), epochs=4)
    guided = [sum(value for name, value in line["coefficients"].items() if name.startswith("guided")) for line in run.lines]
    assert guided[0] == guided[1] == 0.0
    assert min(guided[2:]) > 0
    assert not any(name.startswith("negative") for name in run.lines[0]["losses"])


def test_one_modality_has_nobody_to_guide_it() -> None:
    run = train_toy("mnl", {"warmup": 0.0}, train=toy_part(names=("alpha",), signal=1.0))
    assert run.ctx.inert
