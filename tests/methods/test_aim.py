"""AIM: degraded features equal a pass by hand, slow channels are spared, and the weaker modality has more to learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.batch import Batch
from equipoise.data.loader import MemoryPart
from equipoise.errors import ConfigError
from equipoise.functional.class_means import class_sums
from equipoise.functional.intranetwork import depth_strength, prototype_scores
from equipoise.methods.base import Method, Update, make_method
from equipoise.nn.blocks import blocks_of
from equipoise.nn.multimodal import MultimodalModel, build_model
from equipoise.tasks import Classification
from equipoise.training.context import Closure, Context
from equipoise.training.selection import validate
from tests.contract.harness import prepare, toy_model, toy_part
from tests.methods.helpers import gradients_of, make_batch, make_context, step
from tests.methods.laziness import FAST, SLOW, lazy_part, train_lazy


def prepared(part: MemoryPart, **options: float) -> tuple[Method, Context, Batch]:
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "aim", **options})
    assert part.target is not None
    return method, make_context(model, method), make_batch(part.inputs, part.target, part.present)


def force(method: Method, name: str, strength: float) -> None:
    """Let a modality lead at each depth, the first half of its channels being slow."""
    method.state["measured"] = True
    method.state["strength"][name] = [strength, strength / 2]
    for movement in method.state["movement"][name]:
        movement.copy_(torch.arange(len(movement)))


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_losses_equal_a_pass_by_hand(missing: float) -> None:
    method, ctx, batch = prepared(toy_part(30, missing=missing), plain=0.3)
    force(method, "alpha", 0.8)
    outputs, losses = Closure(ctx, method, Update(batch))()
    first, second = (block for place, block in reversed(blocks_of(ctx.model).items()) if place[0] == "alpha")
    hidden = F.relu(first(batch.inputs["alpha"]) * torch.tensor([1.0] * 6 + [0.6] * 6))
    degraded = F.relu(second(hidden) * torch.tensor([1.0] * 4 + [0.2] * 4)) * batch.present["alpha"][:, None]
    absent = {name: mask for name, mask in batch.present.items() if name not in batch.complete}
    logits = ctx.model.fuse({**outputs.features, "alpha": degraded}, absent)
    torch.testing.assert_close(losses["fused"], F.cross_entropy(logits, batch.labels))
    torch.testing.assert_close(losses["plain"], 0.3 * F.cross_entropy(outputs.logits, batch.labels))
    assert losses.keys() == {"fused", "plain", *ctx.modalities}


def test_gradients_of_the_degraded_pass_reach_slow_channels_only() -> None:
    method, ctx, batch = prepared(toy_part(30))
    force(method, "alpha", 1.0)
    losses = Closure(ctx, method, Update(batch))()[1]
    losses["fused"].backward()
    last = blocks_of(ctx.model)["alpha", 0].weight.grad
    assert isinstance(last, Tensor)
    assert bool((last[4:] == 0).all())
    assert bool((last[:4] != 0).any())


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_strengths_of_a_batch_are_those_of_scores_by_the_means_before(missing: float) -> None:
    method, ctx, batch = prepared(toy_part(30, missing=missing))
    found = {}
    for name in ctx.modalities:
        have = batch.present[name]
        chain = [block for place, block in reversed(blocks_of(ctx.model).items()) if place[0] == name]
        with torch.no_grad():
            hidden = chain[0](batch.inputs[name][have])
            features = [chain[1](F.relu(hidden)), hidden]
        labels, every = batch.labels[have], torch.ones(int(have.sum()), dtype=torch.bool)
        for depth, value in enumerate(features):
            rows = F.normalize(value, dim=1)
            sums, counts = class_sums(rows, every, labels, 3)
            found[name, depth] = float(prototype_scores(rows, sums / counts[:, None], counts > 0, labels).mean())
    gradients_of(ctx, method, Update(batch))
    assert all(strengths == [0.0, 0.0] for strengths in method.state["strength"].values())  # there were no means yet
    gradients_of(ctx, method, Update(batch))
    for (name, depth), score in found.items():
        others = [found[other, depth] for other in ctx.modalities if other != name]
        assert method.state["strength"][name][depth] == pytest.approx(depth_strength(2 * score / sum(others), 1.0), abs=1e-5)
    assert any(any(strengths) for strengths in method.state["strength"].values())


def test_movement_is_measured_every_period() -> None:
    method, ctx, batch = prepared(toy_part(30), period=2)
    blocks = blocks_of(ctx.model)
    start = blocks["beta", 0].weight.detach().clone()  # type: ignore[operator]
    step(ctx, method, Update(batch))
    assert not method.state["measured"]
    step(ctx, method, Update(batch))
    now = blocks["beta", 0].weight.detach()  # type: ignore[operator]
    torch.testing.assert_close(method.state["movement"]["beta"][0], (now - start).norm(dim=1) / start.norm(dim=1))
    assert method.state["measured"]


def pictures(encoder: str) -> tuple[MultimodalModel, MemoryPart]:
    random = torch.Generator().manual_seed(0)
    inputs = {"film": torch.randn(12, 2, 1, 32, 32, generator=random), "photo": torch.randn(12, 1, 32, 32, generator=random)}
    names = {"film": "resnet", "photo": encoder}
    shapes = {name: tuple(value.shape[1:]) for name, value in inputs.items()}
    model = build_model(shapes, {name: {"name": names[name]} for name in inputs}, {"name": "concat"}, 8, Classification(3), 0)
    return model, MemoryPart(inputs, {name: torch.ones(12, dtype=torch.bool) for name in inputs}, torch.arange(12) % 3)


def test_pictures_and_frames_and_running_statistics() -> None:
    """Each sample has one row in the scores, and the degraded pass leaves running statistics alone."""
    found = []
    for strength in (0.0, 0.9):
        model, part = pictures("cnn")
        method = make_method({"name": "aim"})
        ctx = make_context(model, method)
        assert part.target is not None
        batch = make_batch(part.inputs, part.target)
        method.state["measured"] = True
        method.state["strength"]["film"] = [strength] * len(method.state["strength"]["film"])
        gradients_of(ctx, method, Update(batch))
        assert all(bool(seen.all()) for name in ctx.modalities for seen in method.state["seen"][name])
        found.append({key: value for key, value in model.named_buffers() if "running" in key})
    assert len(found[0]) > 10
    for key, value in found[0].items():
        assert torch.equal(found[1][key], value), key


def test_encoders_on_the_sample_graph_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    method, ctx = prepare("aim")
    monkeypatch.setattr(MultimodalModel, "graph_modalities", ("beta",))
    with pytest.raises(ConfigError, match="'beta' uses the sample graph"):
        method.setup(ctx)


def test_an_encoder_without_parts_is_one_block() -> None:
    model = MultimodalModel({"a": nn.Linear(3, 4)}, toy_model({"a": (3,)}).fusion)
    assert list(blocks_of(model)) == [("a", 0)]


def test_the_weaker_modality_has_more_to_learn_from_the_fused_loss() -> None:
    """What the paper claims, and neither modality learns less by it than in joint training."""
    for seed in range(3):
        run = train_lazy("aim", {"period": 1, "kappa": 2.0}, seed=seed, epochs=4)
        strength = run.method.state["strength"]
        assert strength[FAST][0] > 0.5 > 0.2 > max(strength[SLOW])
        (batch,) = lazy_part(120, seed).batches([torch.arange(120)], [120])
        norms = []
        for measured in (False, True):
            run.method.state["measured"] = measured
            loss = Closure(run.ctx, run.method, Update(batch))()[1]["fused"]
            gradients = torch.autograd.grad(loss, run.ctx.model.parameters_of(SLOW))
            norms.append(float(torch.cat([item.flatten() for item in gradients]).norm()))
        assert norms[1] > 1.1 * norms[0]
        found = {name: train_lazy(name, options, seed=seed) for name, options in (("joint", {}), ("aim", {"period": 1}))}
        metrics = {name: validate(item.ctx, item.predictor) for name, item in found.items()}
        assert metrics["aim"][SLOW]["accuracy"] > metrics["joint"][SLOW]["accuracy"] + 0.1
        assert metrics["aim"][FAST]["accuracy"] > metrics["joint"][FAST]["accuracy"] - 0.03
