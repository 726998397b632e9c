"""MMPareto equals separate backward passes and a naive combination; its gradients are never measured on a sum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.methods.base import Method, Update, make_method
from equipoise.training.context import Context
from tests.contract.harness import toy_model, toy_part
from tests.methods.helpers import gradients_of, make_batch, make_context


def setting(seed: int, gamma: float = 1.5, **options: int) -> tuple[Context, Method, Update]:
    """A model and a batch whose labels are noise, so that gradients agree on some seeds and conflict on others."""
    part = toy_part(16, seed, signal=0.3)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, seed=seed)
    method = make_method({"name": "mmpareto", "gamma": gamma})
    ctx = make_context(model, method, **options)
    assert part.target is not None
    assert model.heads is not None
    with torch.no_grad():  # a head that contradicts the fusion makes conflicts
        for name in list(model.modalities)[::2]:
            head = model.heads[name]
            assert isinstance(head, nn.Linear)
            head.weight.mul_(-1)
    return ctx, method, Update(make_batch(part.inputs, part.target))


def separate(ctx: Context, update: Update, name: str) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of the fused and of the modality's own loss on its encoder, by two backward passes of their own."""
    found = []
    for loss_of in ("fused", "own"):
        ctx.model.zero_grad(set_to_none=True)
        outputs = ctx.model(update.batch)
        logits = outputs.logits if loss_of == "fused" else outputs.unimodal[name]
        F.cross_entropy(logits, update.batch.labels).backward()
        found.append([item.grad.clone() for item in ctx.model.parameters_of(name) if item.grad is not None])
    return found[0], found[1]


def flat(values: list[Tensor]) -> Tensor:
    return torch.cat([value.reshape(-1) for value in values])


SEEDS = range(8)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_equals_separate_passes_and_a_naive_combination(seed: int, accumulate: int) -> None:
    ctx, method, update = setting(seed, accumulate=accumulate)
    expected, log = {}, {}
    for name in ctx.modalities:
        first, second = (flat(values) for values in separate(ctx, update, name))
        cosine = float(first @ second / (first.norm() * second.norm()))
        shares = torch.linspace(0, 1, 20001)
        lengths = (
            shares**2 * (first @ first) + 2 * shares * (1 - shares) * (first @ second) + (1 - shares) ** 2 * (second @ second)
        )
        share = 0.5 if cosine > 0 else float(shares[lengths.argmin()])
        combined = 2 * (share * first + (1 - share) * second)
        combined = combined * max(1.0, float((first + second).norm() / combined.norm())) * 1.5
        expected[name] = combined
        log |= {f"cosine.{name}": cosine, f"fused_weight.{name}": share}
    gradients_of(ctx, method, update)
    assert ctx.take_log() == pytest.approx(log, rel=1e-3, abs=1e-4)
    for name, combined in expected.items():
        found = flat([item.grad for item in ctx.model.parameters_of(name) if item.grad is not None])
        torch.testing.assert_close(found, combined, rtol=1e-3, atol=1e-3 * float(combined.norm()))


def test_both_branches_were_met_and_no_cosine_is_one() -> None:
    """A widely used port reads both gradients after they were summed: each cosine is 1 and no conflict is ever seen."""
    met = set()
    for seed in SEEDS:
        ctx, method, update = setting(seed)
        gradients_of(ctx, method, update)
        log = ctx.take_log()
        for name in ctx.modalities:
            cosine, share = log[f"cosine.{name}"], log[f"fused_weight.{name}"]
            assert cosine < 0.99
            assert (share == 0.5) == (cosine > 0)
            met.add(cosine > 0)
        assert not ctx.inert
    assert met == {True, False}


def test_fusion_gets_the_fused_gradient_and_each_head_its_own() -> None:
    ctx, method, update = setting(0)
    gradients_of(ctx, method, update)
    found = {name: item.grad.clone() for name, item in ctx.model.named_parameters() if item.grad is not None}
    ctx.model.zero_grad(set_to_none=True)
    outputs = ctx.model(update.batch)
    loss = F.cross_entropy(outputs.logits, update.batch.labels)
    for logits in outputs.unimodal.values():
        loss = loss + F.cross_entropy(logits, update.batch.labels)
    loss.backward()
    keys = [key for key, _ in ctx.model.named_parameters() if not key.startswith("encoders.")]
    assert len(keys) == 2 + 2 * len(ctx.modalities)
    for key in keys:
        torch.testing.assert_close(found[key], dict(ctx.model.named_parameters())[key].grad, rtol=1e-5, atol=1e-7)


def test_gamma_is_a_factor_on_encoders_only() -> None:
    found = []
    for gamma in (1.0, 2.0):
        ctx, method, update = setting(1, gamma)
        gradients_of(ctx, method, update)
        found.append({key: item.grad.clone() for key, item in ctx.model.named_parameters() if item.grad is not None})
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value * (2 if key.startswith("encoders.") else 1), rtol=1e-5, atol=1e-8)
