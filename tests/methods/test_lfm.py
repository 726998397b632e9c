"""LFM's loss is the formula of its card; the learned share follows the validation part and leaves no other trace."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch.nn import functional as F

from equipoise.data.loader import MemoryPart
from equipoise.functional.agreement import falling_share
from equipoise.methods.base import Update, make_method
from tests.contract.harness import assert_same, toy_model, toy_part, train_toy, weights
from tests.methods.helpers import make_batch, make_context


def test_loss_equals_a_naive_loop() -> None:
    part = toy_part(20, signal=1.0, missing=0.4)
    assert part.target is not None
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}).double()
    method = make_method({"name": "lfm"})
    method.state["share"] = 0.3
    batch = make_batch({name: value.double() for name, value in part.inputs.items()}, part.target, part.present)
    outputs = model(batch)
    losses = method.losses(make_context(model, method), Update(batch), outputs)
    torch.testing.assert_close(losses["fused"], 0.7 * F.cross_entropy(outputs.logits, part.target))
    total = 0.0
    for row in range(20):
        p = [value[row].detach().softmax(0) for name, value in outputs.unimodal.items() if part.present[name][row]]
        values = []
        for first, second in combinations(p, 2):
            middle = (first + second) / 2
            values.append(0.5 * float((first * (first / middle).log() + second * (second / middle).log()).sum()))
        total += sum(values) / max(1, len(values))
    assert losses["alignment"].item() == pytest.approx(0.3 * total / 20, rel=1e-5)


def test_falling_share() -> None:
    run = train_toy("lfm", {"schedule": "falling"}, epochs=4)
    assert [line["coefficients"]["alignment"] for line in run.lines] == pytest.approx([falling_share(e) for e in range(4)])


def test_probe_leaves_no_trace() -> None:
    part, validation = toy_part(signal=1.0), toy_part(40, 1, signal=1.0)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, encoder={"dropout": 0.3})
    method = make_method({"name": "lfm"})
    ctx = make_context(model, method, part, validation, learning_rate=0.5)
    before = weights(model)
    method.on_epoch_start(ctx)
    assert_same(weights(model), before)
    assert all(item.grad is None for item in model.parameters())
    assert method.state["share"] != method.start


@pytest.mark.parametrize("helpful", [True, False])
def test_learned_share_follows_the_validation_part(helpful: bool) -> None:
    """Where the training labels are those of the validation part, fitting them helps; where they are others, it harms."""
    part, validation = toy_part(90, signal=3.0), toy_part(90, 1, signal=3.0)
    assert part.target is not None
    if not helpful:
        part = MemoryPart(part.inputs, part.present, (part.target + 1) % 3)
    run = train_toy("lfm", {"start": 0.5}, train=part, validation=validation, epochs=12, batch_size=80)
    shares = [line["coefficients"]["alignment"] for line in run.lines]
    assert (shares[-1] < shares[0] - 0.1) == helpful
    assert (shares[-1] > shares[0] + 0.1) != helpful
