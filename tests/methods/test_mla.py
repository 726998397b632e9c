"""MLA's updates equal a naive loop, its gate the authors' numbers; departures from the published code are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.batch import Outputs
from equipoise.methods.base import Update, make_method
from equipoise.methods.mla import MLA
from equipoise.nn.fusion import build_fusion
from equipoise.nn.fusion.late import entropy_gate
from equipoise.tasks import Classification
from equipoise.training.context import Closure, Context
from tests.contract.harness import toy_model, toy_part, weights
from tests.methods.helpers import make_batch, make_context, step

CASE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "mla.json").read_text())["cases"][0]
LOGITS = torch.tensor(CASE["logits"], dtype=torch.float64)


@pytest.mark.parametrize("count", [2, 3])
def test_gate_equals_the_authors_weights_sample_by_sample(count: int) -> None:
    entropy = Classification(4).uncertainty(LOGITS[:count])
    golden = CASE["per_sample"]
    torch.testing.assert_close(entropy, torch.tensor(golden["entropy"], dtype=torch.float64)[:count], rtol=1e-9, atol=1e-12)
    found = entropy_gate(entropy, torch.ones(count, 8, dtype=torch.bool))
    torch.testing.assert_close(found.T, torch.tensor(golden[f"weights{count}"], dtype=torch.float64), rtol=1e-9, atol=1e-12)


def test_prediction_does_not_depend_on_the_batch() -> None:
    """Differs from the published code, whose softmax over the batch gives one weight per modality for the whole batch."""
    fusion = build_fusion({"name": "entropy_gate"}, {"a": 4, "b": 4}, Classification(4)).double()
    with torch.no_grad():
        fusion.head.weight.copy_(torch.eye(4))
        fusion.head.bias.zero_()
        features = {"a": LOGITS[0], "b": LOGITS[1]}
        whole = fusion(features, {})
        for row in range(8):
            alone = fusion({name: value[row : row + 1] for name, value in features.items()}, {})
            torch.testing.assert_close(alone[0], whole[row], rtol=1e-12, atol=1e-12)
    published = torch.tensor(CASE["per_batch"]["fused2"], dtype=torch.float64)
    shares = torch.tensor(CASE["per_batch"]["weights2"], dtype=torch.float64)
    torch.testing.assert_close(shares[0] * LOGITS[0] + shares[1] * LOGITS[1], published, rtol=1e-9, atol=1e-12)
    assert float((whole - published).abs().max()) > 0.1


def test_gate_counts_present_modalities_only() -> None:
    entropy = torch.tensor([[0.1, 0.7, 0.3], [0.5, 0.2, 0.9]])
    present = torch.tensor([[True, True, False], [True, False, False]])
    found = entropy_gate(entropy, present)
    first = torch.exp(-entropy[:, 0]) / torch.exp(-entropy[:, 0]).sum()
    torch.testing.assert_close(found, torch.stack([first, torch.tensor([1.0, 0.0]), torch.zeros(2)], 1))


def test_updates_equal_a_naive_loop() -> None:
    """Two epochs of two batches: the gradient is projected before its own modality enters; each epoch starts anew."""
    part = toy_part(24, signal=1.0, missing=0.3)
    shapes = {name: tuple(value.shape[1:]) for name, value in part.inputs.items()}
    model, naive = (toy_model(shapes, "entropy_gate") for _ in range(2))
    method = make_method({"name": "mla", "alpha": 0.2})
    rate, epochs = 0.05, 2
    ctx = make_context(model, method, optimizer="sgd", momentum=0.0, learning_rate=rate, epochs=epochs)
    assert part.target is not None
    rows = [slice(0, 12), slice(12, 24)]
    for ctx.epoch in range(epochs):
        method.on_epoch_start(ctx)
        for chosen in rows:
            present = {name: mask[chosen] for name, mask in part.present.items()}
            batch = make_batch({name: value[chosen] for name, value in part.inputs.items()}, part.target[chosen], present)
            for update in method.updates(ctx, batch):
                step(ctx, method, update)

    head = naive.fusion.head
    for epoch in range(epochs):
        projector = torch.eye(head.in_features)
        alpha = 0.2 ** (1 + epoch / (epochs - 1))
        for chosen in rows:
            for name in naive.modalities:
                has = part.present[name][chosen]
                encoder = naive.encoders[name]
                naive.zero_grad()
                features = encoder(part.inputs[name][chosen][has])
                F.cross_entropy(head(features), part.target[chosen][has]).backward()
                with torch.no_grad():
                    for item in encoder.parameters():
                        item -= rate * item.grad
                    head.weight -= rate * head.weight.grad @ projector
                    head.bias -= rate * head.bias.grad
                mean = features.detach().mean(0)
                gain = projector @ mean / (alpha + mean @ projector @ mean)
                projector = projector - torch.outer(gain, projector @ mean)
    for key, value in weights(naive).items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=1e-4, atol=1e-6)


class Watched(MLA):
    """Notes after each update which encoders have gradients and which moved."""

    def __post_init__(self) -> None:
        self.seen: list[tuple[tuple[str, ...] | None, set[str], set[str]]] = []
        self.before: dict[str, Tensor] = {}
        super().__post_init__()

    def after_update(self, ctx: Context, update: Update, outputs: Outputs, closure: Closure) -> None:
        graded = {name for name in ctx.modalities if any(item.grad is not None for item in ctx.model.parameters_of(name))}
        now = weights(ctx.model)
        moved = {
            name for name in ctx.modalities if any(f"of_{name}." in key and not now[key].equal(self.before[key]) for key in now)
        }
        self.seen.append((update.only, graded, moved))
        self.before = now
        super().after_update(ctx, update, outputs, closure)


def test_who_is_not_on_turn_has_no_gradient_and_does_not_decay() -> None:
    part = toy_part(24, signal=1.0)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "entropy_gate")
    method = Watched()
    ctx = make_context(model, method, optimizer="adamw", weight_decay=0.1)
    assert part.target is not None
    method.on_epoch_start(ctx)
    method.before = weights(model)
    for _ in range(2):  # the second time, every encoder has moments in the optimizer
        for update in method.updates(ctx, make_batch(part.inputs, part.target)):
            step(ctx, method, update)
    assert method.seen == [((name,), {name}, {name}) for name in model.modalities] * 2


def test_a_modality_that_no_sample_of_the_batch_has_gets_no_turn() -> None:
    part = toy_part(24, never=["beta"])
    method = make_method({"name": "mla"})
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "entropy_gate")
    ctx = make_context(model, method)
    assert part.target is not None
    batch = make_batch(part.inputs, part.target, part.present)
    assert [update.only for update in method.updates(ctx, batch)] == [("alpha",), ("gamma",)]
