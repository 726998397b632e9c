"""ReconBoost's stages equal a naive loop; a modality boosted beside others that know turns to what they do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.methods.base import Update, make_method
from tests.contract.harness import toy_model, toy_part, weights
from tests.methods.helpers import gradients_of, make_batch, make_context, step

RATE = 0.05


@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_stages_equal_a_naive_loop(missing: float) -> None:
    part = toy_part(24, signal=1.0, missing=missing)
    shapes = {name: tuple(value.shape[1:]) for name, value in part.inputs.items()}
    model, naive = (toy_model(shapes, "sum") for _ in range(2))
    method = make_method({"name": "reconboost", "reconcilement": 0.6, "agreement": 0.8})
    ctx = make_context(model, method, optimizer="sgd", momentum=0.0, learning_rate=RATE)
    assert part.target is not None
    target, names = part.target, naive.modalities
    chosen = [slice(0, 8), slice(8, 16), slice(16, 24), slice(4, 20)]
    for rows in chosen:
        present = {name: mask[rows] for name, mask in part.present.items()}
        batch = make_batch({name: value[rows] for name, value in part.inputs.items()}, target[rows], present)
        for update in method.updates(ctx, batch):
            step(ctx, method, update)

    def logits(name: str, row: int) -> Tensor:
        return naive.fusion.heads[name](naive.encoders[name](part.inputs[name][row : row + 1]))[0]

    def descend(value: Tensor) -> None:
        naive.zero_grad()
        value.backward()
        with torch.no_grad():
            for item in naive.parameters():
                if item.grad is not None:
                    item -= RATE * item.grad

    for stage, rows in enumerate(chosen):
        name, before = names[stage % 3], names[(stage - 1) % 3]
        numbers = list(range(24))[rows]
        mine = [row for row in numbers if part.present[name][row]]
        losses = []
        for row in mine:
            z = logits(name, row)
            value = F.cross_entropy(z, target[row])
            others = [other for other in names if other != name and part.present[other][row]]
            with torch.no_grad():
                known = {other: logits(other, row) for other in others}
            if others:
                q = torch.stack(list(known.values())).sum(0).softmax(0)
                value = value - 0.6 * (q * (q.log() - z.log_softmax(0))).sum()
            if stage > 0 and before in known:
                value = value + 0.8 * (z.softmax(0) - known[before].softmax(0)).square().mean()
            losses.append(value)
        descend(torch.stack(losses).mean())
        fused = [torch.stack([logits(other, row) for other in names if part.present[other][row]]).sum(0) for row in numbers]
        descend(F.cross_entropy(torch.stack(fused), target[rows]))
    for key, value in weights(naive).items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=1e-4, atol=1e-6)


def test_boosting_trains_one_modality_and_the_agreement_changes_it() -> None:
    """Differs from the published code, whose agreement term leaves every gradient as it was."""
    part = toy_part(24, signal=1.0)
    assert part.target is not None
    found = []
    for agreement in (0.0, 0.5):
        model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "sum")
        method = make_method({"name": "reconboost", "agreement": agreement})
        ctx = make_context(model, method)
        method.state["before"] = ("alpha",)
        gradients_of(ctx, method, Update(make_batch(part.inputs, part.target), only=("beta",)))
        trained = {key for key, item in model.named_parameters() if item.grad is not None}
        assert trained
        assert all("of_beta." in key for key in trained)
        found.append(torch.cat([item.grad.flatten() for item in model.parameters_of("beta") if item.grad is not None]))
    assert float((found[0] - found[1]).abs().max()) > 1e-4


def test_a_modality_learns_most_where_the_others_are_wrong() -> None:
    """The others know the first half of the samples; boosting puts nearly all of the gradient on the second half."""
    target = torch.tensor([0, 1, 2] * 8)
    known = F.one_hot(target, 3).float() * 20
    known[12:] = 0.0
    inputs = {"a": known, "b": torch.randn(24, 3, generator=torch.Generator().manual_seed(0))}
    model = toy_model({"a": (3,), "b": (3,)}, "sum")
    model.encoders["a"] = torch.nn.Identity()
    model.fusion.heads["a"] = torch.nn.Identity()
    method = make_method({"name": "reconboost", "reconcilement": 1.0})
    ctx = make_context(model, method)
    batch = make_batch(inputs, target)
    outputs = model(batch, only=("b",))
    (logits,) = outputs.unimodal.values()
    logits.retain_grad()
    sum(method.losses(ctx, Update(batch, only=("b",)), outputs).values()).backward()
    size = logits.grad.norm(dim=1)
    assert float(size[:12].max()) < 1e-6
    assert float(size[12:].min()) > 0.01


def test_modalities_take_turns_and_an_absent_one_is_passed_over() -> None:
    part = toy_part(24, never=["beta"])
    assert part.target is not None
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "sum")
    method = make_method({"name": "reconboost"})
    ctx = make_context(model, method)
    batch = make_batch(part.inputs, part.target, part.present)
    turns = [update.only for _ in range(3) for update in method.updates(ctx, batch)]
    assert turns == [("alpha",), None, ("gamma",), None, ("alpha",), None]
