"""The loss is a naive loop's, and wrong labels, which are never right, hurt less than in joint training."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from equipoise.data.loader import MemoryPart
from equipoise.functional.difficulty import difficulty_weights
from equipoise.methods.base import Update, make_method
from equipoise.tasks import Classification
from tests.contract.harness import NAMES, predict, toy_model, toy_part, train_toy
from tests.methods.helpers import gradients_of, make_batch, make_context


@pytest.mark.parametrize(("epoch", "stage"), [(0, "easy"), (3, "easy"), (4, "medium"), (7, "hard"), (9, "hard")])
def test_loss_equals_a_naive_loop_in_each_stage(epoch: int, stage: str) -> None:
    part = toy_part(30, signal=2.0, missing=0.3)
    assert part.target is not None
    balance = [0.5, 1.0, 2.5]
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, task=Classification(3, balance))
    method = make_method({"name": "difficulty", "floor": 0.2})
    ctx = make_context(model, method, epochs=10)
    ctx.epoch = epoch
    outputs, losses = gradients_of(ctx, method, Update(make_batch(part.inputs, part.target, part.present)))
    total = 0.0
    for row, label in enumerate(part.target.tolist()):
        right = float(outputs.logits[row].detach().softmax(0)[label])
        weight = max(float(difficulty_weights(torch.tensor(right), stage)), 0.2)
        total += balance[label] * weight * -math.log(right)
    expected = total / sum(balance[label] for label in part.target.tolist())
    assert float(losses["fused"].detach()) == pytest.approx(expected, rel=1e-5)


def test_no_gradient_flows_through_the_weights() -> None:
    part = toy_part(30, signal=2.0)
    assert part.target is not None
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "difficulty"})
    ctx = make_context(model, method)
    logits = torch.randn(30, 3, requires_grad=True)
    batch = make_batch(part.inputs, part.target)
    outputs = model(batch)
    outputs._logits = logits
    (gradient,) = torch.autograd.grad(method.losses(ctx, Update(batch), outputs)["fused"], logits)
    probability = logits.detach().softmax(1)
    weight = difficulty_weights(ctx.task.score(logits, part.target), "easy", 0.05)
    truth = torch.nn.functional.one_hot(part.target, 3)
    torch.testing.assert_close(gradient, weight[:, None] * (probability - truth) / 30)


def with_wrong_labels(samples: int, share: float) -> tuple[MemoryPart, Tensor]:
    """Samples of which a share has a label at random among the wrong ones."""
    part, random = toy_part(samples, signal=3.0, names=NAMES[:2]), torch.Generator().manual_seed(7)
    wrong = torch.rand(samples, generator=random) < share
    assert part.target is not None
    part.target = torch.where(wrong, (part.target + 1 + torch.randint(0, 2, (samples,), generator=random)) % 3, part.target)
    return part, wrong


def test_hopeless_samples_hurt_less_until_the_hard_stage_comes() -> None:
    """The paper's claim, in the terms of supervised training: what is too hard gives gradients that are of no use."""
    train, wrong = with_wrong_labels(150, 0.3)
    validation = toy_part(400, 50, signal=3.0, names=NAMES[:2])
    settings = {"train": train, "validation": validation, "epochs": 12, "patience": None}
    joint, course = (train_toy(name, **settings) for name in ("joint", "difficulty"))
    ends = [[line["validation"]["fused"]["loss"] for line in run.lines] for run in (joint, course)]
    assert ends[1][7] < 0.85 * ends[0][7]  # the medium stage ends with the eighth epoch
    assert ends[1][11] > 1.2 * ends[1][7]  # hard samples, here the wrong ones, count most at last

    course.ctx.model.load_state_dict(course.epochs[7])
    assert train.target is not None
    right = predict(course.ctx.model, train).softmax(1)[torch.arange(150), train.target]
    easy, medium, hard = (difficulty_weights(right, stage) for stage in ("easy", "medium", "hard"))
    assert easy[wrong].mean() < 0.6 < 0.95 < easy[~wrong].mean()
    assert hard[wrong].mean() > 0.9
    assert medium[right > 0.95].max() < 0.2 > hard[right > 0.95].max()
