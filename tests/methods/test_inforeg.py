"""The spring on the leading encoder is a naive one, the window closes, and the leader is slowed while it is open."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from equipoise.batch import Batch
from equipoise.functional.regulation import information_growth
from equipoise.methods.base import Method, Update, make_method
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.context import Context
from tests.contract.harness import toy_model, toy_part
from tests.methods.helpers import gradients_of, make_batch, make_context, step
from tests.methods.laziness import FAST, SLOW, train_lazy


def prepared(options: dict[str, Any] | None = None, missing: float = 0.0) -> tuple[MultimodalModel, Method, Context, Batch]:
    part = toy_part(30, signal=4.0, missing=missing)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "inforeg", **(options or {})})
    ctx = make_context(model, method, optimizer="sgd", learning_rate=0.05)
    method.on_epoch_start(ctx)
    assert part.target is not None
    return model, method, ctx, make_batch(part.inputs, part.target, part.present)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_gradients_equal_a_naive_loop(missing: float) -> None:
    model, method, ctx, batch = prepared({"strength": 0.7}, missing)
    start = {name: [item.detach().clone() for item in model.parameters_of(name)] for name in model.modalities}
    for _ in range(5):
        step(ctx, method, Update(batch))
    ctx.take_log()
    outputs, losses = gradients_of(ctx, method, Update(batch))
    found = {name: [item.grad for item in model.parameters_of(name)] for name in model.modalities}
    scores = {}
    for name, logits in outputs.unimodal.items():
        rows = [row for row in range(len(batch)) if bool(batch.present[name][row])]
        scores[name] = sum(float(logits[row].detach().softmax(0)[batch.labels[row]]) for row in rows) / len(rows)
    assert set(losses) == {"fused", *model.modalities}
    fresh = gradients_of_losses(ctx, method, batch)
    held = 0
    log = ctx.take_log()
    for name, score in scores.items():
        others = [value for other, value in scores.items() if other != name]
        gap = score - sum(others) / len(others)
        coefficient = 0.7 * math.exp(math.tanh(gap)) if gap > 0 else 0.0
        held += gap > 0
        assert log[f"coefficient.{name}"] == pytest.approx(coefficient, rel=1e-5)
        for item, old, mine, plain in zip(model.parameters_of(name), start[name], found[name], fresh[name], strict=True):
            torch.testing.assert_close(mine, plain + coefficient * (item.detach() - old), rtol=1e-4, atol=1e-6)
            assert gap <= 0 or float((item.detach() - old).norm()) > 1e-3
    assert 0 < held < 3


def gradients_of_losses(ctx: Context, method: Method, batch: Batch) -> dict[str, list[torch.Tensor]]:
    """The gradients of fused and unimodal losses in each encoder, and nothing else."""
    outputs = ctx.model(batch)
    total = torch.stack(list(method.losses(ctx, Update(batch), outputs).values())).sum()
    return {name: list(torch.autograd.grad(total, ctx.model.parameters_of(name), retain_graph=True)) for name in ctx.modalities}


def test_the_trace_is_that_of_the_losses_over_an_epoch() -> None:
    model, method, ctx, batch = prepared()
    expected = dict.fromkeys(model.modalities, 0.0)
    for _ in range(3):
        for name, items in gradients_of_losses(ctx, method, batch).items():
            expected[name] += sum(float(item.square().sum()) for item in items)
        step(ctx, method, Update(batch))
    method.on_epoch_end(ctx)
    for name, trace in expected.items():
        assert method.state["traces"][name] == pytest.approx([trace], rel=1e-4)


def test_each_window_closes_when_its_modality_learns_nothing_new() -> None:
    model, method, ctx, batch = prepared({"span": 2})
    assert method.state["open"] == dict.fromkeys(model.modalities, True)
    method.state["traces"] = {"alpha": [5.0, 5.0, 1.0], "beta": [1.0, 2.0, 3.0], "gamma": [1.0, 1.0, 1.05]}
    method.on_epoch_start(ctx)
    assert method.state["open"] == {"alpha": False, "beta": True, "gamma": False}
    step(ctx, method, Update(batch))  # the leader is alpha, whose window is closed
    assert ctx.take_log()["coefficient.alpha"] == 0.0
    method.on_epoch_end(ctx)
    assert [len(past) for past in method.state["traces"].values()] == [3, 3, 3]  # no more than the mean needs


def test_encoders_are_held_where_they_were_at_the_start_of_the_epoch() -> None:
    model, method, ctx, batch = prepared()
    for _ in range(3):
        step(ctx, method, Update(batch))
    method.on_epoch_end(ctx)
    method.on_epoch_start(ctx)
    for name in model.modalities:
        for item, start in zip(model.parameters_of(name), method.state["start"][name], strict=True):
            assert torch.equal(item.detach(), start)
            assert item.data_ptr() != start.data_ptr()


def test_while_the_leader_is_held_the_other_acquires_more() -> None:
    """What the paper claims, and that the window is a prime one: it closes before the training ends."""
    free, held = (train_lazy("inforeg", {"strength": strength}, epochs=20) for strength in (0.0, 5.0))
    early = slice(0, 4)

    def log(run: Any, name: str) -> list[float]:
        return [line["coefficients"][name] for line in run.lines]

    assert min(log(held, f"coefficient.{FAST}")[early]) >= 5.0
    assert max(log(held, f"coefficient.{SLOW}")[early]) == 0.0
    assert held.lines[4]["validation"][FAST]["loss"] > 2 * free.lines[4]["validation"][FAST]["loss"]
    assert sum(log(held, f"fisher.{SLOW}")[early]) > 1.05 * sum(log(free, f"fisher.{SLOW}")[early])
    past = log(held, f"fisher.{FAST}")
    window = [True, *(information_growth(past[:epoch], 10) > 0.04 for epoch in range(1, 20))]
    assert window[:4] == [True] * 4
    assert not window[-1]
    assert log(held, f"coefficient.{FAST}")[-1] == 0.0
